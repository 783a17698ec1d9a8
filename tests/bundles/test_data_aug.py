# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""DataAug by values: flows, fields, the appearance, the scans that are made, and the keys that its files share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from installed_bundles import config_of
from monai.data import MetaTensor
from monai.transforms import Compose
from recipe_checks import parsed as with_recipe
from scipy.ndimage import map_coordinates

from monai_fss.data import PrepareVolumes
from monai_fss.inferers import AlignScan, SynthesisedPairs, learnt_transformations
from monai_fss.inferers.one_shot.aligned import field_of_flow, filled_grid, flow_of_field, label_contours
from monai_fss.inferers.one_shot.synthesis import Learnt, random_field
from monai_fss.losses import DataAugLoss, roughness
from monai_fss.networks.blocks import FlowNet, compose_flows, warp
from monai_fss.networks.nets import DataAugNet
from monai_fss.networks.nets.data_aug import Transformations
from monai_fss.registration import DisplacementField, Grid, resample

parsed = partial(config_of, "data_aug")
SHAPE = (8, 6, 10)


def smooth(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    """Random numbers that change slowly, in double precision."""
    coarse = torch.rand(1, shape[0], 3, 3, 3, generator=torch.Generator().manual_seed(seed)).double() - 0.5
    return scale * torch.nn.functional.interpolate(coarse, shape[1:], mode="trilinear", align_corners=True)[0]


def looked_up(image: np.ndarray, index: np.ndarray, order: int = 1) -> np.ndarray:
    """By scipy, at indices (3, ...), the edge repeated."""
    return map_coordinates(image, index, order=order, mode="nearest")


def voxels(shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(float)


@pytest.mark.parametrize(("mode", "order"), [("bilinear", 1), ("nearest", 0)])
def test_warping_by_a_known_flow_is_scipys(mode: str, order: int) -> None:
    image, flow = torch.rand(2, 3, *SHAPE).double(), torch.stack([smooth(3, *SHAPE, seed=s, scale=9) for s in (1, 2)])
    found = warp(image, flow, mode)
    for number in range(2):
        for channel in range(3):
            expected = looked_up(image[number, channel].numpy(), voxels(SHAPE) + flow[number].numpy(), order)
            np.testing.assert_allclose(found[number, channel].numpy(), expected, atol=1e-9)
    torch.testing.assert_close(warp(image, torch.zeros_like(flow)), image)


def test_composed_flows_look_up_twice() -> None:
    """A linear image is looked up exactly: (x + first) + then at that place."""
    first, then = (smooth(3, *SHAPE, seed=seed, scale=1.0)[None] for seed in (3, 4))
    position = torch.from_numpy(voxels(SHAPE))[None]
    inside = (slice(None), slice(None), *[slice(2, -2)] * 3)
    twice = warp(position + then, first)
    torch.testing.assert_close((position + compose_flows(first, then))[inside], twice[inside])


def test_a_flow_network_begins_near_the_identity_and_says_what_divides() -> None:
    net = FlowNet([4, 4, 4, 4])
    assert net.multiple == 8 and FlowNet([4, 4, 4, 4], halved=False).multiple == 4
    pair = torch.rand(2, 1, 1, 16, 8, 24)
    assert net(*pair).shape == (1, 3, 16, 8, 24) and float(net(*pair).detach().abs().max()) < 1e-2


GRID = Grid(SHAPE, np.array([[2.0, 0, 0, -5], [0, 2, 0, 3], [0, 0, 2, 7], [0, 0, 0, 1]]))
OWN = Grid((9, 7, 8), np.array([[0, -1.5, 0, 8], [1.8, 0, 0, 1], [0, 0, 2.2, 6], [0, 0, 0, 1]]))
MATRIX = np.array([[1.1, 0.1, 0, -2], [0, 0.9, 0.05, 1], [0, 0, 1, 3], [0, 0, 0, 1.0]])


def test_a_moved_label_is_the_registrations() -> None:
    """The same flow as the network applies it, as a field of the registration, and by scipy."""
    label = (torch.rand(1, *SHAPE) * 3).floor()
    flow = smooth(3, *SHAPE, seed=5, scale=6).float()
    field = field_of_flow(flow, GRID, np.eye(4), GRID)
    image = MetaTensor(label, affine=torch.from_numpy(GRID.affine))
    by_field = resample(image, GRID, field, mode="nearest", padding="border").as_tensor()
    assert torch.equal(warp(label[None], flow[None], "nearest")[0], by_field)
    expected = looked_up(label[0].numpy(), voxels(SHAPE) + flow.numpy(), 0)
    assert (by_field[0].numpy() == expected).mean() > 0.999  # halves are rounded otherwise


def test_a_field_is_the_affine_map_and_then_the_flow() -> None:
    flow = smooth(3, *SHAPE, seed=6, scale=4).float()
    field = field_of_flow(flow, GRID, MATRIX, OWN)
    points = OWN.points().double().numpy()
    aligned = points @ MATRIX[:3, :3].T + MATRIX[:3, 3]
    index = (aligned - GRID.affine[:3, 3]) / 2
    moved = np.stack([looked_up(flow[c].double().numpy(), np.moveaxis(index, -1, 0)) for c in range(3)], -1)
    expected = aligned + 2 * moved - points
    np.testing.assert_allclose(field.data.movedim(0, -1).numpy(), expected, atol=1e-3)
    affine = DisplacementField.from_affine(MATRIX, OWN).affine_part()
    np.testing.assert_allclose(affine, MATRIX, atol=1e-4)


def test_a_field_becomes_a_flow_again() -> None:
    """On a grid that covers the labelled one; between its points a linear flow is interpolated exactly."""
    steps = torch.from_numpy(voxels(SHAPE)).float()
    flow = 0.1 * steps + torch.tensor([1.0, -0.5, 0.3])[:, None, None, None]
    inverse = np.linalg.inv(MATRIX)
    wide = Grid((40, 40, 40), np.array([[1.5, 0, 0, -25], [0, 1.5, 0, -25], [0, 0, 1.5, -25], [0, 0, 0, 1.0]]))
    field = field_of_flow(flow, GRID, MATRIX, wide)
    found = flow_of_field(field, GRID, inverse, np.eye(4))
    inner = (slice(None), *[slice(1, -1)] * 3)
    torch.testing.assert_close(found[inner], flow[inner], rtol=0, atol=2e-3)
    there = DisplacementField.from_affine(inverse, GRID)  # from the labelled scan to the other, which is affine alone
    torch.testing.assert_close(flow_of_field(there, GRID, np.eye(4), MATRIX), torch.zeros(3, *SHAPE), rtol=0, atol=1e-4)


def test_contours_are_on_both_sides_of_a_border() -> None:
    label = (torch.rand(1, 5, 4, 6) * 2).floor().to(torch.uint8)
    expected = torch.zeros(1, 5, 4, 6)
    for place in np.ndindex(5, 4, 6):
        for axis in range(3):
            for step in (-1, 1):
                other = list(place)
                other[axis] += step
                if 0 <= other[axis] < (5, 4, 6)[axis] and label[0][tuple(other)] != label[0][place]:
                    expected[0][place] = 1
    assert torch.equal(label_contours(label), expected)


def test_the_appearance_is_added_and_moved_along() -> None:
    net, pair = DataAugNet([4, 4, 4, 4], [2, 4]), torch.rand(1, 2, 8, 8, 16)
    flow = smooth(3, 8, 8, 16, seed=7, scale=3)[None].float()
    found = net(pair, flow=flow, back=-flow)
    torch.testing.assert_close(found.dressed, warp(pair[:, :1] + found.change, flow))
    torch.testing.assert_close(found.moved, warp(pair[:, :1], flow))
    torch.testing.assert_close(found.moved_back, warp(pair[:, 1:], -flow))
    loss = DataAugLoss(window=3, flows=False)(net(pair), {"image": pair, "contours": torch.zeros(1, 1, 8, 8, 16)})
    loss.backward()
    assert all(weight.grad is None for weight in net.forth.parameters()), "no gradient from the appearance to the flows"
    assert all(weight.grad is not None for weight in net.appearance.parameters())
    with pytest.raises(ValueError, match="no network of flows"):
        DataAugNet([4, 4, 4, 4], [2, 4], learn_flows=False)(pair)


def test_the_change_may_jump_on_contours_alone() -> None:
    """A change of 1 in half of the volume: 6 x 10 of the 7 x 6 x 10 differences along the first axis are 1."""
    change = torch.zeros(1, 1, *SHAPE)
    change[:, :, 4:] = 1
    free, contours = torch.zeros_like(change), label_contours(change[0])[None]
    assert float(roughness(change)) == pytest.approx(60 / (7 * 60) / 3)
    none = torch.zeros(1, 3, *SHAPE)
    image = torch.rand(1, 2, *SHAPE)
    found = Transformations(none, none, change, image[:, :1], image[:, 1:], image[:, 1:])
    loss = DataAugLoss(window=3, reconstruction=7.0, flows=False)
    assert float(loss(found, {"image": image, "contours": free})) == pytest.approx(60 / 420 / 3)
    assert float(loss(found, {"image": image, "contours": contours})) == 0
    off = found._replace(dressed=image[:, 1:] + 0.5)
    assert float(loss(off, {"image": image, "contours": contours})) == pytest.approx(7 * 0.25)


def pairs(**more: Any) -> SynthesisedPairs:
    """Two scans of one labelled: the first has a field, both have a change."""
    affine = {"affine": torch.from_numpy(GRID.affine)}
    labelled = {
        "image": MetaTensor(smooth(1, *SHAPE, seed=8).float() / 4 + 0.5, **affine),
        "label": MetaTensor((smooth(1, *SHAPE, seed=9) > 0).to(torch.uint8), **affine),
    }
    scans = [{"image": MetaTensor(torch.rand(1, *OWN.shape), affine=torch.from_numpy(OWN.affine))} for _ in range(2)]
    learnt = []
    for number in range(2):
        field = field_of_flow(smooth(3, *SHAPE, seed=10 + number, scale=2).float(), GRID, MATRIX, OWN)
        learnt.append(Learnt(field, MetaTensor(smooth(1, *SHAPE, seed=20 + number).float() / 4, **affine)))
    return SynthesisedPairs(labelled, scans, learnt, Compose([]), 8, **more)


def test_a_made_scan_is_the_labelled_one_changed_and_looked_up() -> None:
    made = pairs()
    pair = made.synthesised(1, 2)
    x, change = made.image[0].numpy(), made.learnt[1].change[0].numpy()
    where = (OWN.points() + made.learnt[0].field.data.movedim(0, -1)).numpy()
    index = np.moveaxis((where - GRID.affine[:3, 3]) / 2, -1, 0)
    edge = np.stack([np.minimum(i + 0.5, n - 0.5 - i) for i, n in zip(index, SHAPE, strict=True)]).min(0)
    clear = np.abs(edge) > 0.01  # of the edge of the labelled scan, where rounding decides
    assert 0.1 < (edge > 0).mean() < 0.9 and clear.mean() > 0.95
    expected = looked_up(x + change, index) * (edge > 0)
    np.testing.assert_allclose(pair["image"][0].numpy()[clear], expected[clear], atol=1e-4)
    field = made.learnt[0].field
    assert torch.equal(pair["label"], resample(made.label, OWN, field, mode="nearest").as_tensor())
    own = made.synthesised(0, 0)
    assert torch.equal(own["label"], made.label.as_tensor()) and torch.allclose(own["image"], made.image.as_tensor())
    pseudo = made.pseudo(0)
    assert torch.equal(pseudo["image"], made.volumes[0]["image"].as_tensor()) and pair["label"].any()
    assert torch.equal(pseudo["label"], pair["label"])


def test_what_is_drawn_follows_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    made, drawn = pairs(weights=(2, 1, 1)), []
    for kind in ("synthesised", "pseudo", "random"):
        monkeypatch.setattr(made, kind, lambda *args, kind=kind: drawn.append((kind, args)) or {})
    for index in range(400):
        made[index]
    counts = {kind: sum(name == kind for name, _ in drawn) for kind in ("synthesised", "pseudo", "random")}
    assert abs(counts["synthesised"] - 200) < 40 and abs(counts["pseudo"] - 100) < 35
    assert {args for kind, args in drawn if kind == "synthesised"} == {(i, j) for i in range(3) for j in range(3)}
    made.coupled, before = True, len(drawn)
    for index in range(40):
        made[index]
    assert {i == j for kind, (i, *j) in drawn[before:] if kind == "synthesised" for j in j} == {True}
    with pytest.raises(ValueError, match="not all of them 0"):
        pairs(weights=(0, 0, 0))


def test_a_random_field_keeps_to_its_limit_and_its_seed() -> None:
    field = random_field(GRID, 6.0, 3.0, np.random.RandomState(1))
    assert float(field.data.abs().max()) <= 3 and float(field.data.std()) == pytest.approx(3 / 3**0.5, rel=0.2)
    assert torch.equal(field.data, random_field(GRID, 6.0, 3.0, np.random.RandomState(1)).data)
    one, other = pairs(weights=(0, 0, 1)), pairs(weights=(0, 0, 1))
    assert torch.equal(one[3]["image"], other[3]["image"]) and not torch.equal(one[3]["image"], one[4]["image"])


class InMemory(PrepareVolumes):
    """Gives scans of a dictionary in place of files."""

    def __init__(self, scans: dict[str, Any]) -> None:
        self.scans = scans

    def __call__(self, data: Any, **more: Any) -> Any:
        return {key: self.scans[data[key]] for key in data}

    def labelled(self) -> Any:
        return self


@pytest.mark.slow
def test_a_shifted_copy_is_laid_over_the_labelled_scan(phantom_set: Path) -> None:
    """Its own header says 12 mm more to the right: the map takes it back, and there is no flow left."""
    found = PrepareVolumes()({key: str(phantom_set / f"{key}s" / "case_01.nii.gz") for key in ("image", "label")})
    affine = found["image"].affine.clone()
    affine[0, 3] += 12
    scans = InMemory({**found, "other": MetaTensor(found["image"].as_tensor(), affine=affine)})
    files, registration = {"image": "image", "label": "label"}, {"preset": "fast", "starts": 1}
    align = AlignScan(files, scans, [1, 4], 12.0, flows="convex_adam", registration=registration)
    result = align({"image": "other"})
    assert all(side % 16 == 0 for side in result["image"].shape[1:])
    matrix = result["matrix"].numpy().copy()
    matrix[0, 3] += 12
    corners = align.grid.points()[::31, ::31, ::31].reshape(-1, 3).double().numpy()
    assert np.abs(corners @ (matrix[:3, :3] - np.eye(3)).T + matrix[:3, 3]).max() < 12, "mm, one voxel"
    own = resample(found["image"], align.grid).as_tensor()
    moved, back = warp(own[None], result["flow"][None])[0], warp(result["image"][None], result["back"][None])[0]
    for likeness in (moved - result["image"], back - own):
        assert float(likeness.abs().mean()) < 0.01
    assert max(float(result[key].abs().mean()) for key in ("flow", "back")) < 0.3, "voxels"


def test_what_is_learnt_of_a_scan_is_the_networks_flow_and_change() -> None:
    net = DataAugNet([4, 4, 4, 4], [2, 4])
    grid = filled_grid(GRID, net.multiple)
    assert grid.shape == (8, 8, 16)
    item = {"labelled": torch.rand(1, *grid.shape), "image": torch.rand(1, *grid.shape)}

    class Aligned(list):
        def __init__(self) -> None:
            super().__init__([{**item, "matrix": torch.from_numpy(MATRIX)}])
            self.grid = grid

    scan = pairs().volumes[0]
    (learnt,) = learnt_transformations(net, Aligned(), [scan])  # type: ignore[arg-type]
    said = net(torch.cat([item["labelled"], item["image"]])[None])
    torch.testing.assert_close(learnt.change.as_tensor(), said.change[0].detach())
    expected = field_of_flow(said.flow[0].detach(), grid, MATRIX, OWN)
    torch.testing.assert_close(learnt.field.data, expected.data)


def test_the_stage_before_does_what_the_training_has_it_do() -> None:
    own, stage = parsed("train"), parsed("pretrain")
    handed = own["transforming"]
    assert set(handed) <= set(stage.config)
    names = {key: f"flow_{key}" for key in ("steps", "steps_per_epoch", "learning_rate")}
    for key in set(handed) - {"dataset_dir", "cases", "support", "labels", "tensorboard"}:
        assert handed[key] == f"@{names.get(key, key)}" and stage[key] == own[names.get(key, key)], key
    assert own["transformer_def"] == stage["network_def"]
    for key in ("labelled", "prepare", "spacing", "flows", "registration"):
        assert own["align"][key] == stage["align"][key], key


def test_inference_has_the_settings_of_the_training_for_its_own() -> None:
    own, used = parsed("train"), parsed("inference")
    for key in ("pixdim", "window", "channels", "roi_size"):
        assert used[key] == own[key], key
    assert set(own["settings"]) == set(used["settings"]), "what inference needs is kept"


def test_the_papers_recipe_builds() -> None:
    parser = with_recipe("data_aug", "paper")
    net = parser.get_parsed_content("transformer_def")
    assert net.multiple == 8 and not net.forth.halved and parser["flow_steps"] == 50000
