# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Patches of a scan and where they lie: what PRNet learns from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Randomizable, Transform
from monai.utils import convert_to_tensor

__all__ = ["SamplePatches", "patch_around"]


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


class SamplePatches(Randomizable, Transform):
    """Draw patches of a scan, and where they lie in mm (PRNet, section 3.2): every two of them are a pair.

    The first centre is drawn uniformly among voxels above ``threshold``, the others as well, at most ``radius`` from
    the first along each axis. No label is needed: the offsets are known.

    Args:
        patch_size: (h, w, slices).
        count: patches. Default 2, the paper's pair.
        radius: largest distance from the first centre along each axis, in mm. Default: no limit (the scan), for the
            coarse network; the published code's fine one has 30 mm in the abdomen and 60 mm in the head and neck.
        keep: (h, w, slices), the least part of the scan's extent that is left: a part between that and all of it is
            drawn along each axis, with zeros beyond. Scans end at other places of the body than those to come, and a
            network takes the end of a scan for a landmark. Default: the whole scan.
        threshold: least intensity of a centre. Default 1e-4 as in the published code, where the air is 0.
        spacing: voxel size (H, W, D) in mm. Default: as the scan's affine says, which a ``PersistentDataset`` drops.
        key: the scan (C, H, W, D), a MetaTensor where ``spacing`` is not given.

    Returns a dict of ``image`` (count, C, h, w, slices) and ``place`` (count, 3), the centres along the array's axes in
    mm. (The paper writes c1 - c0 in Eq. 1 and p(c0) - p(c1) in Eq. 2; the published code has c0 - c1 in both.)

    Raises:
        ValueError: the scan's voxel size is not known, or it has no voxel above the threshold; fewer than two patches;
            a radius or part that is not positive, or a part above 1.
    """

    def __init__(
        self,
        patch_size: Sequence[int],
        count: int = 2,
        radius: float | Sequence[float] | None = None,
        keep: Sequence[float] = (1.0, 1.0, 1.0),
        threshold: float = 1e-4,
        spacing: Sequence[float] | None = None,
        key: str = "image",
    ) -> None:
        self.patch_size = tuple(int(n) for n in patch_size)
        if len(self.patch_size) != 3 or min(self.patch_size) < 1 or count < 2:
            raise ValueError(
                f"patch_size must be (H, W, slices), each at least 1, got {self.patch_size}, and count at least 2, got "
                f"{count}."
            )
        self.radius = None if radius is None else np.broadcast_to(np.asarray(radius, dtype=float), 3)
        if self.radius is not None and self.radius.min() <= 0:
            raise ValueError(f"radius must be positive (mm), got {radius}.")
        self.keep = np.asarray(keep, dtype=float)
        if self.keep.shape != (3,) or self.keep.min() <= 0 or self.keep.max() > 1:
            raise ValueError(f"keep must be three parts above 0 and at most 1, got {keep}.")
        self.count = count
        self.threshold = threshold
        self.spacing = None if spacing is None else np.asarray(spacing, dtype=float)
        self.key = key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, torch.Tensor]:
        """Draw patches."""
        image = data[self.key]
        spacing = self._sizes(image)
        volume, inside = self._part(convert_to_tensor(image, track_meta=False).float())
        first = self._draw(inside, np.zeros(3, int), np.array(inside.shape) - 1)
        reach = np.array(inside.shape) if self.radius is None else np.floor(self.radius / spacing).astype(int)
        others = [self._draw(inside, first - reach, first + reach) for _ in range(self.count - 1)]
        centres = [first, *others]
        return {
            "image": torch.stack([patch_around(volume, c.tolist(), self.patch_size) for c in centres]),
            "place": torch.from_numpy((np.stack(centres) * spacing).astype(np.float32)),
        }

    def _sizes(self, image: torch.Tensor) -> np.ndarray:
        """Voxel size (3,) in mm."""
        if self.spacing is not None:
            return self.spacing
        if not isinstance(image, MetaTensor):
            raise ValueError(
                f"{self.key}: must be a MetaTensor, whose affine says how large a voxel is, or give spacing."
            )
        return image.pixdim.numpy()

    def _part(self, volume: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A part of the scan that shows something, and where; the whole scan where no part was found."""
        for _ in range(20):
            part = volume[
                (slice(None), *(self._range(n, keep) for n, keep in zip(volume.shape[1:], self.keep, strict=True)))
            ]
            inside = part[0] > self.threshold
            if inside.any():
                return part, inside
        inside = volume[0] > self.threshold
        if not inside.any():
            raise ValueError(f"{self.key}: has no voxel above {self.threshold:g}. Check how intensities are scaled.")
        return volume, inside

    def _range(self, extent: int, keep: float) -> slice:
        if keep == 1:
            return slice(None)
        length = max(1, round(extent * self.R.uniform(keep, 1)))
        start = self.R.randint(extent - length + 1)
        return slice(start, start + length)

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
