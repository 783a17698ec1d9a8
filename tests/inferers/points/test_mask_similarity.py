# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Masks are compared with the labelled one at points that correspond, whatever grid they are on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_fss.data import ScanError, phantom, save_model, save_propagation
from monai_fss.inferers import MaskSimilarity, load_prnet, mask_landmarks, prnet_transforms
from monai_fss.inferers.points import mask_similarity
from monai_fss.networks.nets import LocatedSegmenter, PatchFeatures, PRNet

SETTINGS: dict[str, Any] = {
    "coarse": {"pixdim": 16.0, "patch_size": [32, 16, 16], "reach": [500, 500, 700]},
    "fine": {"pixdim": 6.0, "patch_size": [16, 16, 32], "reach": [150, 150, 150]},
    "base": 4,
    "pixdim": 3.0,
    "window": None,
}


class Tissue(nn.Module):
    """Both features are a direction that the intensity in the patch's middle tells: 0 to 1 are 0 to 180 degrees."""

    patch_size = (4, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("reach", torch.ones(3))
        self.register_buffer("spacing", torch.full((3,), 2.0))

    def forward(self, patches: torch.Tensor) -> PatchFeatures:
        angle = patches[:, 0, 2, 2, 2] * np.pi
        vector = torch.stack([torch.cos(angle), torch.sin(angle)], 1)
        return PatchFeatures(torch.zeros(len(patches), 3), vector, vector, patches)


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def output(image: Path, label: np.ndarray) -> dict[str, MetaTensor]:
    """As an inference evaluator puts it out; the image is on another grid and counts by its name alone."""
    seen = MetaTensor(torch.zeros(3, 2, 2, 2), meta={"filename_or_obj": str(image)})
    affine = torch.from_numpy(nib.Nifti1Image.from_filename(image).affine)
    return {"image": seen, "pred": MetaTensor(torch.from_numpy(label.copy())[None], affine=affine)}


def test_landmarks_of_a_box_are_its_middle_in_even_slices() -> None:
    mask = np.zeros((20, 16, 14), bool)
    mask[4:9, 6:13, 2:12] = True
    assert mask_landmarks(mask).tolist() == [[6, 9, k] for k in (3, 5, 7, 9, 11)]
    assert mask_landmarks(mask, 2).tolist() == [[6, 9, 4], [6, 9, 9]]
    assert mask_landmarks(mask, 1).tolist() == [[6, 9, 7]]
    assert mask_landmarks(mask, 20)[:, 2].tolist() == np.repeat(np.arange(2, 12), 2).tolist()
    mask[:, :, 12] = True  # one slice as large as nine others
    assert mask_landmarks(mask)[:, 2].tolist() == [3, 7, 11, 12, 12], "parts of the volume, not of the length"


def test_an_organ_that_grows_has_the_same_landmarks_in_the_same_order() -> None:
    small, large = np.zeros((10, 10, 4), bool), np.zeros((40, 20, 12), bool)
    small[2:7, 3:6, 1:4], large[8:33, 5:14, 3:12] = True, True
    one, two = mask_landmarks(small, 3), mask_landmarks(large, 3)
    assert one.tolist() == [[4, 4, 1], [4, 4, 2], [4, 4, 3]] and two.tolist() == [[20, 9, 4], [20, 9, 7], [20, 9, 10]]


def test_landmarks_lie_well_inside_bent_and_tiny_organs() -> None:
    i, j = np.indices((41, 41)) - 20
    distance = np.hypot(i, j)
    ring = (distance >= 10) & (distance <= 18) & (i > -15)  # open to one side
    (point,) = mask_landmarks(ring[:, :, None], 1)
    assert ring[point[0], point[1]] and 11.5 < distance[point[0], point[1]] < 16.5
    single = np.zeros((5, 5, 5), bool)
    single[4, 0, 2] = True
    assert mask_landmarks(single).tolist() == [[4, 0, 2]] * 5


def test_the_depth_is_in_mm() -> None:
    corner = np.zeros((31, 31, 1), bool)
    corner[2:29, 2:7] = corner[2:7, 2:29] = True  # two arms of 27 x 5 voxels
    (first,), (second,) = mask_landmarks(corner, 1, (1.0, 5.0)), mask_landmarks(corner, 1, (5.0, 1.0))
    assert first[0] > 7 and 2 < first[1] < 6, "voxels are long along the second axis: the arm along the first is thick"
    assert second[1] > 7 and 2 < second[0] < 6


def test_no_landmarks_of_nothing() -> None:
    with pytest.raises(ValueError, match=r"count 5 must be at least 1, and the mask .* got \(4, 4, 4\) with 0"):
        mask_landmarks(np.zeros((4, 4, 4)))
    with pytest.raises(ValueError, match="count 0 must be at least 1"):
        mask_landmarks(np.ones((4, 4, 4)), 0)
    with pytest.raises(ValueError, match=r"got \(4, 4\) with 16"):
        mask_landmarks(np.ones((4, 4)))


SHAPE = (40, 36, 20)
AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])


