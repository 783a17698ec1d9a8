# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Anchors on the query's grid, and what OrganNet is asked about each organ."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from known_atlas import Known
from monai.data import MetaTensor

from monai_fss.inferers import AnchorPair, Atlas, AtlasInferer, OrganNetInferer, found_in
from monai_fss.inferers.anchors.registered import anchors_on_grid
from monai_fss.networks.nets import OrganNet
from monai_fss.registration import AppearanceRefinement, Grid

SHAPE = (20, 16, 12)


def scan(shift: int = 0) -> dict[str, MetaTensor]:
    """A body of 5 mm voxels with two organs, 4 and 7, further along the first axis by ``shift`` voxels."""
    image, label = np.zeros((1, *SHAPE), np.float32), np.zeros((1, *SHAPE), np.int16)
    image[0, 2:18, 2:14, 1:11] = 0.4
    for value, low, tone in ((4, 4 + shift, 0.8), (7, 10 + shift, 0.6)):
        box = (0, slice(low, low + 4), slice(5, 10), slice(3, 8))
        image[box], label[box] = tone, value
    affine = torch.diag(torch.tensor([5.0, 5.0, 5.0, 1.0], dtype=torch.float64))
    return {"image": MetaTensor(image, affine=affine), "label": MetaTensor(label, affine=affine)}


def known(*scans: dict[str, MetaTensor]) -> Known:
    return Known(scans, spacing=[5, 5, 5], refinement=None, sides=False)


def test_anchors_are_moved_to_the_query_with_their_masks() -> None:
    query, atlas = scan(2), known(scan())
    grid = atlas.grid(query["image"])
    placed, failures = atlas.placed(query["image"])
    fixed = np.zeros(grid.shape, np.float32)
    images, masks = anchors_on_grid(fixed, grid, placed, atlas.values)
    assert images.shape == (1, 1, *grid.shape) and masks.shape == (1, 2, 1, *grid.shape) and not failures
    low = np.round((np.linalg.inv(grid.affine) @ [6 * 5, 5 * 5, 3 * 5, 1])[:3]).astype(int)
    box = tuple(slice(a, a + n) for a, n in zip(low, (4, 5, 5), strict=True))
    assert (masks[0, 0, 0][box] > 0.99).all() and masks[0, 0].sum().item() == pytest.approx(100, rel=0.01)
    assert images[0, 0][box].mean().item() == pytest.approx(0.8, abs=0.05)


class Told(OrganNet):
    """Says the organ is where the anchor's mask is, moved back by one voxel along the first axis; remembers windows."""

    def __init__(self) -> None:
        super().__init__(channels=(2, 4), neighbourhoods=(1, 1))
        self.windows: list[tuple[int, ...]] = []

    def of_pair(self, pair: torch.Tensor) -> torch.Tensor:
        self.windows.append(tuple(pair.shape))
        return 20 * (pair[:, 2:3].roll(-1, 2) - 0.5)


def test_each_organ_is_asked_in_windows_around_its_moved_mask() -> None:
    query, net = scan(2)["image"], Told()
    inferer = OrganNetInferer(known(scan()), (8, 8, 8), margin=10.0)
    logits = inferer(query[None], net)
    assert isinstance(logits, MetaTensor) and logits.shape[1] == 3
    grid = Grid.of(MetaTensor(logits[0].as_tensor(), affine=logits.affine.squeeze(0)))
    start = np.round((np.linalg.inv(grid.affine) @ [5 * 5, 5 * 5, 3 * 5, 1])[:3]).astype(int)  # one voxel before
    box = tuple(slice(a, a + n) for a, n in zip(start, (4, 5, 5), strict=True))
    found = logits.as_tensor()[0, 1] > 0
    assert found[box].all() and int(found.sum()) == 100
    assert all(window[1:] == (3, 8, 8, 8) for window in net.windows) and found_in(logits)["left_out"] == {}


