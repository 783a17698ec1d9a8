# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Neighbouring points move alike."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

__all__ = ["gaussian_average"]

LEAST = 1e-9  # what a point counts that fits nowhere: something has to count
ROWS = 512  # points that are smoothed at once: with 5000 points 20 MB of weights, not 200


def gaussian_average(
    ways: np.ndarray, places: np.ndarray, sigma: float, counts: np.ndarray | float = 1.0
) -> np.ndarray:
    """Each of the ways (N, 3) averaged with the others, by a Gaussian of the distances (mm) between their places.

    Args:
        ways: mm, (N, 3).
        places: mm, (N, 3).
        sigma: of the Gaussian, in mm.
        counts: how much each counts, (N,), besides. Where none near a point does, all count alike.
    """
    counts = np.broadcast_to(np.asarray(counts, dtype=float), len(places))
    result = np.empty_like(ways)
    for first in range(0, len(places), ROWS):
        squared = cdist(places[first : first + ROWS], places, "sqeuclidean")
        near = np.exp(-squared / (2 * sigma**2))
        weights = near * np.maximum(counts, LEAST)
        result[first : first + ROWS] = weights @ ways / weights.sum(1, keepdims=True)
    return result
