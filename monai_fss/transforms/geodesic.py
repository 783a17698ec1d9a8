# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Geodesic distance from seeds: how far a voxel is when a path through differing intensities is long."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numba
import numpy as np

__all__ = ["geodesic_distance"]

# Half of the 26 neighbours, those that a raster scan meets before the voxel, without the one next to it on its row.
EARLIER = np.array([m for m in product((-1, 0, 1), repeat=3) if m[:2] < (0, 0)], dtype=np.int64)
EPS = np.float32(1e-5)  # a path through equal intensities is not free
FAR = np.float32(1e10)
SETTLED = 1e-4  # relative change of the distances of a pass


def geodesic_distance(
    image: np.ndarray,
    seeds: np.ndarray,
    spacing: Sequence[float] | None = None,
    intensity_weight: float = 1.0,
    iterations: int | None = 2,
) -> np.ndarray:
    """Length of the cheapest path from the seeds to every voxel, by raster scans.

    A step between neighbours (26 in 3-D, 8 in 2-D) of length l and intensity difference g costs
    ``l / ((1 - w) + w / (g + 1e-5))``: the plain length for w = 0, and length times difference for w = 1. This is the
    formula of GeodisTK, with which the published PRNet grows its scribbles.

    An iteration is a scan forwards and one backwards. Two find most paths; one that winds needs more, and the result is
    an upper bound until then. P. J. Toivanen, "New geodesic distance transforms for gray-scale images", Pattern
    Recognition Letters 17, 1996; A. Criminisi, T. Sharp, A. Blake, "GeoS: geodesic image segmentation", ECCV 2008.

    Args:
        image: (H, W) or (H, W, D), real and finite. The scale matters for w > 0: PRNet's is 0..1.
        seeds: bool, of the same shape, or anything whose non-zero voxels are the seeds.
        spacing: voxel size along each axis, in mm. Default: 1 along each.
        intensity_weight: w, 0..1. Default 1, that of the published code.
        iterations: Default 2, as in the published code. None: until no distance changes by more than 1e-4 of itself.

    Returns:
        float32 distances of the image's shape, in mm times intensity for w = 1; 0 at the seeds. Infinite everywhere
        where there is no seed.

    Raises:
        ValueError: shapes do not agree or are not 2-D or 3-D; an intensity is not finite; a spacing that is not
            positive; w outside 0..1; less than one iteration.
    """
    image, seeds = np.asarray(image, dtype=np.float32), np.asarray(seeds) != 0
    sizes = [1.0] * image.ndim if spacing is None else [float(s) for s in spacing]
    _check(image, seeds, sizes, intensity_weight, iterations)
    if not seeds.any():
        return np.full(image.shape, np.inf, np.float32)
    # Rows run along the longest axis: a scan is vectorised along a row.
    order = sorted(range(image.ndim), key=lambda axis: image.shape[axis])
    values = np.ascontiguousarray(np.pad(image.transpose(order)[(None,) * (3 - image.ndim)], 1, mode="edge"))
    start = np.where(seeds.transpose(order)[(None,) * (3 - image.ndim)], np.float32(0), FAR)
    distance = np.pad(start, 1, constant_values=FAR)
    steps = np.array([1.0] * (3 - image.ndim) + [sizes[axis] for axis in order])
    lengths = np.sqrt(((EARLIER * steps) ** 2).sum(1)).astype(np.float32)
    _scan(values, distance, EARLIER, lengths, np.float32(steps[2]), np.float32(intensity_weight), iterations or 0)
    found = distance[1:-1, 1:-1, 1:-1].reshape([image.shape[axis] for axis in order])
    return np.ascontiguousarray(found.transpose(np.argsort(order)))


def _check(
    image: np.ndarray, seeds: np.ndarray, sizes: Sequence[float], intensity_weight: float, iterations: int | None
) -> None:
    if image.ndim not in (2, 3) or image.shape != seeds.shape or len(sizes) != image.ndim:
        raise ValueError(
            f"image {image.shape}, seeds {seeds.shape} and spacing of {len(sizes)} axes do not belong together. "
            "Give an image of 2 or 3 axes, seeds of its shape, and a voxel size for each axis."
        )
    if not np.isfinite(image).all():
        raise ValueError("image: holds values that are not finite. Replace them.")
    if min(sizes) <= 0 or not 0 <= intensity_weight <= 1:
        raise ValueError(f"spacing {list(sizes)} must be positive, intensity_weight {intensity_weight} within 0..1.")
    if iterations is not None and iterations < 1:
        raise ValueError(f"iterations {iterations} must be at least 1, or None to go on until the distances settle.")


@numba.njit(cache=True, nogil=True, fastmath=True)
def _scan(
    values: np.ndarray,
    distance: np.ndarray,
    moves: np.ndarray,
    lengths: np.ndarray,
    along: np.float32,
    weight: np.float32,
    iterations: int,
) -> None:
    """Scan a padded volume forwards and backwards, in place; 0 iterations: until it settles."""
    done = 0
    while True:
        changed = _pass(values, distance, moves, lengths, along, weight, 1)
        changed = max(changed, _pass(values, distance, moves, lengths, along, weight, -1))
        done += 1
        if done == iterations or (iterations == 0 and changed <= SETTLED):
            return


@numba.njit(cache=True, nogil=True, fastmath=True)
def _pass(
    values: np.ndarray,
    distance: np.ndarray,
    moves: np.ndarray,
    lengths: np.ndarray,
    along: np.float32,
    weight: np.float32,
    sign: int,
) -> np.floating:
    """One scan, forwards (sign 1) or backwards (-1); the largest relative change."""
    depth, height, width = values.shape
    free = np.float32(1) - weight
    changed = np.float32(0)
    row = np.empty(width, np.float32)
    for i in range(1, depth - 1):
        z = i if sign > 0 else depth - 1 - i
        for j in range(1, height - 1):
            y = j if sign > 0 else height - 1 - j
            here, best = values[z, y], distance[z, y]
            row[:] = best
            for m in range(len(moves)):
                other = values[z + sign * moves[m, 0], y + sign * moves[m, 1]]
                known = distance[z + sign * moves[m, 0], y + sign * moves[m, 1]]
                shift, length = sign * moves[m, 2], lengths[m]
                for x in range(1, width - 1):
                    step = np.abs(here[x] - other[x + shift]) + EPS
                    row[x] = min(row[x], known[x + shift] + length * step / (free * step + weight))
            for k in range(1, width - 1):
                x = k if sign > 0 else width - 1 - k
                step = np.abs(here[x] - here[x - sign]) + EPS
                row[x] = min(row[x], row[x - sign] + along * step / (free * step + weight))
            for x in range(1, width - 1):
                changed = max(changed, (best[x] - row[x]) / (best[x] + EPS))
                best[x] = row[x]
    return changed
