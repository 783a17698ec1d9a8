# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Putting images, labels and probabilities on another grid, through an affine map or a displacement field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter

from .field import DisplacementField, sample
from .grid import Grid

__all__ = [
    "BLUR_TRUNCATE",
    "Transform",
    "antialiased",
    "blur_sigma",
    "inside",
    "moving_indices",
    "resample",
    "resampled_meta",
    "within",
]

Transform: TypeAlias = np.ndarray | torch.Tensor | DisplacementField | None

BLUR_TRUNCATE = 3
"""Standard deviations at which the Gaussian of :func:`antialiased` ends."""

# A point this far out of the field of view (voxels) still is in it: the float noise of two affines.
_NOISE = 1e-3
# Points at a time: bounds the memory whatever the size of the grid.
_SLAB = 2_000_000


def resample(
    image: MetaTensor,
    grid: Grid,
    transform: Transform = None,
    *,
    mode: str = "bilinear",
    padding: str = "zeros",
    antialias: bool = True,
) -> MetaTensor:
    """Put a volume on a grid.

    Args:
        image: (C, H, W, D), the moving volume: image, label or probabilities.
        grid: where values are wanted, in the fixed scan's world.
        transform: fixed mm to moving mm: a matrix (4, 4), a field, or None where both share one world.
        mode: ``"bilinear"`` (trilinear) or ``"nearest"`` (labels).
        padding: beyond the field of view ``"zeros"``, or ``"border"``, the value of its edge.
        antialias: blur axes that get coarser first (sigma = 0.5 sqrt((t / s)^2 - 1) voxels, for a step from s to
            t mm), in mode "bilinear" only. Turn it off for what was blurred already.

    Returns:
        (C, *grid.shape) with the grid's affine: float32, or the image's own type in mode "nearest".

    Raises:
        ValueError: if an argument is not one of the above.
    """
    if mode not in ("bilinear", "nearest") or padding not in ("zeros", "border"):
        raise ValueError(f"mode={mode!r}, padding={padding!r}: give 'bilinear' or 'nearest', 'zeros' or 'border'.")
    own = _grid4(image)
    volume = image.as_tensor().detach().float()
    if antialias and mode == "bilinear":
        volume = antialiased(volume, own, grid)
    result = torch.empty((image.shape[0], *grid.shape), dtype=torch.float32, device=volume.device)
    for slab, index in moving_indices(grid, own, transform, volume.device):
        values = sample(volume, index, mode)
        result[:, slab] = values if padding == "border" else values * within(index, own.shape)
    return resampled_meta(result.to(image.dtype) if mode == "nearest" else result, grid, image)


def inside(image: MetaTensor, grid: Grid, transform: Transform = None) -> torch.Tensor:
    """Which points of a grid fall into the field of view of a moving image: bool of shape ``grid.shape``.

    Args:
        image: (C, H, W, D); only its grid counts.
        grid, transform: as in :func:`resample`.
    """
    own = _grid4(image)
    result = torch.empty(grid.shape, dtype=torch.bool, device=image.device)
    for slab, index in moving_indices(grid, own, transform, image.device):
        result[slab] = within(index, own.shape)
    return result


def antialiased(volume: torch.Tensor, own: Grid, grid: Grid) -> torch.Tensor:
    """Blur a volume (C, H, W, D) along the axes that get coarser, as :func:`resample` does first."""
    sigma = blur_sigma(own, grid)
    if sigma.max() < 0.1:
        return volume
    blurred = torch.empty_like(volume)
    for channel, values in zip(blurred, volume, strict=True):
        filtered = gaussian_filter(values.cpu().numpy(), sigma, mode="nearest", truncate=BLUR_TRUNCATE)
        channel.copy_(torch.from_numpy(filtered))
    return blurred


def blur_sigma(own: Grid, grid: Grid) -> np.ndarray:
    """Standard deviations of that Gaussian, (3,), in voxels: by the length of one step of the grid along each axis."""
    ratio = np.linalg.norm(np.linalg.solve(own.affine, grid.affine)[:3, :3], axis=1)
    return 0.5 * np.sqrt(np.maximum(ratio**2 - 1, 0))


def _grid4(image: MetaTensor) -> Grid:
    if image.ndim != 4:
        raise ValueError(f"image of shape {tuple(image.shape)}: give (C, H, W, D), with a channel axis.")
    return Grid.of(image)


def resampled_meta(values: torch.Tensor, grid: Grid, image: MetaTensor) -> MetaTensor:
    """Values (C, *grid.shape) with the grid's affine and the name of the scan that they were made of."""
    kept = {key: image.meta[key] for key in ("filename_or_obj", "space") if key in image.meta}
    return MetaTensor(values, affine=torch.from_numpy(grid.affine), meta=kept)


def within(index: torch.Tensor, shape: tuple[int, int, int]) -> torch.Tensor:
    """Which voxel indices (..., 3) lie in a volume of that shape, up to half a voxel beyond the outer ones' middles."""
    size = torch.tensor(shape, dtype=index.dtype, device=index.device)
    return ((index >= -0.5 - _NOISE) & (index <= size - 0.5 + _NOISE)).all(-1)


def moving_indices(
    grid: Grid, own: Grid, transform: Transform, device: torch.device
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Slabs of the grid along its first axis, and the moving voxel index (n, W, D, 3) of each of their points."""
    field = transform if isinstance(transform, DisplacementField) else None
    world = np.eye(4) if transform is None or isinstance(transform, DisplacementField) else _matrix(transform)
    # All products in float64; then indices, being small numbers, are exact enough in float32.
    index_of = np.linalg.solve(own.affine, world @ grid.affine)
    rows = max(1, _SLAB // (grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], rows):
        slab = slice(start, min(start + rows, grid.shape[0]))
        index = _lattice(index_of, slab, grid.shape, device)
        if field is not None:
            where = _lattice(np.linalg.solve(field.affine.numpy(), grid.affine), slab, grid.shape, device)
            shift = sample(field.data.to(device), where)
            to_voxels = torch.as_tensor(np.linalg.inv(own.affine[:3, :3]), dtype=torch.float32, device=device)
            index += shift.movedim(0, -1) @ to_voxels.T
        yield slab, index


def _matrix(transform: np.ndarray | torch.Tensor) -> np.ndarray:
    matrix = np.asarray(transform, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"transform of shape {matrix.shape}: not a finite 4 x 4 matrix. Give fixed mm to moving mm.")
    return matrix


def _lattice(matrix: np.ndarray, slab: slice, shape: tuple[int, int, int], device: torch.device) -> torch.Tensor:
    """``matrix @ (i, j, k, 1)`` for the voxels of a slab, (n, W, D, 3)."""
    columns = torch.as_tensor(matrix[:3].T.copy(), dtype=torch.float32, device=device)
    i = torch.arange(slab.start, slab.stop, dtype=torch.float32, device=device)[:, None, None, None]
    j = torch.arange(shape[1], dtype=torch.float32, device=device)[:, None, None]
    k = torch.arange(shape[2], dtype=torch.float32, device=device)[:, None]
    return i * columns[0] + (j * columns[1] + (k * columns[2] + columns[3]))
