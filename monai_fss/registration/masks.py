# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Masks of single label values on another grid, each computed where it is and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

from .field import sample
from .grid import Grid
from .resample import BLUR_TRUNCATE, Transform, blur_sigma, moving_indices, within

__all__ = ["resample_masks"]

Box = tuple[slice, slice, slice]


def resample_masks(
    label: MetaTensor, boxes: Mapping[int, Box], values: Sequence[int], grid: Grid, transform: Transform = None
) -> np.ndarray:
    """:func:`monai_fss.registration.resample` of the binary mask of each value.

    A label map of a hundred organs is blurred and sampled a hundred times; here each time in the organ's box alone.

    Args:
        label: (1, H, W, D), whole numbers.
        boxes: where each value is, see ``scipy.ndimage.find_objects``; a value without a box is nowhere.
        values: that are wanted.
        grid: where.
        transform: fixed mm to moving mm: a matrix (4, 4), a field, or None where both share one world.

    Returns:
        float32 (len(values), *grid.shape), 0..1.
    """
    own = Grid.of(label)
    volume = label.as_tensor().detach()[0].cpu().numpy()
    index = torch.cat([part for _, part in moving_indices(grid, own, transform, torch.device("cpu"))])
    seen = within(index, own.shape)
    result = np.zeros((len(values), *grid.shape), np.float32)
    sigma = blur_sigma(own, grid)
    margin = np.floor(BLUR_TRUNCATE * sigma + 0.5).astype(int) + 1
    for mask, value in zip(result, values, strict=True):
        if value not in boxes:
            continue
        box = tuple(
            slice(max(s.start - m, 0), min(s.stop + m, n))
            for s, m, n in zip(boxes[value], margin, volume.shape, strict=True)
        )
        crop = (volume[box] == value).astype(np.float32)
        if sigma.max() >= 0.1:
            crop = gaussian_filter(crop, sigma, mode="nearest", truncate=BLUR_TRUNCATE)
        start = torch.tensor([s.start for s in box], dtype=torch.float32)
        stop = torch.tensor([s.stop for s in box], dtype=torch.float32)
        near = seen & ((index > start - 1) & (index < stop)).all(-1)
        found = sample(torch.from_numpy(crop)[None], (index[near] - start)[None, None])
        mask[near.numpy()] = found[0, 0, 0].numpy()
    return result
