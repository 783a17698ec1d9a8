# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""From files to what networks see, in training and in use alike: slices of one pixel size, or volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    ConcatItemsd,
    NormalizeIntensityd,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
)
from monai.utils import ensure_tuple_rep

from monai_fss.data.reading.load import LoadScand
from monai_fss.transforms import BodyPositiond, LabelSpacingd, ScanPadd, SliceOrientationd

__all__ = ["PrepareSlices", "PrepareVolumes"]

RESAMPLED = ("image", "label")
"""What is brought to the grid of the network; a label that is compared in full resolution (``truth``) is not."""


class PrepareSlices(Compose):
    """Read scans, and make them stacks of slices of one pixel size, of intensities of one range, in a known place.

    The slices come to the last axis (:class:`monai_fss.transforms.SliceOrientationd`) and keep their distance;
    ``position``, where in the body a voxel lies, comes beside the image (:class:`monai_fss.transforms.BodyPositiond`).
    The transforms stand in ``transforms`` one by one, so that MONAI's caches and MONAI Label see them.

    Args:
        pixdim: mm of a pixel, in plane.
        window: (low, high) that become 0 and 1, in HU for CT. Default None: 0 to the 99.5th percentile of each scan,
            for MR, whose intensities have no unit.
        zscore: afterwards, mean 0 and standard deviation 1 of all voxels of a scan, as the few-shot papers have it for
            MR. Default: not.
        position_axes: axes of ``position``, none for no channel. Default (0, 1, 2).
        keys: what is read where an item has it, files before, (1, H, W, D) after: the image, and labels on its grid,
            of which ``label`` alone is resampled (to the nearest voxel). Default image and label.
        min_size: pad slices to at least this (H, W), at 0, a position going on as at the border. Default: as they are.
        crop: (H, W) in pixels of ``pixdim`` that every slice is cut to about its middle or, where it is smaller, filled
            up to at 0, a position going on as at the border; the scan as it then is has the z-score. The papers' CHAOS
            and heart slices are of (256, 256) (Hansen et al. 2022, section 5.1.1). What lies beyond is not looked at:
            masks have background there. Default None: slices are used whole.
        join: make the position further channels of the image, (1 + len(position_axes), H, W, D), as networks take
            it. Default: it stays apart, for transforms that change one of the two.
    """

    def __init__(
        self,
        pixdim: float,
        window: Sequence[float] | None = None,
        zscore: bool = False,
        position_axes: Sequence[int] = (0, 1, 2),
        keys: Sequence[str] = RESAMPLED,
        min_size: Sequence[int] | None = None,
        join: bool = False,
        crop: Sequence[int] | None = None,
    ) -> None:
        steps = _read(keys, (pixdim, pixdim, -1)) + [_scaled(window), BodyPositiond("image", axes=position_axes)]
        seen = [*_resampled(keys), "position"]
        if crop is not None:
            steps.append(CenterSpatialCropd(seen, (*crop, -1), allow_missing_keys=True))
            steps.append(ScanPadd(seen, (*crop, -1), allow_missing_keys=True))
        if zscore:
            steps.append(NormalizeIntensityd("image"))
        if min_size is not None:
            steps.append(ScanPadd(seen, (*min_size, -1), allow_missing_keys=True))
        super().__init__([*steps, *([_join()] if join else [])])
        self._labelled = partial(
            PrepareSlices, pixdim, window, zscore, position_axes, min_size=min_size, join=join, crop=crop
        )

    def labelled(self) -> PrepareSlices:
        """The same of scans with their labels: of the support, where the query has none."""
        return self._labelled()

    def joined(self) -> Compose:
        """The same with the position in further channels of the image."""
        return Compose([*self.transforms, _join()])


class PrepareVolumes(Compose):
    """Read scans, and make them volumes of one voxel size and of intensities of 0..1.

    Args:
        pixdim: mm of a voxel, one number for all axes or three, (H, W, slices), such as (1, 1, 3). Default None: voxels
            stay as they are.
        window, keys: as in :class:`PrepareSlices`; what is neither ``image`` nor ``label`` stays on its own grid.
    """

    def __init__(
        self,
        pixdim: float | Sequence[float] | None = None,
        window: Sequence[float] | None = None,
        keys: Sequence[str] = RESAMPLED,
    ) -> None:
        grid = None if pixdim is None else ensure_tuple_rep(pixdim, 3)
        super().__init__([*_read(keys, grid, padding_mode="border"), _scaled(window)])
        self._labelled = partial(PrepareVolumes, pixdim, window)

    def labelled(self) -> PrepareVolumes:
        """The same of scans with their labels: of the support, where the query has none."""
        return self._labelled()


def _read(keys: Sequence[str], grid: Sequence[float] | None, **more: Any) -> list[Callable]:
    """Read, orient, resample."""
    names = list(keys)
    steps: list[Callable] = [
        LoadScand(names, allow_missing_keys=True),
        SliceOrientationd(names, allow_missing_keys=True),
    ]
    if grid is not None:
        some = _resampled(names)
        modes = ["bilinear" if key == "image" else "nearest" for key in some]
        steps.append(LabelSpacingd(some, grid, mode=modes, allow_missing_keys=True, **more))
    return steps


def _resampled(keys: Sequence[str]) -> list[str]:
    return [key for key in keys if key in RESAMPLED]


def _scaled(window: Sequence[float] | None) -> Callable:
    if window is None:
        return ScaleIntensityRangePercentilesd("image", 0, 99.5, 0, 1, clip=True)
    low, high = window
    return ScaleIntensityRanged("image", low, high, 0, 1, clip=True)


def _join() -> ConcatItemsd:
    return ConcatItemsd(["image", "position"], "image")
