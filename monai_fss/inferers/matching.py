# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where pieces of one scan fit best in another."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["best_matches"]

FLAT = 1e-3  # standard deviation times voxels below which a patch shows nothing; intensities are 0..1
LEAST = 1e-3  # correlation that is no more than rounding
BATCH = 64  # templates at once: with 25 voxels a side 50 MB


def best_matches(templates: torch.Tensor, regions: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Where in each region its template fits best, by normalised cross-correlation.

    Args:
        templates: (N, n, n, n), cubes of n = 2 r + 1 voxels a side, intensities 0..1.
        regions: (N, m, m, m), cubes of m = 2 (r + s) + 1 voxels a side: shifts of up to s voxels along each axis are
            tried.

    Returns:
        the shifts, int (N, 3), from the regions' middles, whole voxels; and the correlations there, (N,), 0..1. Both
        are 0 for a flat template or region, and where nothing correlates positively.
    """
    found = [_matches(t, r) for t, r in zip(templates.split(BATCH), regions.split(BATCH), strict=True)]
    shifts, fits = (torch.cat(each).cpu().numpy() for each in zip(*found, strict=True))
    return shifts, fits


def _matches(templates: torch.Tensor, regions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    size, whole = templates.shape[-1], regions.shape[-1]
    shown, shifts = regions.double(), whole - size + 1
    flat = templates.double()
    flat = flat - flat.mean((1, 2, 3), keepdim=True)
    product = _correlation(flat, shown)[:, :shifts, :shifts, :shifts]
    total, square = _sums(shown, size), _sums(shown * shown, size)
    spread = (square - total**2 / size**3).clamp(min=FLAT).sqrt()
    own = flat.square().sum((1, 2, 3), keepdim=True).sqrt() + FLAT
    fits, places = (product / (spread * own)).flatten(1).max(1)
    shift = torch.stack(torch.unravel_index(places, (shifts,) * 3), 1) - shifts // 2
    nothing = fits < LEAST
    return shift.masked_fill(nothing[:, None], 0), fits.masked_fill(nothing, 0)


def _correlation(templates: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    """(N, m, m, m), circular; where the template lies within the region it is the sum of the products."""
    axes, whole = (1, 2, 3), regions.shape[1:]
    spectrum = torch.fft.rfftn(regions, dim=axes) * torch.fft.rfftn(templates, s=whole, dim=axes).conj()
    return torch.fft.irfftn(spectrum, s=whole, dim=axes)


def _sums(volumes: torch.Tensor, size: int) -> torch.Tensor:
    """Sums over all cubes of ``size`` voxels a side that lie within the volumes (N, m, m, m)."""
    for axis in (1, 2, 3):
        running = torch.cat([torch.zeros_like(volumes.narrow(axis, 0, 1)), volumes.cumsum(axis)], axis)
        count = volumes.shape[axis] - size + 1
        volumes = running.narrow(axis, size, count) - running.narrow(axis, 0, count)
    return volumes
