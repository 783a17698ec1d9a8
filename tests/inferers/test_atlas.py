# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The atlas: propagated, fused and carried back labels, with registrations that are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, ScaleIntensityd

from monai_fss.data import ContentCache, InputWarning, LoadScand
from monai_fss.inferers import Atlas, AtlasInferer, AtlasQuality, AtlasReverseAccuracy, NativeLabeld, found_in
from monai_fss.inferers.atlas import FUSIONS
from monai_fss.registration import DisplacementField, Grid, RegistrationError, resample

SHAPE, SPACING = (32, 32, 10), (4.0, 4.0, 8.0)
AFFINE = torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64))


def scan(shift: int = 0, values: tuple[int, ...] = (1, 3)) -> dict[str, Any]:
    """A body with two boxes in it, moved along the first axis by some voxels."""
    image = torch.zeros(1, *SHAPE)
    image[:, 2:30, 2:30] = 0.3
    label = torch.zeros(1, *SHAPE)
    for value, (start, brightness) in zip((1, 3), ((6, 0.6), (18, 0.9)), strict=True):
        box = (slice(None), slice(start + shift, start + shift + 7), slice(8, 20), slice(2, 8))
        image[box] = brightness
        label[box] = value if value in values else 0
    return {"image": MetaTensor(image, affine=AFFINE), "label": MetaTensor(label, affine=AFFINE), "shift": shift}


@pytest.fixture
def registrations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """``register`` replaced by a field that is right: the translation between two scans of :func:`scan`."""
    calls: list[tuple[float, float]] = []

    def place(image: MetaTensor) -> float:
        bright = torch.nonzero((image[0] > 0.8).any(1).any(1))
        return float(bright.float().mean()) * SPACING[0]

    def register(fixed: MetaTensor, moving: MetaTensor, **settings: Any) -> DisplacementField:
        calls.append((place(fixed), place(moving)))
        matrix = np.eye(4)
        matrix[0, 3] = place(moving) - place(fixed)
        return DisplacementField.from_affine(matrix, Grid.of(fixed))

    monkeypatch.setattr("monai_fss.inferers.atlas.register", register)
    monkeypatch.setattr("monai_fss.inferers.atlas.side_ratio", lambda query, scan: 1.0)
    return calls


def labels(probabilities: torch.Tensor, values: tuple[int, ...]) -> torch.Tensor:
    best, way = probabilities.as_tensor().max(0)  # type: ignore[attr-defined]
    return torch.where(best > 0.5, torch.tensor(values)[way], 0)


def on(scan: MetaTensor, probabilities: MetaTensor) -> MetaTensor:
    """Probabilities on the grid of a scan, from that of the atlas."""
    return resample(probabilities, Grid.of(scan), antialias=False)


def agreement(found: torch.Tensor, truth: torch.Tensor, value: int) -> float:
    a, b = found == value, truth == value
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.mark.parametrize("refine", [False, True])
def test_labels_follow_the_registration(registrations: list[tuple[float, float]], refine: bool) -> None:
    support, query = scan(0), scan(2)
    atlas = Atlas([support], spacing=SPACING) if refine else Atlas([support], spacing=SPACING, refinement=None)
    result = on(query["image"], atlas(query["image"]))
    assert atlas.values == (1, 3)
    assert result.shape == (2, *SHAPE) and torch.equal(result.affine, query["image"].affine)
    found, truth = labels(result, atlas.values), query["label"][0].as_tensor()
    for value in (1, 3):
        assert agreement(found, truth, value) > 0.95
    assert registrations == [(92.0, 84.0)]


def test_several_supports_vote_and_the_nearest_is_chosen(registrations: list[tuple[float, float]]) -> None:
    right, wrong, query = scan(0), scan(0), scan(2)
    wrong["label"] = MetaTensor(torch.where(wrong["label"].as_tensor() == 1, 3.0, 0.0), affine=AFFINE)
    wrong["image"] = MetaTensor(wrong["image"].as_tensor() * 1.05, affine=AFFINE)
    settings: dict[str, Any] = {"spacing": SPACING, "refinement": None, "fusion": "soft"}
    alone = Atlas([right], [1, 3], **settings)(query["image"]).as_tensor()
    # A scan without an organ does not speak against it; where both show it, each has a vote.
    both = Atlas([right, wrong], [1, 3], **settings)(query["image"]).as_tensor()
    torch.testing.assert_close(both[0], alone[0])
    assert not torch.allclose(both[1], alone[1], atol=0.1)
    # As many voxels as each has, but for those that mirror one another and are in or out together.
    assert int((both[1] > 0.5).sum()) == pytest.approx(int((alone[1] > 0.5).sum()), rel=0.2)
    nearest = Atlas([wrong, right], [1, 3], nearest=1, **settings)(query["image"]).as_tensor()
    torch.testing.assert_close(nearest, alone)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_of_three_that_agree_gives_what_they_say(
    registrations: list[tuple[float, float]], fusion: str
) -> None:
    supports, query = [scan(0), scan(1), scan(3)], scan(2)
    atlas = Atlas(supports, spacing=SPACING, refinement=None, fusion=fusion)
    found = labels(atlas(query["image"]), atlas.values)
    for value in (1, 3):
        assert agreement(found, query["label"][0].as_tensor(), value) == 1.0


