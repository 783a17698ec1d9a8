# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One volume from a file of any format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.data.cases import SCAN_SUFFIXES
from monai_fss.data.problems import Findings, ScanError
from monai_fss.data.reading.geometry import check_affine
from monai_fss.data.reading.itk_formats import read_other
from monai_fss.data.reading.nifti import Volume, read_nifti
from monai_fss.data.reading.once import read_once

__all__ = ["is_there", "read_scan", "read_volume"]


def read_volume(path: Path, found: Findings) -> Volume | None:
    """
    Read a scan of any format and refuse what is not one 3-D volume of real numbers.

    Args:
        path: a file, or a DICOM folder.
        found: gets what is wrong.

    Returns:
        the volume, with its array made 3-D, or without an array where shape or voxel type was refused; None where
        nothing of it can be used.
    """
    if is_there(path, found) and not path.is_dir() and not path.name.lower().endswith(SCAN_SUFFIXES):
        found.refuse(f"is not a scan (looked for {', '.join(SCAN_SUFFIXES)} or a DICOM folder)", "Export it as NIfTI")
    if found.problems:
        return None
    return read_once(path, found, _read)


def is_there(path: Path, found: Findings) -> bool:
    """Refuse a path at which there is nothing, or an empty file."""
    if not path.exists():
        found.refuse("does not exist", "Check the path")
    elif not path.is_dir() and path.stat().st_size == 0:
        found.refuse("file is empty (0 bytes)", "Copy or export it again")
    return not found.problems


def read_scan(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """
    Read a scan as it is stored.

    Args:
        path: a file, or a DICOM folder.

    Returns:
        voxels (H, W, D), of the file's type where no slope is applied; affine, 4 x 4, voxel index to mm in RAS+.

    Raises:
        ScanError: it cannot be read as one volume of real numbers.
    """
    found = Findings(path)
    volume = read_volume(Path(path), found)
    if found.problems or volume is None or volume.array is None or volume.affine is None:
        raise ScanError(found.problems)
    return volume.array, volume.affine


def _read(path: Path, found: Findings) -> Volume | None:
    nifti = path.name.lower().endswith((".nii", ".nii.gz")) and path.is_file()
    reader: Any = read_nifti if nifti else read_other
    volume: Volume | None = reader(path, found)
    if volume is None:
        return None
    if volume.affine is not None:
        check_affine(volume.affine, found)
    _check_voxel_type(volume, found)
    _check_three_axes(volume, found)
    return volume


def _check_voxel_type(volume: Volume, found: Findings) -> None:
    kind = "complex" if volume.dtype.kind == "c" else "several values (RGB or structured)"
    if volume.dtype.kind not in "biuf":
        found.refuse(f"has {kind} voxels ({volume.dtype})", "Export one real number per voxel")
        volume.array = None


def _check_three_axes(volume: Volume, found: Findings) -> None:
    shape = volume.shape
    if len(shape) == 3 or (len(shape) > 3 and set(shape[3:]) == {1}):
        if volume.array is not None:
            volume.array = volume.array.reshape(shape[:3], order="F")
        return
    remedy = "split it, for example with nibabel.four_to_three" if len(shape) > 3 else "stack its slices"
    found.refuse(f"has shape {shape}. One 3-D volume per file is needed", remedy.capitalize())
    volume.array = None
