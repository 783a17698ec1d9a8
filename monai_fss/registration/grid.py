# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Regular grids of voxels in the world, and the coarser ones that registration works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing

__all__ = ["SMALL", "Grid", "default_spacing", "scale_of"]

_SINGULAR = 1e-6
SMALL = 100.0
"""mm. Lengths of the registration are made for a human trunk or head; scans of less extent, such as of a mouse, get
lengths as much shorter."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a volume lie in the world.

    Args:
        shape: (H, W, D), voxels.
        affine: (4, 4) float64, voxel index to world, mm (RAS, as MONAI and NIfTI have it).

    Raises:
        ValueError: if the shape is not that of a volume, or the affine cannot be inverted.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self) -> None:
        """Check both and make the affine float64."""
        shape = tuple(int(n) for n in self.shape)
        affine = np.array(self.affine, dtype=np.float64)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape={tuple(self.shape)}: not a volume. Give three sizes of 1 voxel or more.")
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError(f"affine of shape {affine.shape}: not a finite 4 x 4 matrix. Give voxel to world in mm.")
        spacing = affine_to_spacing(affine, suppress_zeros=False)
        if not spacing.min() > 0 or abs(np.linalg.det(affine[:3, :3] / spacing)) < _SINGULAR:
            raise ValueError(f"affine {affine[:3].tolist()}: singular. Export the scan with its geometry.")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def of(cls, image: MetaTensor) -> Grid:
        """The grid of an image (C, H, W, D) or (H, W, D).

        Raises:
            TypeError: if it has no affine.
            ValueError: if it is not a volume.
        """
        if not isinstance(image, MetaTensor):
            raise TypeError(f"{type(image).__name__} has no affine. Give a MetaTensor, as LoadImage returns it.")
        if image.ndim not in (3, 4):
            raise ValueError(f"image of shape {tuple(image.shape)}: not a volume. Give (C, H, W, D) or (H, W, D).")
        height, width, depth = image.shape[-3:]
        return cls((height, width, depth), image.affine.cpu().numpy())

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size in mm, (3,)."""
        return affine_to_spacing(self.affine)

    @property
    def axes(self) -> np.ndarray:
        """Unit directions of the three array axes in the world: the columns of a (3, 3) matrix."""
        return self.affine[:3, :3] / self.spacing

    @property
    def extent(self) -> np.ndarray:
        """Edge lengths of the box that the voxels fill, mm, (3,)."""
        return np.asarray(self.shape) * self.spacing

    @property
    def centre(self) -> np.ndarray:
        """Middle of that box in the world, mm, (3,)."""
        return self.affine[:3, :3] @ ((np.asarray(self.shape) - 1) / 2) + self.affine[:3, 3]

    def canonical(self) -> Grid:
        """The same voxels with the array axes permuted and flipped to what is closest to right, anterior, superior."""
        codes = nib.orientations.io_orientation(self.affine)
        back = nib.orientations.inv_ornt_aff(codes, self.shape)
        order = [int(np.flatnonzero(codes[:, 0] == axis)[0]) for axis in range(3)]
        return Grid((self.shape[order[0]], self.shape[order[1]], self.shape[order[2]]), self.affine @ back)

    def working(self, spacing: Sequence[float]) -> Grid:
        """A grid of another spacing over the same box, in canonical order.

        A flipped or axis-swapped copy of a scan gives the same grid, so that registration cannot depend on how a scan
        was stored. Oblique scans stay oblique.

        Args:
            spacing: mm along the canonical axes (left-right, posterior-anterior, inferior-superior).

        Raises:
            ValueError: if the spacing is not three positive lengths.
        """
        step = np.asarray(spacing, dtype=np.float64)
        if step.shape != (3,) or not (np.isfinite(step).all() and step.min() > 0):
            raise ValueError(f"spacing={spacing}: not a voxel size. Give three positive lengths in mm.")
        own = self.canonical()
        # Ties are rounded after the float noise of the affine is gone: copies of a scan must agree.
        size = np.maximum(1, np.floor(np.round(own.extent / step, 6) + 0.5)).astype(int)
        return _centred(size, own.axes * step, own.centre)

    def crop(self, lower: Sequence[int], upper: Sequence[int]) -> Grid:
        """The voxels with indices from ``lower`` up to but without ``upper``, (3,) each; both are cut at the edges."""
        low = np.clip(np.asarray(lower, dtype=int), 0, np.asarray(self.shape) - 1)
        high = np.clip(np.asarray(upper, dtype=int), low + 1, self.shape)
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ low
        return Grid((int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2])), affine)

    def points(self) -> torch.Tensor:
        """World coordinates of all voxels, mm, float32 of shape (H, W, D, 3)."""
        axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in self.shape), indexing="ij")
        matrix = torch.as_tensor(self.affine, dtype=torch.float32)
        return torch.stack(axes, -1) @ matrix[:3, :3].T + matrix[:3, 3]

    def same(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Whether no corner lies further than ``tolerance`` voxels from the other grid's."""
        if self.shape != other.shape:
            return False
        corners = np.stack(np.meshgrid(*[(0, n - 1) for n in self.shape], [1.0], indexing="ij"), -1).reshape(-1, 4)
        apart = np.linalg.norm(corners @ (self.affine - other.affine).T, axis=1)
        return bool(apart.max() <= tolerance * self.spacing.min())


def scale_of(*grids: Grid) -> float:
    """What lengths in mm are multiplied by: 1, or less where the longest edge of all grids is below :data:`SMALL`."""
    return float(min(1.0, max(grid.extent.max() for grid in grids) / SMALL))


def default_spacing(grid: Grid, finest: float = 2.5, most_voxels: int = 1_300_000) -> tuple[float, float, float]:
    """The spacing to register at.

    Args:
        grid: what is to be covered.
        finest: mm. Default 2.5: finer grids cost more and gave no better masks on abdominal scans. Less by
            :func:`scale_of` for small scans.
        most_voxels: the spacing grows until the grid has no more than that; 1.3 million take about 1 GiB.

    Returns:
        mm along the canonical axes: ``finest``, or half the voxel size where that is more (thick slices).
    """
    own = grid.canonical()
    step = finest * scale_of(own)
    while np.prod(np.ceil(own.extent / np.maximum(step, own.spacing / 2))) > most_voxels:
        step *= 1.02
    x, y, z = np.maximum(step, own.spacing / 2)
    return float(x), float(y), float(z)


def _centred(size: np.ndarray, columns: np.ndarray, centre: np.ndarray) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = centre - columns @ ((size - 1) / 2)
    return Grid((int(size[0]), int(size[1]), int(size[2])), affine)
