# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Large scans on a grid that registration can afford."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter1d

from .grid import Grid
from .resample import BLUR_TRUNCATE, blur_sigma, resampled_meta

__all__ = ["LARGE", "reduced"]

LARGE = 1 << 24
"""Voxels of a scan that is registered as it is: 67 MB. Registration looks at 2.5 mm and coarser."""


def reduced(image: MetaTensor, most_voxels: int = LARGE) -> MetaTensor:
    """A large scan on a coarser grid over the same box; a small one as it is.

    A CT of 512 x 512 x 400 has 105 million voxels of 0.7 mm; every step of a registration blurs the whole of it. The
    result is :func:`monai_fss.registration.resample` with its Gaussian filter, computed axis by axis as a product of
    matrices, since the axes of the two grids are parallel: 50 times faster at a tenth.

    Args:
        image: (1, H, W, D).
        most_voxels: of the result. Its voxels are cubes of the size that this needs, but no shorter along any axis than
            those of the image. Default: :data:`LARGE`.

    Returns:
        (1, h, w, d) float32 in canonical order (see :meth:`Grid.working`), or ``image`` itself where it has no more
        voxels than that.

    Raises:
        ValueError: it is not (1, H, W, D).
    """
    if image.ndim != 4 or image.shape[0] != 1:
        raise ValueError(f"image of shape {tuple(image.shape)}: give one channel, (1, H, W, D).")
    if image[0].numel() <= most_voxels:
        return image
    own = Grid.of(image)
    grid = own.working(_affordable(own.canonical(), most_voxels).tolist())
    to_own = np.linalg.solve(own.affine, grid.affine)
    source = np.abs(to_own[:3, :3]).argmax(0)  # axis of the image along each axis of the grid
    sigma = blur_sigma(own, grid)
    volume = image.as_tensor().detach()[0].float()
    for axis in range(3):  # the first axis is contracted, and the new one is last: after three they are in order again
        target = int(np.flatnonzero(source == axis)[0])
        places = to_own[axis, target] * np.arange(grid.shape[target]) + to_own[axis, 3]
        weights = torch.from_numpy(_weights(own.shape[axis], places, float(sigma[axis]))).to(volume.device)
        volume = torch.tensordot(volume, weights, dims=([0], [1]))
    return resampled_meta(volume.permute(*source.tolist())[None].contiguous(), grid, image)


def _affordable(own: Grid, most_voxels: int) -> np.ndarray:
    """mm of the smallest cubes, but along no axis less than the grid has, of which no more cover it."""
    step = float(own.spacing.min())
    while np.prod(np.ceil(own.extent / np.maximum(step, own.spacing))) > most_voxels:
        step *= 1.02
    return np.maximum(step, own.spacing)


def _weights(size: int, places: np.ndarray, sigma: float) -> np.ndarray:
    """(len(places), size): linear interpolation between voxels that a Gaussian has blurred, the border repeated."""
    where = np.clip(places, 0, size - 1)
    low = np.minimum(where.astype(int), max(size - 2, 0))
    linear = np.zeros((len(places), size))
    rows = np.arange(len(places))
    linear[rows, low] = 1 - (where - low)
    linear[rows, np.minimum(low + 1, size - 1)] += where - low
    if sigma > 0:
        linear = linear @ gaussian_filter1d(np.eye(size), sigma, axis=0, mode="nearest", truncate=BLUR_TRUNCATE)
    return linear.astype(np.float32)
