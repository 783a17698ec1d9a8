# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Orientation that keeps slices slices: canonical for axial scans, as stored for oblique ones."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import cast

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import Orientation, Orientationd
from monai.transforms.spatial.functional import orientation
from monai.utils import TraceKeys

__all__ = ["SliceOrientation", "SliceOrientationd", "slice_axcodes"]

LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


def slice_axcodes(affine: np.ndarray, axcodes: str = "RAS", tolerance: float = 25.0) -> str:
    """Axis codes that bring the slices to the last axis.

    A scan whose array axes all lie within ``tolerance`` degrees of the patient's gets ``axcodes``, so that left is
    left whatever way it was stored. For an oblique one (cardiac short axis, say) "closest axis" is a matter of chance
    and may differ between two patients with almost equal planes, and make slices of what never was one: such a scan
    keeps its stored in-plane order, and only its most coarsely sampled axis goes last.

    Args:
        affine: (4, 4), voxel to patient, mm.
        axcodes: codes for scans along the patient's axes. Default "RAS": the slices are axial.
        tolerance: degrees. Default 25: a tilted axial stack still counts as axial.
    """
    spacing = affine_to_spacing(affine)
    cosines = np.abs(affine[:3, :3] / spacing)
    angles = np.degrees(np.arccos(np.clip(cosines.max(axis=0), 0, 1)))
    if angles.max() <= tolerance:
        return axcodes
    codes = nib.orientations.aff2axcodes(affine)
    coarse = int(spacing.argmax()) if spacing.max() > 1.5 * np.median(spacing) else 2
    order = [axis for axis in range(3) if axis != coarse] + [coarse]
    return "".join(codes[axis] for axis in order)


class SliceOrientation(Orientation):
    """MONAI's ``Orientation`` with codes chosen for each scan by :func:`slice_axcodes`; invertible like it.

    Args:
        axcodes, tolerance: as in :func:`slice_axcodes`.
    """

    def __init__(self, axcodes: str = "RAS", tolerance: float = 25.0) -> None:
        super().__init__(axcodes=axcodes, labels=LABELS)
        self.canonical = axcodes
        self.tolerance = tolerance

    def __call__(self, data_array: torch.Tensor, lazy: bool | None = None) -> torch.Tensor:
        """Orient a (C, H, W, D) MetaTensor."""
        affine = getattr(data_array, "affine", None)
        if affine is None:
            raise ValueError("SliceOrientation needs a MetaTensor with an affine. Load the scan with LoadImage.")
        self.axcodes = slice_axcodes(np.asarray(affine, dtype=float), self.canonical, self.tolerance)
        return super().__call__(data_array, lazy=lazy)

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Put the axes back as they were stored.

        MONAI's own inverse looks for the closest axes of the oriented scan, which at 45 degrees, a tie, need not be
        those that it came from; here they follow from the original affine, as they did on the way.
        """
        original = np.asarray(self.pop_transform(data)[TraceKeys.EXTRA_INFO]["original_affine"], dtype=float)
        codes = slice_axcodes(original, self.canonical, self.tolerance)
        back = nib.orientations.ornt_transform(
            nib.orientations.axcodes2ornt(codes, LABELS), nib.orientations.io_orientation(original)
        )
        affine = np.asarray(cast(MetaTensor, data).affine)
        with self.trace_transform(False):
            return orientation(data, affine, back, lazy=False, transform_info=self.get_transform_info())


class SliceOrientationd(Orientationd):
    """Dictionary version of :class:`SliceOrientation`.

    Args:
        keys: items to orient.
        axcodes, tolerance: as in :func:`slice_axcodes`.
    """

    def __init__(
        self, keys: KeysCollection, axcodes: str = "RAS", tolerance: float = 25.0, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, axcodes=axcodes, labels=LABELS, allow_missing_keys=allow_missing_keys)
        self.ornt_transform = SliceOrientation(axcodes, tolerance)

    def __call__(self, data: Mapping[Hashable, torch.Tensor], lazy: bool | None = None) -> dict:
        """Orient each item."""
        return super().__call__(data, lazy=lazy)
