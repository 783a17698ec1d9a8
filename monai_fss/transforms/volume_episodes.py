# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Episodes in 3-D: two windows of slices that show one supervoxel, or an organ of two scans, as support and query."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import RandAffineGrid, Resample
from monai.transforms.utils import create_grid
from monai.utils import ensure_tuple_rep

from .sample_episode import NoEpisodeError, SampleEpisode, SupervoxelTabled

__all__ = ["SampleVolumeEpisode", "SupervoxelVolumeTabled"]

_NOWHERE = np.zeros(0, int)


class SupervoxelVolumeTabled(SupervoxelTabled):
    """Measure the volume of every supervoxel in every slice, once for each scan.

    Args:
        keys: the supervoxels, a MetaTensor (1, H, W, D), 0 = none.
        new_key: where the table goes, a float32 tensor (N + 1, D) of mm^3, row i for supervoxel i.
    """

    @staticmethod
    def _pixel_area(volume: torch.Tensor) -> float:
        affine = getattr(volume, "affine", None)
        if affine is None:
            raise ValueError("supervoxels must be a MetaTensor: its affine says how many mm^3 a voxel has.")
        return float(abs(np.linalg.det(np.asarray(affine, dtype=float)[:3, :3])))


class SampleVolumeEpisode(SampleEpisode):
    """Draw one 1-way 1-shot episode of volumes (paper, section 5.4, as the published code has it).

    A window is a run of succeeding slices. Those that hold enough of a supervoxel are its candidates. A supervoxel is
    drawn uniformly from those that have one, then a candidate as the support, then one at most ``reach`` further up or
    down the list as the query. That can be the same window, and is where a supervoxel has one alone, as has every
    supervoxel of a scan of no more slices than a window: the transforms set the two sides apart.

    One of the two sides, each as often, sees the scan through ``warp``. The voxels of its window are drawn from the
    whole scan, as if that had been transformed and then cut, so that nothing within the scan is missing at the window's
    border; the transform is about the middle of the scan. Beyond the scan each key goes on by its padding mode, the
    mask as its mirror image, like the image. Where the window has lost the supervoxel, as it can lose a flat one by a
    small tilt, that side stays as it was (the published code does so for the support; a query may be empty there).

    In plane each side is cut, after this, so that it contains its own part of the supervoxel, or as much of that as
    there is room for, anywhere within these limits. (The paper says that the cut contains the supervoxel, not whether
    both sides share it; in the published code each has its own.)

    Args:
        spatial_size: size of a window (H, W, slices); scans must be at least as large in plane. Of a scan of fewer
            slices all are taken. The paper's are (215, 215, 10).
        min_volume: the supervoxel takes up more than this in a window, mm^3. Default 2406.25: the published code's
            200 voxels of 1.25 x 1.25 x 7.7 mm.
        reach: how far apart the windows may lie in the list of candidates. Default 50, the published code's.
        volume_keys: items (C, H, W, D) that are cut along; each also appears as ``support_<key>``.
        supervoxels: key of the supervoxels (1, H, W, D).
        table: key of their table in mm^3, see :class:`SupervoxelVolumeTabled`.
        warp: random affine change of one side, MONAI's ``RandAffineGrid`` (angles in radians, lengths in voxels).
            Masks are resampled to the nearest voxel, the volumes linearly. Default None: sides are cut as they are.
        padding_modes: what ``warp`` finds beyond the scan, for each volume key or for all: "reflection", the published
            code's and the default, "border" or "zeros".

    Returns a dict: for each volume key ``key`` and ``support_<key>`` (C, h, w, d), and the masks ``label`` and
    ``support_label`` (1, h, w, d), float.
    """

    measure = SupervoxelVolumeTabled

    def __init__(
        self,
        spatial_size: Sequence[int],
        min_volume: float = 2406.25,
        reach: int = 50,
        volume_keys: Sequence[str] = ("image",),
        supervoxels: str = "supervoxels",
        table: str = "table",
        warp: RandAffineGrid | None = None,
        padding_modes: str | Sequence[str] = "reflection",
    ) -> None:
        if len(spatial_size) != 3 or min(spatial_size) < 1:
            raise ValueError(f"spatial_size must be (H, W, slices), each at least 1, got {tuple(spatial_size)}.")
        if min_volume <= 0 or reach < 1:
            raise ValueError(f"min_volume (mm^3) must be positive and reach at least 1, got {min_volume}, {reach}.")
        super().__init__(spatial_size[:2], volume_keys=volume_keys, supervoxels=supervoxels, table=table)
        self.slices = int(spatial_size[2])
        self.min_volume = min_volume
        self.reach = reach
        self.warp = warp
        self.padding_modes = ensure_tuple_rep(padding_modes, len(self.volume_keys))

    @property
    def scan_size(self) -> tuple[int, ...]:
        """(H, W, slices): in slices too, since a batch is of windows of one size."""
        return (*self.spatial_size, self.slices)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> SampleVolumeEpisode:
        """Set the state, of the warp as well."""
        super().set_random_state(seed, state)
        if self.warp is not None:
            self.warp.set_random_state(state=self.R)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, torch.Tensor]:
        """Draw the episode."""
        identity, support, query = self._draw(np.asarray(data[self.table]))
        return self._sides(((data, support), (data, query)), identity)

    def places(self, table: np.ndarray, identity: int, support: bool = True) -> np.ndarray:
        """First slices of the windows that may be one side of an episode of an organ; both show ``min_volume``."""
        return np.flatnonzero(self._windows(table[identity : identity + 1])[0]) if identity < len(table) else _NOWHERE

    def _sides(self, sides: Sequence[tuple[Mapping[Hashable, Any], int]], identity: int) -> dict[str, torch.Tensor]:
        """Support and query, one of them through ``warp``: a scan each, and the first slice of the window in it."""
        changed = None if self.warp is None else self.R.randint(2)
        result: dict[str, torch.Tensor] = {}
        for side, (prefix, (data, first)) in enumerate(zip(("support_", ""), sides, strict=True)):
            organ = torch.as_tensor(data[self.supervoxels]) == identity
            slices = slice(first, first + self.slices)
            label, grid = organ[..., slices], None
            if self.warp is not None and side == changed:
                label, grid = self._warped(self.warp, organ, slices)
            window = self._window(label[0].any(-1))
            for key, padding in zip(self.volume_keys, self.padding_modes, strict=True):
                if grid is None:
                    result[prefix + key] = self._cut(data[key], (*window, slices))
                else:
                    result[prefix + key] = self._sampled(data[key], grid[(slice(None), *window)], "bilinear", padding)
            result[prefix + "label"] = self._cut(label, window)
        return result

    def _warped(
        self, warp: RandAffineGrid, organ: torch.Tensor, slices: slice
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The mask in a run of slices of the transformed scan, and where in the scan these voxels lie, if it is there.

        Places are homogeneous coordinates (4, H, W, d) in voxels from the middle of the scan.
        """
        height, width, depth = organ.shape[1:]
        run = range(*slices.indices(depth))
        grid = torch.as_tensor(create_grid((height, width, len(run)), dtype=torch.float32, backend="torch"))
        grid[2] += (run[0] + run[-1] - (depth - 1)) / 2
        grid = warp(grid=grid)
        label = self._sampled(organ.float(), grid, "nearest", "reflection")
        return (label, grid) if label.any() else (organ[..., slices], None)

    def _sampled(self, array: torch.Tensor, grid: torch.Tensor, mode: str, padding: str) -> torch.Tensor:
        return self._cut(Resample(mode, padding, dtype=np.float32)(array, grid), ())

    def _window(self, mask: torch.Tensor) -> tuple[slice, ...]:
        """A window that contains the mask or, along an axis on which the mask is longer, lies within it."""
        window = []
        for axis, (size, extent) in enumerate(zip(self.spatial_size, mask.shape, strict=True)):
            if size > extent:
                raise ValueError(f"slices of {tuple(mask.shape)} are smaller than the window {self.spatial_size}. Pad.")
            inside = mask.any(1 - axis).nonzero()
            low, high = sorted((int(inside.max()) + 1 - size, int(inside.min())))
            start = self.R.randint(max(low, 0), min(high, extent - size) + 1)
            window.append(slice(start, start + size))
        # A supervoxel longer than the window on both axes, such as a ring, may have nothing in it.
        return tuple(window) if mask[tuple(window)].any() else super()._window(mask)

    def _draw(self, table: np.ndarray) -> tuple[int, int, int]:
        """Supervoxel, first slice of the support's window and of the query's."""
        large = self._windows(table)
        candidates = 1 + np.flatnonzero(large[1:].any(axis=1))
        if not candidates.size:
            raise NoEpisodeError(
                f"none of {len(table) - 1} supervoxels has more than {self.min_volume:.0f} mm^3 in "
                f"{min(self.slices, table.shape[1])} slices. "
                "Lower min_volume, or choose a larger minimum size of the supervoxels."
            )
        identity = int(candidates[self.R.randint(candidates.size)])
        listed = np.flatnonzero(large[identity])
        support = self.R.randint(listed.size)
        query = self.R.randint(max(support - self.reach, 0), min(support + self.reach + 1, listed.size))
        return identity, int(listed[support]), int(listed[query])

    def _windows(self, table: np.ndarray) -> np.ndarray:
        """Whether a window that begins at a slice shows enough, (rows, windows)."""
        length = min(self.slices, table.shape[1])
        windows = np.lib.stride_tricks.sliding_window_view(table.astype(np.float64), length, axis=1).sum(-1)
        return windows > self.min_volume
