# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""NIfTI files of results: where a scan lies is said as its own file says it, in every form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_fss.data.files.atomic import atomic_path
from monai_fss.data.problems import Findings
from monai_fss.data.reading.geometry import corner_distance, is_sheared
from monai_fss.data.reading.nifti import nifti_header
from monai_fss.data.reading.nifti_geometry import affine_of, with_unit_quaternion

__all__ = ["output_header", "save_nifti"]

# What says where the voxels lie, for readers of every kind: those that take the sform, the qform or pixdim alone.
_PLACE = (
    *("pixdim", "xyzt_units", "sform_code", "srow_x", "srow_y", "srow_z"),
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
)
_SAME_VOXELS = 1e-3
_SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT


def output_header(source: str | Path | None, affine: np.ndarray, shape: Sequence[int], dtype: Any) -> Any:
    """
    Header of a result.

    Args:
        source: file of the scan that it belongs to. Of a NIfTI file on the same grid both forms, their codes, pixdim
            and units are taken over: the result lies on its scan in every program, whichever of them that reads.
        affine: 4 x 4, voxel index to mm in RAS+, of the result. Where the source says nothing, because it is no NIfTI
            file, or is on another grid, both forms have it.
        shape: (H, W, D), or (H, W, D, C).
        dtype: voxel type.

    Returns:
        ``nibabel.Nifti1Header``, or ``Nifti2Header`` where the scan has one.
    """
    own = _header_of(source)
    if own is not None and _same_grid(own, affine, shape):
        header = type(own)()
        for field in _PLACE:
            header[field] = own[field]
    else:
        header = nib.Nifti1Header()
        header.set_sform(affine, _SCANNER)
        header.set_qform(affine, 0 if is_sheared(affine) else _SCANNER, strip_shears=True)  # it cannot say a shear
        header.set_xyzt_units("mm")
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    return header


def save_nifti(path: str | Path, voxels: np.ndarray, affine: np.ndarray, source: str | Path | None = None) -> None:
    """
    Write a volume, whole or not at all.

    Args:
        path: name that ends in ``.nii`` or ``.nii.gz``; missing folders are made.
        voxels: (H, W, D), or (H, W, D, C), written in their own type.
        affine: 4 x 4, voxel index to mm in RAS+.
        source: see :func:`output_header`.
    """
    header = output_header(source, np.asarray(affine, dtype=float), voxels.shape, voxels.dtype)
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    with atomic_path(path) as temporary:
        nib.save(kind(voxels, None, header), temporary)


def _header_of(source: str | Path | None) -> Any:
    path = Path(source) if source else None
    if path is None or not path.is_file() or not path.name.lower().endswith((".nii", ".nii.gz")):
        return None
    return with_unit_quaternion(nifti_header(path))  # nibabel refuses to read a longer one


def _same_grid(header: Any, affine: np.ndarray, shape: Sequence[int]) -> bool:
    own = [int(n) for n in header["dim"][1:4]]
    if int(header["dim"][0]) < 3 or own != list(shape[:3]):
        return False
    there = affine_of(header, type(header)(header.binaryblock, check=True), 3, Findings(""))
    return corner_distance(affine, there, own) <= _SAME_VOXELS
