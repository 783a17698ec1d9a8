# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Points of a labelled scan, and where they lie in another one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from monai_fss.data import ScanError

__all__ = ["LocatedPoints", "SupportPoints", "box_of"]


@dataclass(frozen=True)
class SupportPoints:
    """What is kept of the support's points, for any number of queries.

    Attributes:
        voxels: float32 (N, 3), in the support as it was given.
        mm: float32 (N, 3), the same along the axes of its array, from the centre of voxel 0.
        values: int64 (N,), label value of each.
        coarse: (N, 3), positions by the coarse network of the patches around the points.
        fine: (N, 3), positions by the fine one.
        anatomical, pixel: f2 (N, .) and f4 (N, .) of the fine one.
        coarse_rest, fine_rest: float32 (N, 3), mm from the centre of that patch, a whole voxel of the network's grid,
            to the point.
        shown: uint8 (N, T), intensities around the points, 1 to 255 for 0..1 and 0 beyond the scan, in cubes, see
            :meth:`PointMatcher.templates`.
        shown_rest: float32 (N, cubes, 3), mm from the middle voxel of each to the point.
    """

    voxels: np.ndarray
    mm: np.ndarray
    values: np.ndarray
    coarse: torch.Tensor
    fine: torch.Tensor
    anatomical: torch.Tensor
    pixel: torch.Tensor
    coarse_rest: np.ndarray
    fine_rest: np.ndarray
    shown: torch.Tensor
    shown_rest: np.ndarray

    def state(self) -> dict[str, torch.Tensor]:
        """All attributes as tensors, copied, by their names: they can be buffers of a network."""
        return {field.name: torch.as_tensor(getattr(self, field.name)).clone() for field in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, torch.Tensor]) -> SupportPoints:
        """The inverse of :meth:`state`, copied to the CPU, wherever the network is.

        Raises:
            ScanError: something is missing.
        """
        missing = [field.name for field in fields(cls) if field.name not in state]
        if missing:
            raise ScanError(
                f"points of the labelled scan: lack {', '.join(missing)}; another version of monai_fss wrote them. Run "
                "the training again: its networks are found, and the points are looked at anew."
            )
        tensors = ("coarse", "fine", "anatomical", "pixel", "shown")
        kept: dict[str, Any] = {field.name: state[field.name].detach().cpu().clone() for field in fields(cls)}
        return cls(**{name: value if name in tensors else value.numpy() for name, value in kept.items()})


@dataclass(frozen=True)
class LocatedPoints:
    """Where the support's points lie in a query.

    Attributes:
        voxels: int (N, 3), in the query as it was given, within it.
        mm: (N, 3), the same, not rounded, along the axes of its array from the centre of voxel 0.
        values: (N,), label value of each.
        similarity: (N,), cos(f2) cos(f4) of the support's point and the one found (Eq. 5), -1..1, negative where either
            cosine is: those above tau count.
    """

    voxels: np.ndarray
    mm: np.ndarray
    values: np.ndarray
    similarity: np.ndarray

    def state(self) -> dict[str, list[Any]]:
        """All attributes as lists, by their names, such as JSON knows."""
        return {field.name: np.asarray(getattr(self, field.name)).tolist() for field in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Sequence[Any]]) -> LocatedPoints:
        """The inverse of :meth:`state`."""
        return cls(**{field.name: np.array(state[field.name]) for field in fields(cls)})

    def scribbles(self, shape: Sequence[int], tau: float = 0.5, always: Collection[int] = ()) -> np.ndarray:
        """Draw the points that were found rightly (dual-level feature denoising, section 3.3).

        Args:
            shape: (H, W, D) of the query.
            tau: similarity that a point must exceed. Default 0.5, the paper's; below -1 all points are drawn.
            always: label values of points that are drawn however similar they are. Default: none.

        Returns:
            int16 (H, W, D): values of the points, 0 elsewhere. Where several points fall on a voxel, that of the
            highest similarity counts. Nothing is drawn where no point exceeds tau.
        """
        drawn = np.zeros(tuple(shape), np.int16)
        for index in np.argsort(self.similarity, kind="stable"):
            if self.similarity[index] > tau or self.values[index] in always:
                drawn[tuple(self.voxels[index])] = self.values[index]
        return drawn


def box_of(
    points: LocatedPoints,
    tau: float,
    margin: float,
    shape: Sequence[int],
    spacing: Sequence[float],
    without: Collection[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """One box around the points that were found rightly, of all labels: where it is worth to segment.

    Args:
        points: in the query.
        tau: similarity that a point must exceed; of a label of which none does, all count: it is somewhere near.
        margin: mm that it is widened by on each side.
        shape: (H, W, D) of the query; the box ends there.
        spacing: voxel size (H, W, D) of the query, in mm.
        without: label values of which points do not count.

    Returns:
        start, stop: int (3,), the box is ``[start:stop]`` along each axis.

    Raises:
        ValueError: a negative margin, or no point that counts.
    """
    if margin < 0:
        raise ValueError(f"margin must be at least 0 mm, got {margin}.")
    counted = ~np.isin(points.values, list(without))
    if not counted.any():
        raise ValueError(
            f"without: no point is left, values are {np.unique(points.values).tolist()} without {sorted(without)}."
        )
    rightly = points.similarity > tau
    seen = np.isin(points.values, np.unique(points.values[counted & rightly]))
    voxels = points.voxels[counted & (rightly | ~seen)]
    widened = margin / np.asarray(spacing, dtype=float)
    start = np.floor(voxels.min(0) - widened).astype(int)
    stop = np.ceil(voxels.max(0) + widened).astype(int) + 1
    return np.maximum(start, 0), np.minimum(stop, np.asarray(shape, dtype=int))