def boxes(first: float, second: float | None) -> tuple[np.ndarray, np.ndarray]:
    """A scan of two organs and its label, 1 and 4; the second one need not be there."""
    image, label = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.int16)
    image[5:15, 6:16, 3:13], label[5:15, 6:16, 3:13] = first, 1
    if second is not None:
        image[22:34, 20:30, 8:18], label[22:34, 20:30, 8:18] = second, 4
    return image, label


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Path]]:
    """Two labelled scans, the second one of organ 1 alone, and a network that sees intensities."""
    settings = SETTINGS | {"pixdim": 2.0, "window": [0, 1000]}
    monkeypatch.setattr(mask_similarity, "load_prnet", lambda file: (SimpleNamespace(fine=Tissue()), settings))
    made: dict[str, list[Path]] = {"images": [], "labels": []}
    for name, values in (("a", (300.0, 700.0)), ("b", (500.0, None))):
        image, label = boxes(*values)
        made["images"].append(save(tmp_path / f"{name}.nii.gz", image, AFFINE))
        made["labels"].append(save(tmp_path / f"{name}_label.nii.gz", label, AFFINE))
    return made


def alike(first: float, second: float) -> float:
    """Of two intensities, in thousands: the product of two equal cosines."""
    return float(np.cos((first - second) * np.pi) ** 2)


