# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What PBAF compares: intensities, gradient directions and context of a voxel, for a few slices of all images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from scipy.ndimage import median_filter

__all__ = ["CONTEXT", "RAYS", "Maps", "build_maps", "describe", "least_ranges"]

RADII = (4, 8, 16, 32)
# Context samples (dx, dy) in voxels: 8 rays of 4 radii, nearest voxel (a diagonal of radius 4 is 3 steps each way).
RAYS = np.array(
    [
        (round(radius * np.cos(angle)), round(radius * np.sin(angle)))
        for angle in np.arange(8) * np.pi / 4
        for radius in RADII
    ],
    np.int64,
)
CONTEXT = len(RAYS)
# Square of the median filter over the context samples.
MEDIAN = 3
# Gradients below this share of an image's range per voxel or mm are rounding, and have no direction.
LEAST_STEP = 1e-5
# Components of a unit vector, and other features in proportion to their size, that vary by less are constant.
LEAST_RANGE = 1e-5


class Maps(NamedTuple):
    """Features of a few slices, of the query (number 0) and of N atlases. Slices are the first spatial axis here."""

    grey: np.ndarray  # (1 + N, slices, H, W) intensities, with a margin of half a patch on every side
    local: np.ndarray  # (1 + N, slices, H, W, 4) intensity and gradient direction, with the same margin
    context: np.ndarray  # (1 + N, slices, H, W) median-filtered intensities, without a margin


def build_maps(
    image: np.ndarray, images: np.ndarray, slices: tuple[int, int], patch: Sequence[int], spacing: Sequence[float]
) -> Maps:
    """The features of the slices from ``slices[0]`` up to ``slices[1]``.

    Beyond the edges of the volume, each map repeats the value of its nearest voxel. The gradient is that of central
    differences (along an axis that ends there, half the step to the one neighbour), scaled to length 1.

    Args:
        image: the query, (H, W, D).
        images: the atlases, (N, H, W, D).
        slices: first slice and the one behind the last.
        patch: size in voxels along H, W, D, odd.
        spacing: voxel size along H, W, D; only ratios matter for the directions.
    """
    depth, margin = image.shape[2], [size // 2 for size in patch]
    first, last = max(0, slices[0] - margin[2]), min(depth, slices[1] + margin[2])
    rows = np.clip(np.arange(first - 1, last + 1), 0, depth - 1)
    block = np.empty((1 + len(images), len(rows), *image.shape[:2]), np.float32)
    block[0] = np.moveaxis(image[..., rows], -1, 0)
    for atlas, out in zip(images, block[1:], strict=True):
        out[:] = np.moveaxis(atlas[..., rows], -1, 0)
    steps = [LEAST_STEP * (float(array.max()) - float(array.min())) for array in (image, *images)]
    local = np.concatenate([block[:, 1:-1, ..., None], _directions(block, spacing, steps)], -1)
    inner = block[:, 1 + slices[0] - first : 1 + slices[1] - first]
    context = median_filter(inner, size=(1, 1, MEDIAN, MEDIAN), mode="nearest")
    taken = np.clip(np.arange(slices[0] - margin[2], slices[1] + margin[2]), first, last - 1) - first
    edges = ((0, 0), (0, 0), (margin[0],) * 2, (margin[1],) * 2, (0, 0))
    local = np.pad(local[:, taken], edges, "edge")
    return Maps(np.ascontiguousarray(local[..., 0]), local, context)


def _directions(block: np.ndarray, spacing: Sequence[float], steps: Sequence[float]) -> np.ndarray:
    """Unit gradients along H, W, D of all but the outer two slices, 0 where the gradient is below the image's step."""
    wide = np.pad(block[:, 1:-1], ((0, 0), (0, 0), (1, 1), (1, 1)), "edge")
    gradient = np.stack(
        [
            (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / np.float32(2 * spacing[0]),
            (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / np.float32(2 * spacing[1]),
            (block[:, 2:] - block[:, :-2]) / np.float32(2 * spacing[2]),
        ],
        -1,
    )
    length = np.sqrt(np.einsum("...i,...i", gradient, gradient))
    length[length <= np.asarray(steps, np.float32)[:, None, None, None]] = np.inf
    gradient /= length[..., None]
    return gradient


def least_ranges(patch: Sequence[int]) -> np.ndarray:
    """The range up to which a feature is constant whatever its size: only unit vectors have one, (features,)."""
    local = np.tile([0.0, LEAST_RANGE, LEAST_RANGE, LEAST_RANGE], int(np.prod(patch)))
    return np.concatenate([local, np.zeros(2 * CONTEXT)]).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def describe(
    maps: Maps,
    number: int,
    slice_: int,
    row: int,
    column: int,
    patch: tuple[int, ...],
    rays: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the features of one voxel to ``out``: 4 for each patch voxel, context, binary context."""
    place = 0
    for dz in range(patch[2]):
        for dx in range(patch[0]):
            for dy in range(patch[1]):
                for channel in range(4):
                    out[place] = maps.local[number, slice_ + dz, row + dx, column + dy, channel]
                    place += 1
    _, _, height, width = maps.context.shape
    centre = maps.grey[number, slice_ + patch[2] // 2, row + patch[0] // 2, column + patch[1] // 2]
    for ray in range(len(rays)):
        x = min(max(row + rays[ray, 0], 0), height - 1)
        y = min(max(column + rays[ray, 1], 0), width - 1)
        difference = maps.context[number, slice_, x, y] - centre
        out[place + ray] = difference
        out[place + len(rays) + ray] = 1.0 if difference > 0 else 0.0
