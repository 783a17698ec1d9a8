# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Reading NRRD, MHA and DICOM series through MONAI and ITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.data.problems import Findings
from monai_fss.data.reading.dicom_series import check_series
from monai_fss.data.reading.geometry import affine_text, corner_distance
from monai_fss.data.reading.nifti import Volume

__all__ = ["read_other"]

# How far the volume that was read may lie from where the headers put it, in voxels.
_SAME_PLACE = 0.05


def read_other(path: Path, found: Findings) -> Volume | None:
    """
    Read what MONAI's ITK reader reads; every problem goes to ``found``.

    MONAI and ITK are imported only here, because most data sets are NIfTI and do not need them to be checked.

    Args:
        path: an existing .nrrd or .mha file, or a folder with one DICOM series.
        found: gets what is wrong.

    Returns:
        the volume, its affine in RAS+ as of NIfTI, or None where nothing of it can be used.
    """
    from monai.transforms import LoadImage

    expected = check_series(path, found) if path.is_dir() else None
    if found.problems:
        return None
    try:
        # With MONAI's own choice of reader: named readers fall back on each other.
        image: Any = LoadImage(image_only=True, dtype=None, expanduser=False)(path)
    except Exception as e:  # ITK and MONAI raise many classes for a bad file; the file is named and the reason kept
        found.refuse(f"cannot be read ({_reason(e)})", "Export it again, best as NIfTI")
        return None
    array = np.asarray(image.numpy())
    affine = np.asarray(image.affine.numpy(), dtype=np.float64)
    # MONAI says "no channel" as NaN.
    if not np.isnan(float(image.meta.get("original_channel_dim", "nan"))):
        found.refuse(f"has several components per voxel (shape {array.shape})", "Export one grey value per voxel")
        return Volume(array.shape[:3], affine, array.dtype, None)
    if expected is not None and corner_distance(expected, affine, array.shape) > _SAME_PLACE:
        found.refuse(
            f"is read with affine {affine_text(affine)}, but its headers say {affine_text(expected)}",
            "Convert the series to NIfTI, for example with dcm2niix",
        )
    return Volume(array.shape, affine, array.dtype, array if array.dtype.kind != "c" else None)


def _reason(error: Exception) -> str:
    """Return the telling line of the many that MONAI and ITK write: the last that speaks of an error, or the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    for mark in ("ERROR: ", "Error: "):
        told = [line for line in lines if mark in line]
        if told:
            return told[-1].split(mark, 1)[1].rstrip(".:")
    return lines[0].rstrip(".:")