def turned(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same scan, stored from left to right and with its slices first."""
    affine = AFFINE @ nib.orientations.inv_ornt_aff(np.array([[1, 1], [2, -1], [0, -1]]), SHAPE)
    return nib.orientations.apply_orientation(array, np.array([[1, 1], [2, -1], [0, -1]])), affine


@pytest.mark.parametrize("stored", ["as the support", "turned"])
def test_what_a_mask_shows_is_compared_with_the_labelled_organ(
    stored: str, scene: dict[str, list[Path]], tmp_path: Path
) -> None:
    image, label = boxes(400.0, 700.0)
    affine = AFFINE
    if stored == "turned":
        (image, affine), label = turned(image), turned(label)[0]
    query = save(tmp_path / "query.nii.gz", image, affine)
    similarity = MaskSimilarity("prnet.pt", str(scene["images"][0]), str(scene["labels"][0]))
    found = similarity(output(query, label))
    assert found == {1: pytest.approx(alike(0.3, 0.4), abs=1e-4), 4: pytest.approx(1, abs=1e-4)}
    exchanged = np.choose(np.searchsorted([0, 1, 4], label), [0, 4, 1]).astype(np.int16)
    found = similarity(output(query, exchanged))
    assert found == {1: pytest.approx(alike(0.3, 0.7), abs=1e-4), 4: pytest.approx(alike(0.7, 0.4), abs=1e-4)}
    found = similarity(output(query, np.where(label == 1, 1, 0).astype(np.int16)))
    assert found == {1: pytest.approx(alike(0.3, 0.4), abs=1e-4), 4: 0}, "nothing was found"


def test_of_several_labelled_scans_those_count_that_show_the_organ(
    scene: dict[str, list[Path]], tmp_path: Path
) -> None:
    image, label = boxes(400.0, 900.0)
    query = save(tmp_path / "query.nii.gz", image, AFFINE)
    both = MaskSimilarity("prnet.pt", scene["images"], scene["labels"], count=3)
    expected = {1: (alike(0.3, 0.4) + alike(0.5, 0.4)) / 2, 4: alike(0.7, 0.9)}
    assert both(output(query, label)) == {v: pytest.approx(e, abs=1e-4) for v, e in expected.items()}
    one = MaskSimilarity("prnet.pt", scene["images"], scene["labels"], values=[4])
    assert one(output(query, label)).keys() == {4} and len(one.supports) == 1
    with pytest.raises(ScanError, match="has no label value to compare masks with"):
        MaskSimilarity("prnet.pt", scene["images"], scene["labels"], values=[9])


def prnet_file(path: Path, **settings: Any) -> Path:
    torch.manual_seed(0)
    coarse = PRNet((32, 16, 16), 4, spacing=(16, 16, 16))
    fine = PRNet((16, 16, 32), 4, (150, 150, 150), spacing=(6, 6, 6))
    save_propagation(path, coarse, fine, {"values": torch.tensor([1])}, SETTINGS | settings)
    return path


def shifted(label: np.ndarray, way: Sequence[int]) -> np.ndarray:
    return np.roll(label, way, (0, 1, 2))


def test_a_mask_is_like_itself_and_less_like_another_place(tmp_path: Path) -> None:
    scan = phantom(3, shape=(64, 64, 12), spacing=(5, 5, 16))
    label = np.where(np.isin(scan.label, [1, 4]), scan.label, 0).astype(np.int16)
    label[32, 32, 6] = 9  # a single voxel, that a coarser grid might not have
    image = save(tmp_path / "a.nii.gz", scan.image, scan.affine)
    known = save(tmp_path / "a_label.nii.gz", label, scan.affine)
    similarity = MaskSimilarity(prnet_file(tmp_path / "propagation.pt"), image, known)
    own = similarity(output(image, label))
    assert own == {value: pytest.approx(1, abs=1e-4) for value in (1, 4, 9)}
    noise = np.random.default_rng(0).normal(0, 20, scan.image.shape)
    query = save(tmp_path / "b.nii.gz", (scan.image + noise).astype(np.float32), scan.affine)
    right = similarity(output(query, label))
    wrong = similarity(output(query, shifted(label, (8, -6, 1))))
    assert all(wrong[value] + 0.05 < right[value] < 1 for value in (1, 4, 9))


def test_networks_come_from_both_files_of_a_training(tmp_path: Path) -> None:
    network, settings = load_prnet(prnet_file(tmp_path / "propagation.pt"))
    assert (
        settings == SETTINGS and network.fine.patch_size == (16, 16, 32) and network.coarse.patch_size == (32, 16, 16)
    )
    assert network.fine.spacing.tolist() == [6] * 3 and network.points().keys() == {"values"}
    model = LocatedSegmenter(nn.Conv3d(1, 3, 1), network.coarse, network.fine).remember(network.points())
    save_model(tmp_path / "model.pt", model, settings | {"tau": 0.5})
    again, more = load_prnet(tmp_path / "model.pt")
    state, expected = again.state_dict(), network.state_dict()
    assert more["tau"] == 0.5 and state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_a_file_of_an_earlier_version_gives_the_same_networks(tmp_path: Path) -> None:
    packed = {"coarse": [16.0, 32, 16, 16, 500, 500, 700], "fine": [6.0, 16, 16, 32, 150, 150, 150]}
    network, settings = load_prnet(prnet_file(tmp_path / "propagation.pt", **packed))
    assert settings == SETTINGS and network.fine.patch_size == (16, 16, 32)
    assert network.coarse.reach.tolist() == [500, 500, 700] and network.coarse.spacing.tolist() == [16] * 3


def test_other_files_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="does not fit the networks"):
        load_prnet(prnet_file(tmp_path / "other.pt", base=2))
    save_propagation(tmp_path / "old.pt", nn.Identity(), nn.Identity(), {}, {"pixdim": 3.0, "window": None})
    with pytest.raises(ScanError, match="old.pt: does not say its coarse, fine, base. Give a file that a training"):
        load_prnet(tmp_path / "old.pt")


def test_scans_are_treated_as_in_the_training(tmp_path: Path) -> None:
    image, label = boxes(400.0, 1200.0)
    files = {
        "image": str(save(tmp_path / "a.nii.gz", image - 100, np.diag([-2.0, 2, 4, 1]))),
        "label": str(save(tmp_path / "b.nii.gz", label, np.diag([-2.0, 2, 4, 1]))),
    }
    item = prnet_transforms(SETTINGS | {"window": [-100, 900], "pixdim": 4.0}, ["image", "label"])(files)
    assert item["image"].shape == item["label"].shape == (1, 20, 18, 20)
    assert np.allclose(np.diag(item["image"].affine), [4, 4, 4, 1])
    values = item["image"].as_tensor()[item["label"].as_tensor() == 4]
    assert values.max() == 1 and (item["label"][0, :10] == 4).any(), "clipped, and turned to the patient's right"
    alone = prnet_transforms(SETTINGS)({"image": files["image"]})
    assert alone["image"].min() == 0 and alone["image"].max() == 1 and alone["image"].shape[1] == 27