def test_carried_back_by_a_registration_of_its_own(registrations: list[tuple[float, float]]) -> None:
    support, query = scan(0), scan(2)
    atlas = Atlas([support], spacing=SPACING)
    right = atlas.reverse_accuracy(query["image"], query["label"])
    assert right[1] > 0.95 and right[3] > 0.95
    assert registrations == [(84.0, 92.0)], "support fixed, query moving"
    swapped = query["label"].as_tensor()
    swapped = torch.where(swapped == 1, 3.0, torch.where(swapped == 3, 1.0, 0.0))
    assert atlas.reverse_accuracy(query["image"], MetaTensor(swapped, affine=AFFINE)) == {1: 0.0, 3: 0.0}
    nothing = MetaTensor(torch.zeros(1, *SHAPE), affine=AFFINE)
    assert AtlasReverseAccuracy(atlas)({"image": query["image"], "pred": nothing}) == {1: 0.0, 3: 0.0}


def test_the_quality_is_of_the_way_back_and_of_what_the_result_says_of_itself(
    registrations: list[tuple[float, float]],
) -> None:
    """The support lies on the query but for noise: confidence and likeness by hand."""
    support, query = scan(0), scan(0)
    query["image"] = query["image"] + 0.02 * torch.rand(
        query["image"].shape, generator=torch.Generator().manual_seed(0)
    )
    atlas = Atlas([support], spacing=SPACING)
    logits = AtlasInferer(atlas, prefetch=True)(list_data_collate([query])["image"])
    answer = decollate_batch(logits)[0]
    signs = {int(value): own for value, own in found_in(answer)["signs"].items()}
    assert signs.keys() == {1, 3}
    pred = MetaTensor(query["label"].as_tensor(), affine=AFFINE, meta=answer.meta | {"affine": AFFINE})
    quality = AtlasQuality(atlas)({"image": query["image"], "pred": pred})
    back = atlas.reverse_accuracy(query["image"], query["label"])
    for value, (confidence, likeness) in signs.items():
        assert 0.8 < confidence <= 1 and 0.9 < likeness < 1
        assert quality[value] == pytest.approx(confidence * (back[value] * (1 + likeness) / 2) ** 0.25)
    pred[pred == 3] = 0
    assert AtlasQuality(atlas)({"image": query["image"], "pred": pred})[3] == 0.0
    with pytest.raises(ValueError, match=r"has no signs of its quality. Make it by AtlasInferer\(atlas, prefetch=True"):
        AtlasQuality(atlas)({"image": query["image"], "pred": query["label"]})


def test_the_cache_saves_the_second_registration(registrations: list[tuple[float, float]], tmp_path: Path) -> None:
    support, query = scan(0), scan(2)
    settings: dict[str, Any] = {"spacing": SPACING, "cache": ContentCache(tmp_path)}
    first = Atlas([support], [1], **settings)(query["image"])
    second = Atlas([support], [1, 3], **settings)(query["image"])
    assert len(registrations) == 1
    torch.testing.assert_close(first[0].as_tensor(), second[0].as_tensor(), atol=0.2, rtol=0)
    Atlas([support], [1], registration={"reach": 5}, **settings)(query["image"])
    assert len(registrations) == 2, "other settings, another registration"


def test_inferer_gives_logits_that_know_their_scan(registrations: list[tuple[float, float]]) -> None:
    support, query = scan(0), scan(2)
    atlas = Atlas([support], spacing=SPACING)
    batch = list_data_collate([{"image": query["image"]}])["image"]
    logits = AtlasInferer(atlas)(batch, torch.nn.Identity())
    assert isinstance(logits, MetaTensor) and logits.shape == (1, 3, *SHAPE)
    assert (logits[:, 0] == 0).all()
    torch.testing.assert_close(
        torch.sigmoid(logits[0, 1:].as_tensor()), atlas(query["image"]).as_tensor(), atol=1e-4, rtol=0
    )
    with pytest.raises(TypeError, match="give a MetaTensor"):
        AtlasInferer(atlas)(torch.zeros(1, 1, *SHAPE))