def test_the_network_works_on_its_own_grid_whatever_that_of_the_atlas() -> None:
    """Told on 5 mm, the organ is put one voxel of these before its mask: 5 mm, also on an atlas of 2.5 mm."""
    query, net = scan(2)["image"], Told()
    atlas = Known([scan()], spacing=[2.5, 2.5, 2.5], refinement=None, sides=False)
    inferer = OrganNetInferer(atlas, (8, 8, 8), margin=10.0, spacing=[5, 5, 5])
    logits = cast(MetaTensor, inferer(query[None], net))
    assert all(window[1:] == (3, 8, 8, 8) for window in net.windows)
    affine = logits.affine.squeeze(0).numpy()
    assert np.allclose(np.diag(affine)[:3], 2.5)
    places = np.argwhere(logits.as_tensor()[0, 1].numpy() > 0) @ affine[:3, :3].T + affine[:3, 3]
    middle = np.array([(6 + 1.5) * 5, (5 + 2) * 5, (3 + 2) * 5]) - [5, 0, 0]
    assert np.allclose(places.mean(0), middle, atol=0.7)
    assert len(places) * 2.5**3 == pytest.approx(100 * 5**3, rel=0.25)


def both(weight: float, net: OrganNet, query: MetaTensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits by network and atlas, and by the atlas alone."""
    refinement = AppearanceRefinement(evidence_weight=weight)
    atlas = Known([scan()], spacing=[2.5, 2.5, 2.5], refinement=refinement, sides=False)
    inferer = OrganNetInferer(atlas, (8, 8, 8), margin=10.0, spacing=[5, 5, 5], prior=True)
    return inferer(query[None], net).as_tensor()[0], AtlasInferer(atlas)(query[None]).as_tensor()[0]


def test_with_a_prior_the_network_joins_the_refinement_of_the_atlas() -> None:
    query = scan(2)["image"]
    together, alone = both(0.0, Told(), query)
    assert torch.equal(together, alone), "without weight it is the atlas"
    together, alone = both(1.0, Told(), query)
    mean = [np.argwhere(logits[1].numpy() > 0).mean(0)[0] * 2.5 for logits in (together, alone)]
    assert mean[0] < mean[1] - 1, "the network puts it 5 mm before"
    with pytest.raises(ValueError, match="prior needs an atlas with a refinement"):
        OrganNetInferer(known(scan()), (8, 8, 8), prior=True)


def test_an_organ_too_small_for_the_network_is_left_to_the_atlas() -> None:
    """On 20 mm no voxel shows the organ: nothing is asked, and the answer is the atlas's."""
    atlas = Known([scan()], spacing=[2.5, 2.5, 2.5], sides=False)
    query, net = scan(2)["image"], Told()
    inferer = OrganNetInferer(atlas, (8, 8, 8), margin=10.0, spacing=[40, 40, 40], prior=True)
    assert torch.equal(inferer(query[None], net).as_tensor(), AtlasInferer(atlas)(query[None]).as_tensor())
    assert net.windows == []


def test_several_anchors_are_averaged_in_probability() -> None:
    """Two anchors, one of which does not label 7: it says nothing of it."""
    one, two = scan(), scan()
    two["label"][two["label"] == 7] = 0
    inferer = OrganNetInferer(known(one, two), (8, 8, 8), margin=10.0)
    logits = inferer(scan(2)["image"][None], Told()).as_tensor()[0]
    assert (logits[1] > 0).sum() == 100 == (logits[2] > 0).sum()


def test_a_pair_has_both_scans_and_the_masks_of_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Atlas, "field", Known.field)
    scans = {"target": scan(2), "anchor": scan()}
    scans["anchor"]["label"][scans["anchor"]["label"] == 7] = 0
    made = AnchorPair(lambda item: scans[item["image"]], [4, 7, 9], [5, 5, 5], anchor_mask="refined")
    found = made({"image": "target", "label": "", "anchor_image": "anchor", "anchor_label": ""})
    assert found["anchor_mask"].shape[:2] == (3, 2) and found["anchor_mask"].dtype == torch.uint8
    assert {int(v) for v in found["label"].unique()} == {0, 4, 7} and (found["label"] == 4).sum() == 100
    moved = found["anchor_mask"][0, 0] > 127
    assert torch.equal(moved, found["label"][0] == 4), "by two voxels it lies on the target's"
    assert not found["anchor_mask"][1:].any(), "7 is not shown by the anchor, 9 by none"
    with pytest.raises(ValueError, match="registered, refined, got 'both'"):
        AnchorPair(lambda item: item, [4], [5, 5, 5], anchor_mask="both")
