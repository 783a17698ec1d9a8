# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The body in a scan: where it is, and how much two of them differ once one is laid over the other."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import generate_spatial_bounding_box

from .grid import Grid, scale_of
from .resample import inside, resample

__all__ = ["BODY", "RegistrationError", "body_centre", "body_grid", "difference", "prepared"]

BODY = 0.08
"""Intensities (0..1) above this are body, the rest is air."""

# Share of the smaller body that has to overlap with the other one for their difference to mean anything.
_LEAST_OVERLAP = 0.25
_COARSE = 8.0


class RegistrationError(ValueError):
    """Two scans that cannot be laid over one another."""


def prepared(image: MetaTensor, name: str) -> MetaTensor:
    """Check a scan, and store it in canonical order.

    So that copies of a scan that are stored in other ways are the same numbers from here on: the search for the best
    match decides between almost equal candidates, and would turn rounding errors into other masks.

    Args:
        image: (1, H, W, D), scaled to 0..1.
        name: what errors call it.

    Returns:
        the same voxels as float32, the axes permuted and flipped to what is closest to right, anterior, superior.

    Raises:
        ValueError: not (1, H, W, D), or not scaled to 0..1.
        TypeError: no MetaTensor.
    """
    if image.ndim != 4 or image.shape[0] != 1:
        raise ValueError(f"{name}: has shape {tuple(image.shape)}. Give one channel, (1, H, W, D).")
    own = Grid.of(image)
    low, high = float(image.min()), float(image.max())
    if not (low >= -0.5 and high <= 1.5):
        raise ValueError(f"{name}: intensities from {low:.4g} to {high:.4g}. Scale them to 0..1, air at 0.")
    codes = nib.orientations.io_orientation(own.affine)
    data = nib.orientations.apply_orientation(image.as_tensor().detach()[0].cpu().float().numpy(), codes)
    # Rounded to what is beyond all measurement, for the noise of computing the affine.
    affine = np.round(own.canonical().affine, 9)
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(data))[None], affine=torch.from_numpy(affine))


def body_centre(image: MetaTensor, name: str) -> np.ndarray:
    """Centroid of the body in the world, mm, (3,).

    Raises:
        RegistrationError: if nothing is above :data:`BODY`.
    """
    voxels = torch.nonzero(image.as_tensor()[0] > BODY).double()
    if not len(voxels):
        raise RegistrationError(
            f"{name}: no voxel is above {BODY} (maximum {float(image.max()):.3g}), so there is no body to register. "
            "Check its intensities and how they are scaled to 0..1."
        )
    affine = Grid.of(image).affine
    return affine[:3, :3] @ voxels.mean(0).numpy() + affine[:3, 3]


def body_grid(image: MetaTensor, margin: float = 16.0) -> Grid:
    """The scan's grid in canonical order, cut to the box around the body.

    Args:
        image: (1, H, W, D), scaled to 0..1.
        margin: mm around the body; less by :func:`scale_of` for a small scan.

    Raises:
        RegistrationError: if nothing is above :data:`BODY`.
    """
    own = Grid.of(image).canonical()
    margin, step = margin * scale_of(own), _COARSE * scale_of(own)
    coarse = resample(image, own.working((step,) * 3))
    body_centre(coarse, "the fixed scan")
    low, high = map(np.array, generate_spatial_bounding_box(coarse, lambda values: values > BODY))
    box = np.stack([low - 0.5 - margin / step, high - 0.5 + margin / step])
    to_own = np.linalg.solve(own.affine, Grid.of(coarse).affine)
    first, last = box @ to_own[:3, :3].T + to_own[:3, 3]
    return own.crop(np.floor(first + 0.5), np.ceil(last + 0.5))


def difference(fixed: MetaTensor, moving: MetaTensor, matrix: np.ndarray) -> float | None:
    """Mean absolute difference of two scans where their fields of view overlap and either has body.

    Args:
        fixed, moving: (1, h, w, d), scaled to 0..1, at about the same spacing.
        matrix: (4, 4), fixed mm to moving mm.

    Returns:
        the difference after both means were taken off, or None where less than a quarter of the smaller body
        overlaps.
    """
    grid = Grid.of(fixed)
    there = resample(moving, grid, matrix, antialias=False).as_tensor()[0]
    seen = inside(moving, grid, matrix)
    here = fixed.as_tensor()[0]
    both = seen & ((here > BODY) | (there > BODY))
    if _volume(seen & (here > BODY), grid) < _LEAST_OVERLAP * min(
        _volume(i[0] > BODY, Grid.of(i)) for i in (fixed, moving)
    ):
        return None
    one, other = here[both], there[both]
    return float(((one - one.mean()) - (other - other.mean())).abs().mean())


def _volume(mask: torch.Tensor, grid: Grid) -> float:
    return float(mask.sum()) * float(abs(np.linalg.det(grid.affine[:3, :3])))
