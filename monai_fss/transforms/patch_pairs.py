# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pairs of patches of a scan and the way between them: what PRNet learns from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform

__all__ = ["SamplePatchPair", "patch_around"]


def patch_around(volume: torch.Tensor, centre: Sequence[int], size: Sequence[int]) -> torch.Tensor:
    """Cut a patch, with zeros beyond the volume.

    Args:
        volume: (C, H, W, D).
        centre: voxel that comes to lie at index ``size // 2`` of the patch; it may lie outside the volume.
        size: (h, w, d) of the patch.

    Returns:
        (C, h, w, d), a copy.
    """
    starts = [int(c) - n // 2 for c, n in zip(centre, size, strict=True)]
    patch = volume.new_zeros((volume.shape[0], *size))
    inside, place = [slice(None)], [slice(None)]
    for start, n, extent in zip(starts, size, volume.shape[1:], strict=True):
        low, high = max(start, 0), min(start + n, extent)
        if low >= high:
            return patch
        inside.append(slice(low, high))
        place.append(slice(low - start, high - start))
    patch[tuple(place)] = volume[tuple(inside)]
    return patch


class SamplePatchPair(Randomizable, Transform):
    """Draw two patches of a scan, and the offset from the second to the first in mm (PRNet, section 3.2, Eq. 1).

    Centres are drawn uniformly among voxels above ``threshold``, the second at most ``radius`` from the first along
    each axis. No label is needed: the offset is known.

    Args:
        patch_size: (h, w, slices).
        radius: largest distance of the centres along each axis, in mm. Default: no limit (the whole scan), for the
            coarse network; the published code's fine one has 30 mm in the abdomen and 60 mm in the head and neck.
        threshold: least intensity of a centre. Default 1e-4 as in the published code, where the air is 0.
        key: the scan (C, H, W, D), a MetaTensor, whose affine says how large a voxel is.

    Returns a dict of ``first`` and ``second`` (C, h, w, slices), and ``offset`` (3,): centre of the first minus that of
    the second along the array's axes, in mm. (The paper writes c1 - c0 in Eq. 1 and p(c0) - p(c1) in Eq. 2; the
    published code has c0 - c1.)

    Raises:
        ValueError: the scan is no MetaTensor, or has no voxel above the threshold.
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        radius: float | Sequence[float] | None = None,
        threshold: float = 1e-4,
        key: str = "image",
    ) -> None:
        self.patch_size = tuple(int(n) for n in patch_size)
        if len(self.patch_size) != 3 or min(self.patch_size) < 1:
            raise ValueError(f"patch_size must be (H, W, slices), each at least 1, got {self.patch_size}.")
        self.radius = None if radius is None else np.broadcast_to(np.asarray(radius, dtype=float), 3)
        if self.radius is not None and self.radius.min() <= 0:
            raise ValueError(f"radius must be positive (mm), got {radius}.")
        self.threshold = threshold
        self.key = key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, torch.Tensor]:
        """Draw a pair."""
        image = data[self.key]
        affine = getattr(image, "affine", None)
        if affine is None:
            raise ValueError(f"{self.key}: must be a MetaTensor, whose affine says how large a voxel is.")
        spacing = np.linalg.norm(np.asarray(affine, dtype=float)[:3, :3], axis=0)
        volume = image.as_tensor().float()
        inside = volume[0] > self.threshold
        if not inside.any():
            raise ValueError(f"{self.key}: has no voxel above {self.threshold:g}. Check how intensities are scaled.")
        first = self._draw(inside, np.zeros(3, int), np.array(inside.shape) - 1)
        reach = np.array(inside.shape) if self.radius is None else np.floor(self.radius / spacing).astype(int)
        second = self._draw(inside, first - reach, first + reach)
        return {
            "first": patch_around(volume, first.tolist(), self.patch_size),
            "second": patch_around(volume, second.tolist(), self.patch_size),
            "offset": torch.from_numpy(((first - second) * spacing).astype(np.float32)),
        }

    def _draw(self, inside: torch.Tensor, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """A voxel of the mask between two corners (both included); the mask has one there."""
        low, high = np.maximum(low, 0), np.minimum(high, np.array(inside.shape) - 1)
        for _ in range(20):  # most tries find one
            point = np.array([self.R.randint(a, b + 1) for a, b in zip(low, high, strict=True)])
            if inside[tuple(point)]:
                return point
        box = tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
        points = inside[box].nonzero().numpy()
        return points[self.R.randint(len(points))] + low
