# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Reading NRRD, MHA and DICOM series through MONAI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.data.nifti import Volume
from monai_fss.data.problems import Findings

__all__ = ["read_other"]

# Largest spread of the distances between slices, as a part of their median.
_UNEVEN = 0.1


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

    if path.is_dir():
        _check_series(path, found)
        if found.problems:
            return None
    try:
        image: Any = LoadImage(reader="ITKReader", image_only=True, dtype=None)(path)
    except Exception as e:  # ITK and MONAI raise many classes for a bad file; the file is named and the reason kept
        found.refuse(f"cannot be read ({_reason(e)})", "Export it again, best as NIfTI")
        return None
    array = np.asarray(image.numpy())
    affine = np.asarray(image.affine.numpy(), dtype=np.float64)
    # MONAI says "no channel" as NaN.
    if not np.isnan(float(image.meta.get("original_channel_dim", "nan"))):
        found.refuse(f"has several components per voxel (shape {array.shape})", "Export one grey value per voxel")
        return Volume(array.shape[:3], affine, array.dtype, None)
    return Volume(array.shape, affine, array.dtype, array if array.dtype.kind != "c" else None)


def _reason(error: Exception) -> str:
    """Return the telling line of the many that MONAI and ITK write: the last that speaks of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    for mark in ("ERROR: ", "Error: "):
        told = [line for line in lines if mark in line]
        if told:
            return told[-1].split(mark, 1)[1].rstrip(".:")
    return lines[-1].rstrip(".:")


def _check_series(folder: Path, found: Findings) -> None:
    """Refuse a folder that is not one series of evenly spaced slices: ITK would pick one and stretch it."""
    import itk

    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.SetDirectory(str(folder))
    series = list(names.GetSeriesUIDs())
    if not series:
        found.refuse("folder holds no DICOM series", "Give a scan file or the folder of one DICOM series")
    elif len(series) > 1:
        found.refuse(f"folder holds {len(series)} DICOM series", "Put each series into a folder of its own")
    else:
        _check_steps([_position(str(file)) for file in names.GetFileNames(series[0])], found)


def _position(file: str) -> np.ndarray:
    import itk

    header = itk.GDCMImageIO.New()
    header.SetFileName(file)
    header.ReadImageInformation()
    return np.array([header.GetOrigin(axis) for axis in range(3)])


def _check_steps(positions: list[np.ndarray], found: Findings) -> None:
    if len(positions) < 3:
        return
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    if np.ptp(steps) > _UNEVEN * np.median(steps):
        found.refuse(
            f"slices are {steps.min():.4g} to {steps.max():.4g} mm apart (missing or doubled slices?)",
            "Export the whole series again, or resample it to even spacing",
        )
