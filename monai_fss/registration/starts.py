# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where to start from: shifts along the body, since two scans seldom show the same stretch of it."""

from __future__ import annotations

import numpy as np
from monai.data import MetaTensor

from .body import body_centre, difference
from .grid import Grid

__all__ = ["start_shifts"]

# Starts nearer to one another along the body than this many steps lead to the same place.
_APART = 2.5


def start_shifts(fixed: MetaTensor, moving: MetaTensor, count: int) -> list[np.ndarray]:
    """Shifts from the fixed to the moving scan to try, the likeliest first.

    The first lays the centroids of the bodies over one another. The others keep that in plane and take the heights
    along the body at which the scans differ least, among all at which at least half of the shorter scan is covered.

    Args:
        fixed, moving: (1, h, w, d), scaled to 0..1, coarse (about 8 mm), in canonical order.
        count: how many.

    Returns:
        up to ``count`` matrices (4, 4), fixed mm to moving mm.
    """
    centroids = body_centre(moving, "the moving scan") - body_centre(fixed, "the fixed scan")
    here = Grid.of(fixed)
    axis, step = here.axes[:, 2], float(here.spacing[2])
    first = float(axis @ centroids)
    heights = _heights(here, Grid.of(moving), axis, step)
    shifts = {height: _translation(centroids + (height - first) * axis) for height in heights}
    found = [(difference(fixed, moving, matrix), height) for height, matrix in shifts.items()]
    chosen = [first]
    for _, height in sorted((score, height) for score, height in found if score is not None):
        if len(chosen) < count and all(abs(height - other) >= _APART * step for other in chosen):
            chosen.append(height)
    return [_translation(centroids + (height - first) * axis) for height in chosen]


def _heights(here: Grid, there: Grid, axis: np.ndarray, step: float) -> np.ndarray:
    """Shifts along the axis, mm, at which half of the shorter scan or more is covered by the other."""
    half = [grid.extent[2] * abs(float(grid.axes[:, 2] @ axis)) / 2 for grid in (here, there)]
    middle = float(axis @ (there.centre - here.centre))
    # Beyond this the scans overlap by less than the half extent of the shorter one.
    reach = half[0] + half[1] - min(half)
    return middle + np.arange(-int(reach / step), int(reach / step) + 1) * step


def _translation(shift: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    return matrix
