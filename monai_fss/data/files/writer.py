# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""MONAI's NIfTI writer, made safe against interruption and true to the scan's header, and the atomic text writers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import FolderLayoutBase, NibabelWriter

from monai_fss.data.cases import case_name
from monai_fss.data.files.atomic import atomic_path, remove_stale, write_json, write_text_atomic
from monai_fss.data.files.nifti_output import output_header, save_nifti

__all__ = [
    "AtomicNibabelWriter",
    "CaseLayout",
    "remove_stale",
    "write_json",
    "write_probabilities",
    "write_text_atomic",
]


class CaseLayout(FolderLayoutBase):
    """
    Names results by case, ``<output_dir>/<case>.nii.gz``, for ``SaveImaged(folder_layout=...)``.

    MONAI's own layout takes all after the last dot for a suffix: the DICOM folders ``1.2.840.1`` and ``1.2.840.2``
    would both be written to ``1.2.840.nii.gz``.

    Args:
        output_dir: folder of the results.
    """

    def __init__(self, output_dir: str | os.PathLike[str]) -> None:
        self.output_dir = Path(output_dir)

    # MONAI's base class declares keywords alone; its writers call it with the subject, as its own layout has it.
    def filename(self, subject: str | os.PathLike[str], **kwargs: Any) -> Path:  # type: ignore[override]
        """
        Name the result of a scan.

        Args:
            subject: path of the scan.
            kwargs: MONAI's number of the result; not used.
        """
        return self.output_dir / f"{case_name(Path(subject))}.nii.gz"


class AtomicNibabelWriter(NibabelWriter):
    """
    MONAI's ``NibabelWriter`` that writes to a temporary name and renames, with the header of the scan.

    An interrupted run leaves no half file, so that a rerun may trust every mask it finds. Of the scan's own header the
    result has both forms, their codes and the unit (:func:`.nifti_output.output_header`): MONAI's writer makes both of
    one affine, which ITK programs show elsewhere than a scan whose forms differ. Two differences more: a volume of one
    slice stays 3-D (MONAI drops trailing dimensions of length one), and only single-file NIfTI names are accepted (a
    .hdr/.img pair cannot be renamed in one step).

    The voxel type is ``output_dtype``; ``None`` keeps that of the data. ``SaveImaged`` hands on its own
    ``output_dtype``, which is float32 unless it is set: give it ``None`` or ``numpy.uint8`` for masks.

    Example::

        SaveImaged(keys="pred", writer=AtomicNibabelWriter, output_dtype=None, output_dir="masks")
    """

    source: Any = None

    def set_data_array(
        self, data_array: Any, channel_dim: int | None = 0, squeeze_end_dims: bool = True, **kwargs: Any
    ) -> None:
        """
        Take the voxels, channel last.

        Args:
            data_array: array or tensor, (C, H, W, D) with the default ``channel_dim``.
            channel_dim: where the channels are; ``None`` for (H, W, D).
            squeeze_end_dims: drop the channel dimension if it is of length one.
            kwargs: see ``NibabelWriter.set_data_array``.
        """
        super().set_data_array(data_array, channel_dim=channel_dim, squeeze_end_dims=squeeze_end_dims, **kwargs)
        data: Any = self.data_obj
        self.data_obj: Any = data[(..., *[None] * (3 - data.ndim))]

    def set_metadata(self, meta_dict: Mapping | None, resample: bool = True, **options: Any) -> None:
        """
        Take where the voxels lie, and the file that they belong to.

        Args:
            meta_dict: with ``affine`` and, where known, ``filename_or_obj``.
            resample: bring the voxels to ``original_affine``, see ``NibabelWriter.set_metadata``.
            options: see there.
        """
        if resample:
            super().set_metadata(meta_dict, resample=True, **options)
        else:  # MONAI's would make float64 of them on the way
            self.affine = self.get_meta_info(meta_dict)[1]
            chosen: Any = self.output_dtype
            self.output_dtype: Any = self.data_obj.dtype if chosen is None else chosen
        self.source = (meta_dict or {}).get("filename_or_obj")

    def write(self, filename: str | os.PathLike[str], verbose: bool = False, **obj_kwargs: Any) -> None:
        """
        Write the file, whole or not at all.

        Args:
            filename: name that ends in ``.nii`` or ``.nii.gz``.
            verbose: log the temporary name.
            obj_kwargs: see ``NibabelWriter.write``.

        Raises:
            ValueError: when the name has another suffix.
        """
        name = os.fspath(filename)
        if not name.endswith((".nii", ".nii.gz")):
            raise ValueError(f"{name}: only single-file NIfTI can be written. Use a name that ends in .nii.gz or .nii.")
        super(NibabelWriter, self).write(name, verbose=verbose)
        image = self.create_backend_obj(self.data_obj, affine=self.affine, dtype=self.output_dtype, **obj_kwargs)
        voxels = np.asanyarray(image.dataobj)
        save_nifti(name, voxels, image.affine, self.source)


def write_probabilities(
    folder: str | os.PathLike[str],
    scan: str | os.PathLike[str],
    affine: np.ndarray,
    shape: Sequence[int],
    parts: Iterable[np.ndarray],
) -> Path:
    """
    Write a volume that is larger than memory, ``<folder>/<case>.nii.gz``, whole or not at all.

    Args:
        folder: of the result.
        scan: file of the scan, which names the case and whose header the result carries.
        affine: 4 x 4, voxel index to mm in RAS+.
        shape: of the whole.
        parts: one after the other in the order of the file (the last axis slowest), each float32.

    Returns:
        the file.

    Raises:
        ValueError: the parts are not as many voxels as the shape has.
    """
    path = CaseLayout(folder).filename(subject=scan)
    header = output_header(Path(scan), affine, shape, np.float32)
    header.set_slope_inter(1, 0)
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    written = 0
    with atomic_path(path) as temporary:
        with nib.openers.Opener(str(temporary), "wb") as stream:
            stream.write(header.binaryblock + bytes(4))
            for part in parts:
                stream.write(np.asarray(part, dtype=header.get_data_dtype()).tobytes(order="F"))
                written += part.size
        if written != int(np.prod(shape)):
            raise ValueError(f"{path}: {written} voxels for a volume of shape {tuple(shape)}.")
    return path
