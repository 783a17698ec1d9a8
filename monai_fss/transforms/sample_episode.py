# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Episodes of slices: two neighbouring ones of a supervoxel, one twice, or two of an organ that two scans show."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform

__all__ = ["NoEpisodeError", "SampleEpisode", "SupervoxelTabled"]


class NoEpisodeError(ValueError):
    """No supervoxel of a volume is large enough for an episode."""


class SupervoxelTabled(MapTransform):
    """Measure the area of every supervoxel in every slice, once for each volume.

    Sampling an episode then reads a small table instead of the volume (about 20 times faster).

    Args:
        keys: the supervoxels, a MetaTensor (1, H, W, D), 0 = none.
        new_key: where the table goes, a float32 tensor (N + 1, D) of mm^2, row i for supervoxel i.
    """

    def __init__(self, keys: KeysCollection, new_key: str = "table", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.new_key = new_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """Add the table."""
        result = dict(data)
        for key in self.key_iterator(result):
            volume = np.asarray(result[key][0], dtype=np.int64)
            count, depth = int(volume.max()) + 1, volume.shape[2]
            flat = volume.reshape(-1, depth) + count * np.arange(depth)
            table = np.bincount(flat.ravel(), minlength=count * depth).reshape(depth, count).T
            result[self.new_key] = torch.from_numpy((table * self._pixel_area(result[key])).astype(np.float32))
        return result

    @staticmethod
    def _pixel_area(volume: torch.Tensor) -> float:
        if not isinstance(volume, MetaTensor):
            raise ValueError("supervoxels must be a MetaTensor: its affine says how many mm^2 a pixel has.")
        return float(volume.pixdim[:2].prod())


class SampleEpisode(Randomizable, Transform):
    """Draw one 1-way 1-shot episode from a volume and its supervoxels (paper, section 4.2).

    A supervoxel is drawn uniformly from those that span at least two slices and are large enough in one of them, then
    two neighbouring slices of the list of slices that contain it, then which of the two is the support. The size limit
    applies to the support; the query may show less. (The paper asks it of the slices sampled as support and query. The
    published code asks it of the first of the two in the stack, and exchanges them afterwards in half of the episodes:
    there either may be smaller.)

    With ``same_slice`` support and query are one slice of it, drawn from those in which it is large enough, and only
    the transforms that follow set them apart: self-supervision with superpixels, as for ALPNet (Ouyang et al., ECCV
    2020, whose code lets the only limit of size be that of the superpixels).

    Args:
        spatial_size: in-plane size of the window (H, W) cut around the supervoxel; slices must be at least as large.
            Both slices are cut at the same place.
        min_area: smallest area in mm^2 of the supervoxel in the support slice. Default 312.5: 200 pixels of 1.25 mm,
            the number of Hansen et al. 2022, section 4.3.
        volume_keys: items (C, H, W, D) that are cut along; each also appears as ``support_<key>``.
        supervoxels, table: keys of the supervoxels (1, H, W, D) and of their table.
        same_slice: whether the query is the support slice. Default: it is a neighbour.

    Returns a dict: for each volume key ``key`` and ``support_<key>`` (C, h, w), and the masks ``label`` and
    ``support_label`` (1, h, w), float.

    Of organs that are labelled, :meth:`between` draws the two sides from two scans.

    Attributes:
        measure: class of the transform that makes the table.
    """

    measure = SupervoxelTabled

    def __init__(
        self,
        spatial_size: Sequence[int],
        min_area: float = 312.5,
        volume_keys: Sequence[str] = ("image",),
        supervoxels: str = "supervoxels",
        table: str = "table",
        same_slice: bool = False,
    ) -> None:
        if min_area <= 0:
            raise ValueError(f"min_area must be positive (mm^2), got {min_area}.")
        self.spatial_size = tuple(int(n) for n in spatial_size)
        self.min_area = min_area
        self.volume_keys = tuple(volume_keys)
        self.supervoxels = supervoxels
        self.table = table
        self.same_slice = same_slice

    @property
    def scan_size(self) -> tuple[int, ...]:
        """(H, W, slices) that a scan is to be padded to where it is smaller; -1: any will do."""
        return (*self.spatial_size, -1)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, torch.Tensor]:
        """Draw the episode."""
        volume = torch.as_tensor(data[self.supervoxels])
        draw = self._draw_slice if self.same_slice else self._draw
        identity, support, query = draw(np.asarray(data[self.table]))
        mask = torch.as_tensor(volume[0, :, :, [support, query]] == identity)
        window = self._window(mask[..., 0])
        result: dict[str, torch.Tensor] = {}
        for key in self.volume_keys:
            result["support_" + key] = self._cut(data[key][..., support], window)
            result[key] = self._cut(data[key][..., query], window)
        result["support_label"] = self._cut(mask[None, ..., 0], window)
        result["label"] = self._cut(mask[None, ..., 1], window)
        return result

    def places(self, table: np.ndarray, identity: int, support: bool = True) -> np.ndarray:
        """Slices that may be one side of an episode of an organ, rising.

        Args:
            table: of a scan, see :class:`SupervoxelTabled`.
            identity: the organ's value there; none where the table has no such row.
            support: whether it is the support, which shows ``min_area`` of it; else the query, which may show less.
        """
        area = table[identity] if identity < len(table) else np.zeros(0)
        return np.flatnonzero(area >= self.min_area if support else area > 0)

    def between(
        self, support: Mapping[Hashable, Any], query: Mapping[Hashable, Any], identity: int
    ) -> dict[str, torch.Tensor]:
        """Draw an episode of an organ that two scans show, each side cut around its own part of it.

        Args:
            support, query: scans as :meth:`__call__` takes them, of the same or of two; both show the organ at
                :meth:`places`.
            identity: the organ's value in ``supervoxels``.

        Returns:
            as :meth:`__call__`. Of one scan that shows the organ in several slices the two are never the same.
        """
        first = self.places(np.asarray(support[self.table]), identity)
        second = self.places(np.asarray(query[self.table]), identity, support=False)
        chosen = int(first[self.R.randint(first.size)])
        if support is query and second.size > 1:
            second = second[second != chosen]
        return self._sides(((support, chosen), (query, int(second[self.R.randint(second.size)]))), identity)

    def _sides(self, sides: Sequence[tuple[Mapping[Hashable, Any], int]], identity: int) -> dict[str, torch.Tensor]:
        """Support and query: a scan each, and a place in it."""
        result: dict[str, torch.Tensor] = {}
        for prefix, (data, z) in zip(("support_", ""), sides, strict=True):
            mask = torch.as_tensor(data[self.supervoxels])[0, ..., z] == identity
            window = self._window(mask)
            for key in self.volume_keys:
                result[prefix + key] = self._cut(data[key][..., z], window)
            result[prefix + "label"] = self._cut(mask[None], window)
        return result

    def _draw(self, table: np.ndarray) -> tuple[int, int, int]:
        """Supervoxel, support slice, query slice."""
        candidates = []
        for identity in range(1, len(table)):
            slices = np.flatnonzero(table[identity])
            large = table[identity, slices] >= self.min_area
            pairs = [(i, i + 1) for i in range(len(slices) - 1) if large[i]]
            pairs += [(i + 1, i) for i in range(len(slices) - 1) if large[i + 1]]
            if pairs:
                candidates.append((identity, slices, pairs))
        if not candidates:
            raise NoEpisodeError(
                f"none of {len(table) - 1} supervoxels has two slices and {self.min_area:.0f} mm^2 in one of them. "
                "Lower min_area, or choose a larger minimum size of the supervoxels."
            )
        identity, slices, pairs = candidates[self.R.randint(len(candidates))]
        first, second = pairs[self.R.randint(len(pairs))]
        return identity, int(slices[first]), int(slices[second])

    def _draw_slice(self, table: np.ndarray) -> tuple[int, int, int]:
        """Supervoxel, and twice the same slice."""
        large = table >= self.min_area
        candidates = 1 + np.flatnonzero(large[1:].any(axis=1))  # a volume has a thousand superpixels: no loop
        if not candidates.size:
            raise NoEpisodeError(
                f"none of {len(table) - 1} superpixels has {self.min_area:.0f} mm^2 in a slice. "
                "Lower min_area, or choose a larger minimum size of the superpixels."
            )
        identity = int(candidates[self.R.randint(candidates.size)])
        slices = np.flatnonzero(large[identity])
        only = int(slices[self.R.randint(slices.size)])
        return identity, only, only

    def _window(self, mask: torch.Tensor) -> tuple[slice, ...]:
        """A window around the middle of the supervoxel or, where that would miss it, around one of its pixels."""
        if any(extent < size for extent, size in zip(mask.shape, self.spatial_size, strict=True)):
            raise ValueError(f"slices of {tuple(mask.shape)} are smaller than the window {self.spatial_size}. Pad.")
        middle = [float(mask.any(1 - axis).nonzero().float().mean()) for axis in (0, 1)]
        window = self._around(middle, mask.shape)
        if not mask[window].any():  # a ring larger than the window, say
            pixels = mask.nonzero()
            window = self._around(pixels[self.R.randint(len(pixels))].tolist(), mask.shape)
        return window

    def _around(self, point: Sequence[float], shape: Sequence[int]) -> tuple[slice, ...]:
        """A window inside the slice whose middle lies up to a quarter of its size from a point."""
        window = []
        for middle, size, extent in zip(point, self.spatial_size, shape, strict=True):
            start = round(middle + self.R.uniform(-0.25, 0.25) * size - size / 2)
            start = min(max(start, 0), extent - size)
            window.append(slice(start, start + size))
        return tuple(window)

    @staticmethod
    def _cut(array: torch.Tensor, window: tuple[slice, ...]) -> torch.Tensor:
        array = array.as_tensor() if hasattr(array, "as_tensor") else array
        return array[(slice(None), *window)].float().contiguous()
