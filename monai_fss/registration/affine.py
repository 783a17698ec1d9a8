# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Affine registration: least trimmed squares on densely matched cells, from several starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor

from .body import BODY, RegistrationError, difference, prepared
from .grid import Grid
from .matching import features, match_features
from .resample import inside, resample
from .starts import start_shifts

__all__ = ["LEVELS", "affine", "trimmed_affine"]

LEVELS = ((8.0, 2, 5), (6.0, 2, 2), (5.0, 1, 1))
"""Spacing in mm, edge of a cell in voxels and reach in cells of each level: 80, 24 and 5 mm can be made good.

The last cells are small because displacements are found as whole cells: an error below half a cell looks like none.
"""

# No two bodies differ by more than this factor along any direction; a map that does has collapsed.
_STRETCH = 2.5
# Starts whose results move the corners of the fixed scan by less than this are one (mm).
_SAME = 10.0
_FEWEST_CELLS = 16


def affine(
    fixed: MetaTensor,
    moving: MetaTensor,
    *,
    starts: int | Sequence[np.ndarray] = 3,
    levels: Sequence[tuple[float, int, int]] = LEVELS,
    keep: float = 0.5,
    survivors: int = 2,
    workers: int = 1,
) -> np.ndarray:
    """Lay a moving scan over a fixed one by an affine map.

    At each level the moving scan is put on the fixed one's grid by the map so far, cells of both are matched
    (:func:`monai_fss.registration.match`), and the map is improved by least squares on those cells in the body that
    fit best. All starts go through the first level, the best ``survivors`` through the second, and one through the
    others: that with the least mean absolute difference over the overlap of the bodies.

    Args:
        fixed, moving: (1, H, W, D), scaled to 0..1 with air at 0; any orientation, spacing and field of view.
        starts: how many starts are tried (see ``start_shifts``), or the matrices (4, 4) to start from.
        levels: see :data:`LEVELS`.
        keep: share of the cells that the fit keeps. Half, since organs move where bones do not.
        survivors: how many of the starts go through the second level.
        workers: threads that match cells both ways at once, each as one thread does. Default: this one alone.

    Returns:
        (4, 4) float64, fixed mm to moving mm.

    Raises:
        RegistrationError: if a scan shows no body, or no start makes the two overlap.
        ValueError, TypeError: if an image is not as described.

    Source: the linear stage of DEEDS (M. P. Heinrich et al., MRF-based deformable registration and ventilation
    estimation of lung CT, IEEE TMI 32, 2013), with the matching of ConvexAdam.
    """
    fixed, moving = prepared(fixed, "fixed"), prepared(moving, "moving")
    with _threads(workers) as run:
        level = _Level.of(fixed, moving, *levels[0])
        first = start_shifts(level.fixed, level.moving, starts) if isinstance(starts, int) else list(starts)
        found = _distinct([level.improve(matrix, keep, run) for matrix in first], level)[:survivors]
        for spacing, cell, reach in levels[1:]:
            level = _Level.of(fixed, moving, spacing, cell, reach)
            found = _distinct([level.improve(matrix, keep, run) for matrix in found], level)[:1]
    if not found:
        raise RegistrationError(
            f"no overlap: none of {len(first)} starts lays the bodies of the two scans over one another (fixed "
            f"{_box(fixed)}, moving {_box(moving)}). Check that both show the same part of the body."
        )
    return found[0]


@contextmanager
def _threads(workers: int) -> Iterator[Callable[..., Iterable]]:
    """``map``, on some threads at once where there are to be several."""
    if workers < 2:
        yield map
        return
    with ThreadPoolExecutor(workers, "affine", torch.set_num_threads, (1,)) as pool:
        yield pool.map


