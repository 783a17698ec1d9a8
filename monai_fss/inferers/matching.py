# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where a piece of one scan fits best in another."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.signal import fftconvolve

__all__ = ["best_match"]

FLAT = 1e-3  # standard deviation times voxels below which a patch shows nothing; intensities are 0..1
LEAST = 1e-3  # correlation that is no more than rounding


def best_match(template: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, float]:
    """Where in a region a template fits best, by normalised cross-correlation.

    Args:
        template: cube of 2 r + 1 voxels a side.
        region: cube of 2 (r + s) + 1 voxels a side: shifts of up to s voxels along each axis are tried.

    Returns:
        the shift (3,) from the region's middle, whole voxels; and the correlation there, 0..1. Both are 0 for a flat
        template or region, and where nothing correlates positively.
    """
    size, search = len(template), (len(region) - len(template)) // 2
    flat = template.astype(np.float64)
    flat -= flat.mean()
    product = fftconvolve(region, flat[::-1, ::-1, ::-1], mode="valid")
    inner = (slice(size // 2, size // 2 + 2 * search + 1),) * 3
    mean, square = uniform_filter(region, size)[inner], uniform_filter(region * region, size)[inner]
    spread = np.sqrt(np.maximum(flat.size * (square - mean**2), FLAT))
    correlation = product / (spread * (np.sqrt((flat**2).sum()) + FLAT))
    best = np.unravel_index(correlation.argmax(), correlation.shape)
    if correlation[best] < LEAST:
        return np.zeros(3, int), 0.0
    return np.array(best) - search, float(correlation[best])
