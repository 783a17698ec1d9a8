# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where OrganNet looks, on textures whose every voxel is known by its value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from known_atlas import Known
from monai.data import MetaTensor
from torch import nn

from monai_fss.data import ScanError
from monai_fss.inferers import Explanation, OrganNetInferer, explain_voxel
from monai_fss.networks.nets import OrganNet

SHAPE, MM = (20, 18, 16), 5.0
PERIOD = 8  # voxels after which values come again: more than the neighbourhoods
POINT = [45.0, 40.0, 40.0]  # voxel (9, 8, 8)


def scan(shift: int) -> dict[str, MetaTensor]:
    """A texture, moved by ``shift`` voxels to the right, with an organ 4 in its middle and a 7 in a corner."""
    i, j, k = np.indices(SHAPE)
    number = ((i - shift) % PERIOD) * PERIOD**2 + (j % PERIOD) * PERIOD + k % PERIOD
    label = np.zeros((1, *SHAPE), np.int16)
    label[0, 4:14, 4:12, 4:12], label[0, :2, :2, :2] = 4, 7
    affine = torch.diag(torch.tensor([MM, MM, MM, 1.0], dtype=torch.float64))
    image = (0.2 + 0.7 * number[None] / PERIOD**3).astype(np.float32)
    return {"image": MetaTensor(image, affine=affine), "label": MetaTensor(label, affine=affine)}


class Codes(nn.Module):
    """The value of a voxel, and beside it a vector of length 1 that belongs to this value alone."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = F.normalize(torch.randn(PERIOD**3, 63, generator=generator), dim=1)
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = x[:, :1, :: self.stride, :: self.stride, :: self.stride]
        number = ((value - 0.2) / 0.7 * PERIOD**3).round().long().clamp(0, PERIOD**3 - 1)
        return torch.cat([value, self.table[number[:, 0]].movedim(-1, 1)], 1)


class First(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1] / 30


def net(length: float = 30.0) -> OrganNet:
    """On each of two levels a voxel is like those of its own value alone; of ``length`` 0 like all."""
    torch.manual_seed(0)
    made: Any = OrganNet(channels=(64, 64), neighbourhoods=(5, 3), sharing="none")
    made.target, made.anchor = (nn.ModuleList([Codes(1), Codes(2)]) for _ in range(2))
    made.merging[0] = First()  # the next level sees the values again
    with torch.no_grad():
        for module in made.reasoning:
            for convolution in (module.target, module.anchor):
                nn.init.dirac_(convolution.weight)
                convolution.bias.zero_()
            module.target.weight *= length
            module.anchor.weight[0] = 0  # the value itself does not count
    return made.eval()


def explained(shift: int, point: list[float] = POINT, value: int | None = None, length: float = 30.0) -> Explanation:
    atlas = Known([scan(shift - 2)], spacing=[MM] * 3, refinement=None, sides=False)
    return explain_voxel(OrganNetInferer(atlas, (16, 16, 16)), scan(0)["image"], point, net(length), value)


@pytest.mark.parametrize("shift", [0, 2])
def test_the_most_related_voxel_is_the_one_of_the_same_texture(shift: int) -> None:
    """Registration brings the anchor to the query but for ``shift`` voxels, one of the second level."""
    found = explained(shift)
    assert found.value == 4 and found.shown > 0.99 and 0 < found.probability < 1
    assert [(level.level, level.size) for level in found.levels] == [(1, 5), (2, 3)]
    for level, stride in zip(found.levels, (1, 2), strict=True):
        assert level.spacing.tolist() == [MM * stride] * 3
        assert np.abs(level.target - POINT).max() <= MM * stride / 2
        np.testing.assert_allclose(level.middle, level.target - [10, 0, 0], atol=1e-4)
        np.testing.assert_allclose(level.places[0], level.middle + [MM * shift, 0, 0], atol=1e-4)
        assert level.weights[0] > 0.99 and (np.diff(level.weights) <= 0).all()
        assert level.weights.sum() + level.beyond == pytest.approx(1)
        assert len(level.weights) == level.size**3, "all of them lie in the window"
    np.testing.assert_allclose(found.levels[0].target, POINT, atol=1e-4)


def test_what_lies_beyond_the_window_has_no_place() -> None:
    """In the corner of the scan, where 3 of 5 neighbours along each axis are left, all of them alike."""
    level = explained(0, [0.0, 0.0, 0.0], 4, length=0.0).levels[0]
    np.testing.assert_allclose(level.weights, np.full(27, 1 / 125), atol=1e-6)
    assert level.beyond == pytest.approx(98 / 125) and level.places.min(0).tolist() == pytest.approx(
        [-10, 0, 0], abs=1e-3
    )


def test_the_organ_is_the_one_that_is_named_or_lies_there() -> None:
    assert explained(0, value=7).value == 7
    assert explained(0, [10.0, 0.0, 0.0]).value == 7, "its corner, moved by two voxels"
    with pytest.raises(ScanError, match="none of the anchor's organs is moved to this voxel. Say which .*: 4, 7"):
        explained(0, [90.0, 80.0, 70.0])


def test_a_point_outside_the_body_is_refused() -> None:
    with pytest.raises(
        ScanError, match=r"150.0, 40.0, 40.0 mm lies outside the box .*\(0 to 95, 0 to 85, 0 to 75 mm\)"
    ):
        explained(0, [150.0, 40.0, 40.0])