@dataclass(frozen=True, eq=False)
class _Level:
    """Both scans at one spacing, and what of the fixed one is the same for all starts."""

    fixed: MetaTensor
    moving: MetaTensor
    cell: int
    reach: int
    features: torch.Tensor

    @classmethod
    def of(cls, fixed: MetaTensor, moving: MetaTensor, spacing: float, cell: int, reach: int) -> _Level:
        here, there = (resample(scan, Grid.of(scan).working((spacing,) * 3)) for scan in (fixed, moving))
        return cls(here, there, cell, reach, features(here.as_tensor()[0], cell))

    def improve(self, matrix: np.ndarray, keep: float, run: Callable[..., Iterable] = map) -> np.ndarray:
        """Match once and fit; where too few cells have body in both scans, the map is returned as it was."""
        grid = Grid.of(self.fixed)
        moved = resample(self.moving, grid, matrix, antialias=False).as_tensor()[0]
        if difference(self.fixed, self.moving, matrix) is None:
            return matrix
        shift = match_features(self.features, features(moved, self.cell), self.cell, self.reach, run)
        body = (self.fixed.as_tensor()[0] > BODY) & inside(self.moving, grid, matrix)
        used = _share(body, self.cell) > 0.5
        used = used[tuple(slice(0, n) for n in shift.shape[1:])]
        shift = shift[(slice(None), *(slice(0, n) for n in used.shape))]  # cells that were added have no body
        cells = torch.nonzero(used)
        if len(cells) < _FEWEST_CELLS:
            return matrix
        index = cells.double().numpy() * self.cell + (self.cell - 1) / 2
        voxels = shift[:, used].T.double().numpy()
        axes = grid.affine[:3, :3].T
        points = index @ axes + grid.affine[:3, 3]
        return matrix @ trimmed_affine(points, points + voxels @ axes, keep)


def _share(body: torch.Tensor, cell: int) -> torch.Tensor:
    """How much of each cell is body; a scan thinner than a cell is repeated, as :func:`features` repeats it."""
    pad = [n for size in reversed(body.shape) for n in (0, max(0, cell - size))]
    volume = F.pad(body.float()[None, None], pad, mode="replicate")
    return F.avg_pool3d(volume, cell, cell, ceil_mode=True)[0, 0]


def trimmed_affine(points: np.ndarray, targets: np.ndarray, keep: float = 0.5, iterations: int = 10) -> np.ndarray:
    """Fit an affine map by least trimmed squares.

    Args:
        points: (n, 3), mm.
        targets: (n, 3), mm, where each point goes.
        keep: share of the pairs that each fit after the first is made on: those with the smallest residuals.
        iterations: number of fits.

    Returns:
        (4, 4). Directions in which the points do not spread (a single slab of cells) are neither stretched nor turned.
    """
    chosen = np.arange(len(points))
    result = np.eye(4)
    for _ in range(iterations):
        x, shift = points[chosen], targets[chosen] - points[chosen]
        middle = x.mean(0)
        # The ridge of 1 mm decides only where the spread of the points is of that order.
        normal = (x - middle).T @ (x - middle) + len(x) * np.eye(3)
        linear = np.linalg.solve(normal, (x - middle).T @ (shift - shift.mean(0))).T
        result[:3, :3] = np.eye(3) + linear
        result[:3, 3] = shift.mean(0) - linear @ middle
        residual = ((points @ result[:3, :3].T + result[:3, 3] - targets) ** 2).sum(1)
        chosen = np.argsort(residual, kind="stable")[: max(8, int(keep * len(points)))]
    return result


def _distinct(found: list[np.ndarray], level: _Level) -> list[np.ndarray]:
    """The plausible maps, best first, without those that agree with a better one."""
    scored = [
        (difference(level.fixed, level.moving, matrix), i) for i, matrix in enumerate(found) if _plausible(matrix)
    ]
    corners = _corners(Grid.of(level.fixed))
    kept: list[np.ndarray] = []
    for _, i in sorted((score, i) for score, i in scored if score is not None):
        if all(np.linalg.norm(corners @ (found[i] - other).T, axis=1).max() > _SAME for other in kept):
            kept.append(found[i])
    return kept


def _plausible(matrix: np.ndarray) -> bool:
    stretch = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    return bool(np.linalg.det(matrix[:3, :3]) > 0 and stretch.min() > 1 / _STRETCH and stretch.max() < _STRETCH)


def _corners(grid: Grid) -> np.ndarray:
    index = np.stack(np.meshgrid(*[(0, n - 1) for n in grid.shape], [1], indexing="ij"), -1).reshape(-1, 4)
    return index @ grid.affine.T


def _box(image: MetaTensor) -> str:
    corners = _corners(Grid.of(image))[:, :3]
    return " x ".join(f"{a:.0f}..{b:.0f}" for a, b in zip(corners.min(0), corners.max(0), strict=True)) + " mm"
