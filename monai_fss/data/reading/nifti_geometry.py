# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where a NIfTI header says that its voxels lie: which of its two forms counts, and in which unit."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np

from monai_fss.data.problems import Findings
from monai_fss.data.reading.geometry import corner_distance, spacing_of

__all__ = ["affine_of", "other_affine", "with_unit_quaternion"]

_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # a unit of the lowest three bits of xyzt_units; 0 is "unknown"
_NAMES = {1: "metres", 3: "microns"}
_POSSIBLE_MM = (0.001, 100.0)
_TOO_LONG = 1e-4  # of a unit quaternion written with four decimals; what is longer is none
_DIFFERENT = 0.5  # voxels: a quaternion of single precision turns the corners of a large scan by as much


def affine_of(header: Any, checked: Any, axes: int, found: Findings) -> np.ndarray:
    """
    The affine of a header, as nibabel decides: the sform where its code is above 0, else the qform, else pixdim alone.

    ``pixdim`` counts where a form needs it and not otherwise: software that writes an sform often leaves it stale.

    Args:
        header: as it stands in the file, ``nibabel.Nifti1Header`` or ``Nifti2Header``.
        checked: the same after nibabel's own checks.
        axes: of the volume; its spacing along these must be known.
        found: gets a geometry that is missing, in doubt, or of a unit that cannot be.

    Returns:
        4 x 4 float64, voxel index to mm in RAS+.

    Raises:
        nibabel.spatialimages.HeaderDataError: a quaternion that is none.
    """
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    pixdim = [float(p) for p in header["pixdim"][1:4]]
    if sform <= 0 and not all(abs(p) > 0 for p in pixdim[:axes]):
        # nibabel would quietly put 1 mm in the place of a zero.
        found.refuse(f"voxel spacing is {pixdim} mm and there is no other geometry", "Export it with its geometry")
    elif sform <= 0 and qform <= 0:
        found.warn("header has no orientation (sform and qform codes are 0)", "Left and right are a guess: check them")
    checked = with_unit_quaternion(checked)
    affine = np.asarray(checked.get_best_affine(), dtype=np.float64)
    if sform > 0 and qform > 0:
        _compare(affine, checked, found)
    return _in_millimetres(affine, int(header["xyzt_units"]) & 7, found)


def other_affine(header: Any, checked: Any) -> tuple[str, np.ndarray] | None:
    """
    The qform where the sform counts.

    Args:
        header, checked: as in :func:`affine_of`.

    Returns:
        its name and affine (4 x 4, voxel index to mm in RAS+); None where there is none, or it cannot be used.
    """
    if int(header["sform_code"]) <= 0 or int(header["qform_code"]) <= 0:
        return None
    try:
        other = np.asarray(with_unit_quaternion(checked).get_qform(), dtype=np.float64)
    except (nib.spatialimages.HeaderDataError, ValueError):
        return None
    usable = np.isfinite(other).all() and abs(np.linalg.det(other[:3, :3])) > 1e-12
    return ("qform", _in_millimetres(other, int(header["xyzt_units"]) & 7, Findings(""))) if usable else None


def with_unit_quaternion(header: Any) -> Any:
    """The header, with a quaternion that rounding has made longer than 1 (by up to 1e-4) shortened, in a copy.

    nibabel refuses what is longer by more than the rounding of single precision; programs also write few decimals.
    """
    names = ("quatern_b", "quatern_c", "quatern_d")
    length = float(np.linalg.norm([float(header[name]) for name in names]))
    if not 1 < length <= 1 + _TOO_LONG:
        return header
    shortened = header.copy()
    for name in names:
        shortened[name] = float(header[name]) / length
    return shortened


def _compare(affine: np.ndarray, checked: Any, found: Findings) -> None:
    remedy = "The sform is used; programs that use the qform show scan and mask elsewhere, both at one place"
    try:
        other = np.asarray(checked.get_qform(), dtype=np.float64)
    except (nib.spatialimages.HeaderDataError, ValueError) as e:
        found.warn(f"qform cannot be used ({e})", remedy)
        return
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        return  # refused by what is made of it
    shape = [max(int(n), 1) for n in checked.get_data_shape()[:3]]
    apart = corner_distance(affine, other, [*shape, 1, 1][:3])
    if not apart <= _DIFFERENT:
        found.warn(f"sform and qform differ (corners up to {apart:.3g} voxels apart)", remedy)


def _in_millimetres(affine: np.ndarray, unit: int, found: Findings) -> np.ndarray:
    if unit not in _MILLIMETRES:
        found.warn(f"header names an unknown unit of length ({unit})", "It is taken for mm: correct the header if not")
    factor = _MILLIMETRES.get(unit, 1.0)
    if factor == 1:
        return affine
    scaled = np.diag([factor, factor, factor, 1.0]) @ affine
    spacing = spacing_of(scaled)
    if np.isfinite(spacing).all() and not _POSSIBLE_MM[0] <= min(spacing) <= max(spacing) <= _POSSIBLE_MM[1]:
        stored = ", ".join(f"{s:.4g}" for s in spacing_of(affine))
        found.refuse(
            f"voxels of {stored} {_NAMES[unit]}, as its header has it, are not those of a scan",
            "Correct the unit (xyzt_units, 2 for mm) in the header",
        )
    return scaled
