# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Large scans on a coarser grid, and masks that are resampled where they are: against resampling all of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from monai_fss.registration import DisplacementField, Grid, reduced, resample, resample_masks

SHAPE = (41, 50, 33)
AFFINE = torch.tensor(
    [[0, -0.9, 0.02, 5], [0.8, 0, 0, -7], [0, 0.018, 1.3, 3], [0, 0, 0, 1]], dtype=torch.float64
)  # turned, flipped, a little oblique
VALUES = (3, 7, 9, 11)


def image(channels: int = 1) -> MetaTensor:
    values = torch.rand(channels, *SHAPE, generator=torch.Generator().manual_seed(0))
    return MetaTensor(values, affine=AFFINE, meta={"filename_or_obj": "in/case_07.nii.gz"})


def label() -> MetaTensor:
    """Three boxes: at the border, in the middle, and one voxel thick; 11 occurs nowhere."""
    values = torch.zeros(1, *SHAPE, dtype=torch.int16)
    values[0, 0:14, 10:30, 0:20], values[0, 25:41, 5:20, 15:30], values[0, 18, 30:34, 5:15] = 3, 7, 9
    return MetaTensor(values, affine=AFFINE)


@pytest.mark.parametrize("most", [20_000, 2_000, 60])
def test_a_large_scan_is_what_resampling_gives(most: int) -> None:
    scan = image()
    got = reduced(scan, most)
    grid = Grid.of(got)
    assert got.shape[0] == 1 and got[0].numel() <= 1.1 * most
    assert (grid.spacing >= Grid.of(scan).canonical().spacing - 1e-6).all()
    np.testing.assert_allclose(grid.centre, Grid.of(scan).centre, atol=1e-6)
    expected = resample(scan, grid).as_tensor()
    torch.testing.assert_close(got.as_tensor(), expected, atol=2e-6, rtol=0)
    assert got.meta["filename_or_obj"] == "in/case_07.nii.gz"


def test_a_scan_that_is_small_enough_stays_as_it_is() -> None:
    scan = image()
    assert reduced(scan, scan[0].numel()) is scan
    with pytest.raises(ValueError, match="give one channel"):
        reduced(image(2))


@pytest.mark.parametrize("spacing", [0.7, 2.5, 6.0])
@pytest.mark.parametrize("moved", [False, True])
def test_masks_are_what_resampling_each_gives(spacing: float, moved: bool) -> None:
    organs, grid = label(), Grid.of(label()).working((spacing,) * 3)
    coarse = Grid.of(organs).working((12, 12, 12))
    shifts = 4 * torch.randn(3, *coarse.shape, generator=torch.Generator().manual_seed(1))
    field = DisplacementField(shifts, torch.from_numpy(coarse.affine)) if moved else None
    found = ndimage.find_objects(organs[0].numpy())
    boxes = {value: found[value - 1] for value in VALUES[:3]}
    got = resample_masks(organs, boxes, VALUES, grid, field)
    assert got.shape == (4, *grid.shape) and got.dtype == np.float32
    for mask, value in zip(got, VALUES, strict=True):
        whole = MetaTensor((organs == value).as_tensor().float(), affine=AFFINE)
        np.testing.assert_allclose(mask, resample(whole, grid, field)[0].numpy(), atol=1e-5)
    assert (got[:2].reshape(2, -1).max(1) > 0.9).all() and got[2].any() and not got[3].any()
