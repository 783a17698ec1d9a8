# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Points are found again where a network knows the body's coordinates, and compared by what lies there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_fss.inferers import LocatedPoints, PointLocaliser
from monai_fss.networks.nets import PatchFeatures, PRNet

SPACING = np.array([2.0, 1.0, 3.0])


class Known(nn.Module):
    """Positions are read from channels 1 to 3 of the patch's centre, off by ``error`` mm; features from channel 4."""

    def __init__(self, error: float = 0.0) -> None:
        super().__init__()
        self.patch_size = (4, 6, 2)
        self.register_buffer("reach", torch.full((3,), 1e4))
        self.error = error
        self.positions = 0
        self.features = 0

    def position(self, patches: torch.Tensor) -> torch.Tensor:
        self.positions += len(patches)
        middle = patches[:, :, 2, 3, 1]
        return (middle[:, 1:4] + self.error * (middle[:, 4:5] > 0.5)) / 1e4

    def forward(self, patches: torch.Tensor) -> PatchFeatures:
        position = self.position(patches)
        self.positions -= len(patches)
        self.features += len(patches)
        angle = patches[:, 4, 2, 3, 1] * np.pi
        vector = torch.stack([torch.cos(angle), torch.sin(angle)], 1)
        return PatchFeatures(position, vector, vector, patches[:, :1])

    offset = PRNet.offset


def scan(shape: tuple[int, int, int], shift: tuple[float, float, float], tissue: float) -> MetaTensor:
    """Something everywhere; the body's coordinates in mm; and the tissue."""
    grid = np.stack(np.indices(shape)) * SPACING.reshape(3, 1, 1, 1) + np.reshape(shift, (3, 1, 1, 1))
    channels = np.concatenate([np.ones((1, *shape)), grid, np.full((1, *shape), tissue)]).astype(np.float32)
    return MetaTensor(torch.from_numpy(channels), affine=torch.from_numpy(np.diag([*(SPACING * [-1, 1, 1]), 1.0])))


SUPPORT, QUERY = scan((30, 40, 20), (0, 0, 0), 0.0), scan((36, 44, 24), (-8, 3, -9), 0.0)
POINTS = np.array([[12, 15, 6], [25, 8, 15], [5, 30, 2]])


def test_points_are_found_where_they_are() -> None:
    net = Known()
    localiser = PointLocaliser(net, batch=2)
    support = localiser.support(SUPPORT, POINTS, [1, 1, 7])
    found = localiser(support, QUERY)
    assert found.voxels.tolist() == (POINTS + [4, -3, 3]).tolist()  # 8, -3 and 9 mm
    assert found.values.tolist() == [1, 1, 7]
    np.testing.assert_allclose(found.similarity, 1, atol=1e-5)
    before = net.features
    localiser(support, QUERY)
    assert net.features == before + 3, "the support is looked at once, and features of the points found alone"


def test_a_second_network_makes_the_second_jump_and_the_features() -> None:
    coarse, fine = Known(error=40.0), Known()
    query = QUERY.clone()
    query[4] = 0.6  # the coarse network is 40 mm off in such a tissue
    support = PointLocaliser(coarse).support(SUPPORT, POINTS, [1, 2, 3])
    wrong = PointLocaliser(coarse)(support, query)
    assert (np.abs(wrong.voxels - POINTS - [4, -3, 3]) * SPACING).max() > 20
    before, localiser = coarse.features, PointLocaliser(coarse, fine)
    found = localiser(localiser.support(SUPPORT, POINTS, [1, 2, 3]), query)
    assert found.voxels.tolist() == (POINTS + [4, -3, 3]).tolist()
    np.testing.assert_allclose(found.similarity, np.cos(0.6 * np.pi) ** 2, atol=1e-4)
    assert coarse.features == before and fine.features == 6


def test_points_beyond_the_query_end_at_its_border() -> None:
    query = scan((10, 10, 6), (0, 0, 0), 0.0)
    localiser = PointLocaliser(Known())
    found = localiser(localiser.support(SUPPORT, POINTS, [1, 2, 3]), query)
    assert found.voxels.tolist() == [[9, 9, 5], [9, 8, 5], [5, 9, 2]]


def test_starts_lie_in_the_body_near_the_middle() -> None:
    query = QUERY.clone()
    query[0] = 0
    query[0, 20, 25, 12] = 1
    localiser = PointLocaliser(Known(), starts=3, spread=4)
    assert localiser._starts(query).tolist() == [[20, 25, 12]] * 3
    starts = PointLocaliser(Known(), starts=7, spread=3)._starts(QUERY)
    assert len(starts) == 7 and (np.abs(starts - [18, 22, 12]) <= 3).all() and len(np.unique(starts, axis=0)) == 7
    query[0] = 0
    assert localiser._starts(query).tolist() == [[18, 22, 12]]


def test_with_the_network_itself() -> None:
    torch.manual_seed(0)
    net = PRNet((32, 16, 16), base=2)
    image = MetaTensor(torch.rand(1, 24, 24, 20), affine=torch.eye(4))
    localiser = PointLocaliser(net, batch=3)
    support = localiser.support(image, np.array([[12, 12, 10], [3, 4, 5]]), [1, 2])
    found = localiser(support, image)
    assert found.voxels.shape == (2, 3) and (found.voxels >= 0).all() and (found.voxels < [24, 24, 20]).all()
    assert np.isfinite(found.similarity).all() and not net.training
    again = localiser(support, image)
    assert np.array_equal(found.voxels, again.voxels)


def test_points_above_tau_are_drawn_the_most_similar_on_top() -> None:
    voxels = np.array([[0, 0, 0], [1, 2, 1], [1, 2, 1], [2, 1, 0]])
    found = LocatedPoints(voxels, np.array([3, 5, 4, 9]), np.array([0.5, 0.9, 0.7, 0.8]))
    drawn = found.scribbles((3, 3, 2))
    assert drawn.dtype == np.int16 and drawn[1, 2, 1] == 5 and drawn[2, 1, 0] == 9 and drawn[0, 0, 0] == 0
    assert found.scribbles((3, 3, 2), tau=0.4)[0, 0, 0] == 3 and not found.scribbles((3, 3, 2), tau=0.9).any()


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="starts 0, spread 10 and batch 32 must be at least 1"):
        PointLocaliser(Known(), starts=0)
    with pytest.raises(ValueError, match="voxels: 3 points for 2 values"):
        PointLocaliser(Known()).support(SUPPORT, POINTS, [1, 2])
    with pytest.raises(ValueError, match="voxels: 0 points for 0 values"):
        PointLocaliser(Known()).support(SUPPORT, np.zeros((0, 3)), [])
