# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A network that knows crops segments whole scans, where the points were found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from torch import nn

from monai_fss.inferers import (
    LocatedInferer,
    LocatedPoints,
    LocatedQuality,
    PointLocaliser,
    ScribblePropagation,
    found_in,
)
from monai_fss.inferers.points import located
from monai_fss.networks.nets import LocatedSegmenter, PRNet

SHAPE = (40, 32, 24)


class Bright(nn.Module):
    """Way 1 where the image is above 0.4, way 2 where it is above 0.8; and what shapes it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(image.shape[2:]))
        return torch.cat([torch.zeros_like(image), 10 * (image - 0.4), 40 * (image - 0.8)], 1)


def scan() -> MetaTensor:
    image = torch.zeros(1, *SHAPE)
    image[:, 8:16, 8:16, 8:16] = 0.6  # near the points
    image[:, 30:36, 24:30, 18:22] = 1.0  # far from them
    found = MetaTensor(image, affine=torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])))
    found.meta["filename_or_obj"] = "folder/query.nii.gz"
    return found


def batch(image: MetaTensor) -> MetaTensor:
    """As a data loader makes it."""
    return list_data_collate([{"image": image}])["image"]


def points(similarity: Any = (0.9, 0.8, 0.1, 0.9)) -> LocatedPoints:
    """Two of way 1 in the box, one astray, one of the background at the far corner."""
    voxels = np.array([[10, 10, 10], [14, 13, 12], [36, 28, 20], [39, 31, 23]])
    return LocatedPoints(voxels, voxels * 2.0, np.array([1, 1, 1, 9]), np.asarray(similarity))


def network() -> LocatedSegmenter:
    return LocatedSegmenter(Bright(), PRNet((32, 16, 16), 2), PRNet((32, 16, 16), 2))


def inferer(monkeypatch: pytest.MonkeyPatch, found: LocatedPoints, **settings: Any) -> LocatedInferer:
    made = LocatedInferer((16, 16, 16), margin=6.0, background=9, **settings)
    monkeypatch.setattr(made, "_locate", lambda image, net: found)
    return made


def test_each_organ_is_looked_for_around_its_own_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """What looks like both lies around the points of way 1: way 2, whose points are far, does not get it."""
    voxels = np.array([[10, 10, 10], [14, 13, 12], [32, 26, 20], [39, 31, 23]])
    found = LocatedPoints(voxels, voxels * 2.0, np.array([1, 1, 2, 9]), np.ones(4))
    image = scan()
    image[:, 8:16, 8:16, 8:12] = 1.0  # more like way 2
    for values, near in ((None, 2), ([1, 2], 0)):
        logits = inferer(monkeypatch, found, values=values)(batch(image), network())
        winner = logits.as_tensor()[0].argmax(0)
        assert (winner[8:16, 8:16, 8:12] == near).all(), "what is more like way 2 is no organ of way 1 either"
        assert (winner[8:16, 8:16, 12:15] == 1).all()
        assert (winner[30:35, 24:30, 18:22] == 2).all()


def test_only_the_surroundings_of_the_points_are_segmented(monkeypatch: pytest.MonkeyPatch) -> None:
    net, found = network(), inferer(monkeypatch, points())
    logits = found(batch(scan()), net)
    assert isinstance(logits, MetaTensor) and tuple(logits.shape) == (1, 3, *SHAPE)
    winner = logits.as_tensor()[0].argmax(0)
    expected = torch.zeros(SHAPE, dtype=torch.long)
    expected[8:16, 8:16, 8:16] = 1
    assert torch.equal(winner, expected), "the bright box far away was not looked at"
    assert set(net.segmenter.seen) == {(16, 16, 16)}
    assert logits[0, 0, 36, 28, 20] == 0 and logits[0, 1, 36, 28, 20] == -20
    assert set(found_in(decollate_batch(logits)[0])["similarity"]) == {"1", "9"}


def test_the_region_mask_is_fused_with_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network sees nothing at all; of what grew, the inside is left."""
    image = scan()
    grown = np.zeros(SHAPE, np.int16)
    grown[8:16, 8:16, 8:16] = 1
    monkeypatch.setattr(LocatedInferer, "_grow", lambda *_: grown)
    for weight, inside in ((0.0, False), (0.3, False), (0.6, True)):
        made = inferer(monkeypatch, points(), values=[1], grown=weight)
        logits = made(batch(image * 0), network())
        winner = logits.as_tensor()[0].argmax(0)
        assert bool((winner[11:13, 11:13, 11:13] == 1).all()) == inside
        assert not (winner[:7] > 0).any()
    with pytest.raises(ValueError, match="needs the label values of the ways"):
        LocatedInferer((16, 16, 16), grown=0.5)