def test_scans_of_a_loader_s_batch_keep_their_own_grids(
    registrations: list[tuple[float, float]], tmp_path: Path
) -> None:
    """Of different bodies, so that the atlas works on grids of different size; as read from files, by twos."""
    query = scan(2)
    for case, end in (("a", 10), ("b", 7)):
        array = (1000 * query["image"][0].as_tensor()).numpy().astype(np.int16)
        array[..., end:] = 0
        nib.save(nib.Nifti1Image(array, AFFINE.numpy()), tmp_path / f"{case}.nii.gz")
    items = [{"image": str(tmp_path / f"{case}.nii.gz")} for case in ("a", "b")]
    chain = Compose([LoadScand("image"), ScaleIntensityd("image", 0, 0.9)])
    (batch,) = DataLoader(Dataset(items, chain), batch_size=2)
    inferer = AtlasInferer(Atlas([scan(0)], spacing=SPACING, refinement=None))
    logits = inferer(batch["image"])
    assert logits.shape[:2] == (2, 3)
    both = decollate_batch({"image": batch["image"], "pred": logits})
    for item, path in zip(both, ("a", "b"), strict=True):
        alone = chain({"image": str(tmp_path / f"{path}.nii.gz")})["image"]
        expected = inferer(alone[None])  # as MONAI Label makes a batch
        one = {"image": alone, "pred": expected[0]}
        masks = [NativeLabeld("pred", [1, 3])(each)["pred"] for each in (item, one)]
        assert torch.equal(masks[0].as_tensor(), masks[1].as_tensor()) and int((masks[0] == 3).sum()) > 100
        assert masks[0].meta["filename_or_obj"].endswith(f"{path}.nii.gz")


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match=r"label value\(s\) \[2\] do not occur in the 1 support scan\(s\); present are \[1, 3\]"
    ):
        Atlas([scan()], [1, 2])
    with pytest.raises(ValueError, match="fusion must be one of .*, got 'mean'"):
        Atlas([scan()], fusion="mean")
    with pytest.raises(ValueError, match="nearest must be at least 1, got 0"):
        Atlas([scan()], nearest=0)


@pytest.mark.slow
def test_real_registration_of_phantoms(phantom_set: Path, tmp_path: Path, one_thread: Callable[[], None]) -> None:
    from monai.transforms import Compose, LoadImaged, ScaleIntensityRangePercentilesd

    before = Compose(
        [
            LoadImaged(["image", "label"], ensure_channel_first=True),
            ScaleIntensityRangePercentilesd("image", 0, 99.5, 0, 1, clip=True),
        ]
    )
    support, query = (
        before({key: phantom_set / f"{key}s" / f"{case}.nii.gz" for key in ("image", "label")})
        for case in ("case_01", "case_02")
    )
    atlas = Atlas([support], cache=ContentCache(tmp_path), sides=False)
    found = labels(on(query["image"], atlas(query["image"])), atlas.values)
    truth = query["label"][0].as_tensor()
    dices = {value: agreement(found, truth, value) for value in atlas.values}
    assert np.mean(list(dices.values())) > 0.75, dices
    quality = atlas.reverse_accuracy(query["image"], MetaTensor(found[None].float(), affine=query["image"].affine))
    assert quality.keys() == dices.keys() and np.mean(list(quality.values())) > 0.6


def test_an_organ_outside_the_query_is_left_out_in_words(registrations: list[tuple[float, float]]) -> None:
    support, query = scan(0), scan(2)
    # The query ends below voxel 18 + 2: the second box lies beyond it.
    cut = MetaTensor(query["image"].as_tensor()[:, :18], affine=AFFINE, meta={"filename_or_obj": "in/case_07.nii.gz"})
    cut[:, 16:] = 0.9  # what the known registration goes by
    support["image"][:, 18:25] = 0.3
    support["image"][:, 14:16] = 0.9
    inferer = AtlasInferer(Atlas([support], spacing=SPACING))
    with pytest.warns(InputWarning, match=r"case_07: label value\(s\) 3 left out: the organ lies outside the scan"):
        logits = inferer(list_data_collate([{"image": cut}])["image"])
    assert list(found_in(decollate_batch(logits)[0])["left_out"]) == ["3"]
    assert bool((logits[0, 1] > 0).any()) and float(logits[0, 2].max()) < -10


def test_no_registration_is_said_and_nothing_else_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def register(fixed: MetaTensor, moving: MetaTensor, **settings: Any) -> DisplacementField:
        if float(moving.max()) > 0.95:
            raise RegistrationError("no overlap")
        return DisplacementField.from_affine(np.eye(4), Grid.of(fixed))

    monkeypatch.setattr("monai_fss.inferers.atlas.register", register)
    monkeypatch.setattr("monai_fss.inferers.atlas.side_ratio", lambda query, scan: 1.0)
    good, bad, query = scan(), scan(), scan()
    bad["image"] = bad["image"] + 0.1
    settings: dict[str, Any] = {"spacing": SPACING, "refinement": None}
    with pytest.warns(InputWarning, match="the scan: the labelled scan the scan is left out: no overlap"):
        both = Atlas([bad, good], **settings)(query["image"])
    assert both.meta["left_out"] == {}
    torch.testing.assert_close(both.as_tensor(), Atlas([good], **settings)(query["image"]).as_tensor())
    lost = Atlas([bad], **settings)
    with pytest.warns(InputWarning, match=r"label value\(s\) 1, 3 left out: not registered: no overlap"):
        nothing = lost(query["image"])
    assert nothing.shape == (2, 1, 1, 1) and not nothing.any()
    with pytest.warns(InputWarning, match="quality 0, since it cannot be carried back: no overlap"):
        assert Atlas([good], **settings).reverse_accuracy(bad["image"], bad["label"]) == {1: 0.0, 3: 0.0}
