# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A scan on the grid of a network: patches around places, and the way between its voxels and mm in the scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor

from monai_fss.transforms import smooth_spacing

__all__ = ["PatchGrid"]


@dataclass(frozen=True)
class PatchGrid:
    """A scan resampled for a network, of which patches are cut.

    Places are in mm along the axes of the array that was given, from the centre of its voxel 0. Where the grid's
    voxel 0 lies is read from the affines: resampling may move it.

    Attributes:
        volume: (C, H, W, D) with ``margin`` zeros, or what stands for what lies beyond the scan, before and behind
            along each axis: padded once, a patch is a slice.
        margin: (3,), half of the largest patch.
        to_mm: (4, 4), voxel of the grid to mm in the scan.
    """

    volume: torch.Tensor
    margin: np.ndarray
    to_mm: np.ndarray

    @classmethod
    def of(cls, image: MetaTensor, spacing: Sequence[float], largest: Sequence[int], beyond: float = 0.0) -> PatchGrid:
        """Resample a scan.

        Args:
            image: (C, H, W, D), a MetaTensor, of any voxel size.
            spacing: voxel size of the grid, in mm.
            largest: (h, w, d), the largest patch to be cut.
            beyond: value beyond the scan. Default 0, which PRNet is trained with.

        Raises:
            ValueError: the image is no MetaTensor.
        """
        grid = smooth_spacing(image, spacing)
        voxels = np.linalg.inv(np.asarray(image.affine, dtype=float)) @ np.asarray(grid.affine, dtype=float)
        margin = np.asarray(largest, dtype=int) // 2
        pad = [int(n) for axis in (2, 1, 0) for n in (margin[axis], margin[axis])]
        return cls(
            F.pad(grid.as_tensor().float(), pad, value=beyond), margin, np.diag([*image.pixdim.tolist(), 1.0]) @ voxels
        )

    @property
    def shape(self) -> np.ndarray:
        """(3,), voxels of the grid, without the margin."""
        return np.array(self.volume.shape[1:]) - 2 * self.margin

    @property
    def inside(self) -> torch.Tensor:
        """(C, H, W, D), without the margin."""
        place = [slice(int(m), int(m + n)) for m, n in zip(self.margin, self.shape, strict=True)]
        return self.volume[(slice(None), *place)]

    def places(self, centres: np.ndarray) -> np.ndarray:
        """Voxels (N, 3) of the grid -> mm in the scan."""
        return centres @ self.to_mm[:3, :3].T + self.to_mm[:3, 3]

    def nearest(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The whole voxels that patches are cut around.

        Args:
            places: (N, 3), mm in the scan; they may lie outside it.

        Returns:
            centres: int (N, 3), nearest voxels within the grid.
            rests: (N, 3), mm from them to the places.
        """
        voxels = (places - self.to_mm[:3, 3]) @ np.linalg.inv(self.to_mm[:3, :3]).T
        centres = np.clip(np.rint(voxels), 0, self.shape - 1).astype(int)
        return centres, places - self.places(centres)

    def patches(self, centres: np.ndarray, size: Sequence[int]) -> torch.Tensor:
        """Cut patches, with zeros (or ``beyond``) beyond the scan.

        Args:
            centres: int (N, 3), voxels within the grid; they come to lie at index ``size // 2``.
            size: (h, w, d), at most the largest patch.

        Returns:
            (N, C, h, w, d).
        """
        starts = (centres + self.margin - np.asarray(size) // 2).tolist()
        h, w, d = size
        return torch.stack([self.volume[:, i : i + h, j : j + w, k : k + d] for i, j, k in starts])