def test_it_grows_as_pseudo_masks_do(monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = network(), scan()
    localiser = PointLocaliser(net.coarse, net.fine)
    kept = localiser.support(image, np.array([[10, 10, 10], [30, 30, 20]]), [1, 9])
    net.remember(kept.state())
    made = {}
    for margin in (3.0, 30.0):
        settings = {"margin": margin, "growth": {"limit": 20.0}}
        found = inferer(monkeypatch, points(), values=[1], grown=0.5, propagation=settings)
        made[margin] = found._grow(image, net, points())
        expected = ScribblePropagation(localiser, kept, background=9, **settings).grow(image, points())
        assert np.array_equal(made[margin], expected)
    assert (made[30.0][9:15, 9:15, 9:15] == 1).all() and 0 < (made[3.0] > 0).sum() < (made[30.0] > 0).sum()


def test_a_lower_tau_looks_further(monkeypatch: pytest.MonkeyPatch) -> None:
    winner = inferer(monkeypatch, points(), tau=0.05)(batch(scan()), network()).as_tensor()[0].argmax(0)
    assert (winner[30:36, 24:30, 18:22] == 2).all()


def masked(logits: torch.Tensor, voxel: tuple[int, int, int]) -> MetaTensor:
    """A label map of value 1 in one voxel, with what was found out."""
    (answer,) = decollate_batch(logits)
    label = torch.zeros(1, *SHAPE)
    label[(0, *voxel)] = 1
    return MetaTensor(label, meta=answer.meta)


def test_quality_is_the_mean_similarity_of_a_class_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made = inferer(monkeypatch, points((0.9, 0.7, -0.4, 0.9)))
    mask = masked(made(batch(scan()), network()), (0, 0, 0))
    assert LocatedQuality([1, 4])({"working": mask}) == {1: pytest.approx(1.6 / 3), 4: 0.0}


def test_quality_is_how_much_the_network_and_what_grew_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    grown = np.zeros(SHAPE, np.int16)
    grown[8:16, 8:16, 8:12] = 1  # half of what the network sees
    monkeypatch.setattr(LocatedInferer, "_grow", lambda *_: grown)
    made = inferer(monkeypatch, points(), values=[1], grown=0.5)
    mask = masked(made(batch(scan()), network()), (10, 10, 10))
    assert LocatedQuality([1])({"working": mask}) == {1: pytest.approx(2 / 3)}
    assert LocatedQuality([1])({"working": mask * 0}) == {1: 0.0}
    assert located.agreement(torch.ones(2, *SHAPE), np.zeros(SHAPE), [4]) == {4: 0.0}, "it did not grow"


def test_without_points_it_says_so() -> None:
    with pytest.raises(ValueError, match="the network remembers no point of a labelled scan"):
        LocatedInferer((16, 16, 16))(batch(scan()), network())
    with pytest.raises(TypeError, match="points are found in mm: give a MetaTensor"):
        LocatedInferer((16, 16, 16))(torch.zeros(1, 1, 8, 8, 8), network())
