# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where pieces of one scan fit best in another."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["best_matches"]

FLAT = 1e-3  # standard deviation times voxels below which a patch shows nothing; intensities are 0..1
LEAST = 1e-3  # correlation that is no more than rounding
SEEN = 0.3  # of a template, the least part that a shift compares
BATCH = 64  # templates at once: with 25 voxels a side 40 MB


def best_matches(templates: torch.Tensor, regions: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Where in each region its template fits best, by normalised cross-correlation of what both show.

    Args:
        templates: (N, n, n, n), cubes of n = 2 r + 1 voxels a side, intensities 0..1, NaN beyond the scan: what is not
            NaN is a box, or nothing.
        regions: (N, m, m, m), cubes of m = 2 (r + s) + 1 voxels a side, the same: shifts of up to s voxels along each
            axis are tried.

    Returns:
        the shifts, int (N, 3), from the regions' middles, whole voxels; and the correlations there, (N,), 0..1. Both
        are 0 for a flat template or region, and where nothing correlates positively; shifts by which less than 0.3 of
        what a template shows lies within the scan are not tried.
    """
    found = [_matches(t, r) for t, r in zip(templates.split(BATCH), regions.split(BATCH), strict=True)]
    shifts, fits = (torch.cat(each).cpu().numpy() for each in zip(*found, strict=True))
    return shifts, fits


def _matches(templates: torch.Tensor, regions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    fits = _correlations(templates, regions)
    tried = fits.shape[-1]
    fits, places = fits.flatten(1).max(1)
    shift = torch.stack(torch.unravel_index(places, (tried,) * 3), 1) - tried // 2
    nothing = fits < LEAST
    return shift.masked_fill(nothing[:, None], 0), fits.masked_fill(nothing, 0)


def _correlations(templates: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    """(N, shifts, shifts, shifts), each over what both show at that shift (masked normalised cross-correlation)."""
    shifts = torch.arange(regions.shape[-1] - templates.shape[-1] + 1, device=regions.device)
    (first, end), (low, high) = _box(templates), _box(regions)
    start = torch.minimum(torch.maximum(first, low - shifts), end)  # of what both show, in a template
    both = start, torch.maximum(start, torch.minimum(end, high - shifts))
    seen = (both[1] - both[0]).float()
    count = seen[:, 0, :, None, None] * seen[:, 1, None, :, None] * seen[:, 2, None, None, :]
    own, shown = _centred(templates), _centred(regions)
    total, other = _sums(own, *both), _sums(shown, first + shifts, end + shifts)
    many = count.clamp(min=1)
    spread = (_sums(shown.square(), first + shifts, end + shifts) - other**2 / many).clamp(min=FLAT).sqrt()
    own_spread = (_sums(own.square(), *both) - total**2 / many).clamp(min=0).sqrt() + FLAT
    fits = (
        (_products(own, shown)[(slice(None), *[slice(len(shifts))] * 3)] - total * other / many) / spread / own_spread
    )
    return fits.masked_fill(count < SEEN * (end - first).prod(1)[..., None, None], 0)


def _box(cubes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First voxel and end, (N, 3, 1) each, of what is not NaN."""
    shown = ~cubes.isnan()
    lines = torch.stack([shown.amax(axes) for axes in ((2, 3), (1, 3), (1, 2))], 1)
    first = lines.byte().argmax(2, keepdim=True)
    return first, first + lines.sum(2, keepdim=True)


def _centred(cubes: torch.Tensor) -> torch.Tensor:
    """Less their mean, by which single precision is enough; 0 where they show nothing."""
    return (cubes - cubes.nanmean((1, 2, 3), keepdim=True)).nan_to_num(0.0)


def _products(templates: torch.Tensor, regions: torch.Tensor) -> torch.Tensor:
    """(N, m, m, m), circular; where the template lies within the region it is the sum of the products."""
    axes, whole = (1, 2, 3), regions.shape[1:]
    spectrum = torch.fft.rfftn(regions, dim=axes) * torch.fft.rfftn(templates, s=whole, dim=axes).conj()
    return torch.fft.irfftn(spectrum, s=whole, dim=axes)


def _sums(volumes: torch.Tensor, starts: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """(N, s, s, s), sums over boxes of volumes (N, m, m, m): along each axis from s starts to s ends, (N, 3, s)."""
    for axis in (1, 2, 3):
        running = torch.cat([torch.zeros_like(volumes.narrow(axis, 0, 1)), volumes.cumsum(axis)], axis)
        low, high = (_along(at[:, axis - 1], axis, volumes.shape) for at in (starts, ends))
        volumes = running.gather(axis, high) - running.gather(axis, low)
    return volumes


def _along(indices: torch.Tensor, axis: int, shape: torch.Size) -> torch.Tensor:
    """Indices (N, s) along one axis of volumes, for all places along the others."""
    size = [indices.shape[1] if a == axis else n for a, n in enumerate(shape)]
    return indices.reshape([n if a in (0, axis) else 1 for a, n in enumerate(size)]).expand(size)
