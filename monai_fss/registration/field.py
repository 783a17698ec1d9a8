# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Displacement fields in the world: where each point of one scan lies in another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .grid import Grid

__all__ = ["DisplacementField", "sample"]


def sample(volume: torch.Tensor, index: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
    """Values of a volume between its voxels; beyond its edge, those of the edge.

    Args:
        volume: (C, H, W, D), floating point.
        index: voxel indices, fractions too, (n, m, k, 3), float32.
        mode: ``"bilinear"`` (trilinear, by torch's name) or ``"nearest"``.

    Returns:
        (C, n, m, k).
    """
    size = torch.tensor(volume.shape[1:], dtype=index.dtype, device=index.device)
    where = ((2 * index + 1) / size - 1).flip(-1)[None]
    return F.grid_sample(volume[None], where, mode=mode, padding_mode="border", align_corners=False)[0]


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """Maps a point x of the fixed scan's world to the point x + u(x) of the moving scan's world.

    Args:
        data: u on a grid, (3, h, w, d) float32, mm, the components in the world's order (R, A, S).
        affine: (4, 4), index of that grid to world; kept as a float64 tensor, so that :meth:`tensors` can be saved and
            loaded with ``torch.load(weights_only=True)``.

    Raises:
        ValueError: if the shapes do not fit or a displacement is not finite.
    """

    data: torch.Tensor
    affine: torch.Tensor

    def __post_init__(self) -> None:
        """Check and make plain tensors of both."""
        data = torch.as_tensor(self.data, dtype=torch.float32)
        if data.ndim != 4 or data.shape[0] != 3:
            raise ValueError(f"data of shape {tuple(data.shape)}: not displacements. Give (3, h, w, d), mm.")
        if not bool(torch.isfinite(data).all()):
            raise ValueError("data: holds NaN or infinite displacements. Register again.")
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "affine", torch.as_tensor(self.affine, dtype=torch.float64).cpu())
        _ = self.grid

    @classmethod
    def from_affine(cls, matrix: np.ndarray, grid: Grid) -> DisplacementField:
        """The field of a matrix (4, 4), fixed mm to moving mm, on a grid; trilinear interpolation reproduces it."""
        step = np.asarray(matrix, np.float64) @ grid.affine - grid.affine
        rows = [torch.arange(n, dtype=torch.float64).reshape(s) for n, s in zip(grid.shape, _LINES, strict=True)]
        components = [sum(float(step[c, a]) * rows[a] for a in range(3)) + float(step[c, 3]) for c in range(3)]
        return cls(torch.stack([torch.as_tensor(c).float() for c in components]), torch.from_numpy(grid.affine))

    @property
    def grid(self) -> Grid:
        """The grid that the displacements are given on."""
        h, w, d = self.data.shape[1:]
        return Grid((h, w, d), self.affine.numpy())

    def at(self, points: torch.Tensor) -> torch.Tensor:
        """Displacements at world points (..., 3), mm: trilinear, beyond the grid those of its edge."""
        inverse = torch.linalg.inv(self.affine)
        index = points.double() @ inverse[:3, :3].T + inverse[:3, 3]
        return sample(self.data, index.float().reshape(1, 1, -1, 3))[:, 0, 0].T.reshape(points.shape)

    def map(self, points: torch.Tensor) -> torch.Tensor:
        """Where world points (..., 3) of the fixed scan lie in the moving scan, mm."""
        return points + self.at(points).to(points.dtype)

    def affine_part(self) -> np.ndarray:
        """The matrix (4, 4), fixed mm to moving mm, that is nearest to the field by least squares over its grid."""
        points = self.grid.points().reshape(-1, 3).double()
        moved = points + self.data.reshape(3, -1).T.double()
        middle, centre = points.mean(0), moved.mean(0)
        linear = torch.linalg.lstsq(points - middle, moved - centre, driver="gelsd").solution.T
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = linear.numpy(), (centre - linear @ middle).numpy()
        return matrix

    def tensors(self) -> dict[str, torch.Tensor]:
        """What to save; ``DisplacementField(**tensors)`` makes the field again."""
        return {"data": self.data, "affine": self.affine}


_LINES = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))
