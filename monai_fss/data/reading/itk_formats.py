# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Reading NRRD, MHA and DICOM series through MONAI and ITK."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from monai_fss.data.problems import Findings
from monai_fss.data.reading.dicom_series import Series, check_series
from monai_fss.data.reading.geometry import affine_text, corner_distance
from monai_fss.data.reading.nifti import Volume
from monai_fss.data.reading.nrrd_header import check_nrrd_header, is_placed, nrrd_header

__all__ = ["read_other", "reason_of"]

# The element (0028,0004), of either byte order, with or without its type.
_MONOCHROME1 = re.compile(rb"((?:\x28\x00\x04\x00|\x00\x28\x00\x04)(?:CS..|.{4}))MONOCHROME1", re.DOTALL)
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
    series = check_series(path, found) if path.is_dir() else None
    fields = nrrd_header(path) if path.is_file() else {}
    if fields:
        check_nrrd_header(fields, found)
    if found.problems:
        return None
    try:
        array, affine, components = _read_series(series) if series is not None else _read_file(path)
    except Exception as e:  # ITK and MONAI raise many classes for a bad file; the file is named and the reason kept
        found.refuse(f"cannot be read ({reason_of(e)})", "Export it again, best as NIfTI")
        return None
    if components:
        found.refuse(f"has several components per voxel (shape {array.shape})", "Export one grey value per voxel")
        return Volume(array.shape[:3], affine, array.dtype, None)
    if series is not None and corner_distance(series.affine, affine, array.shape) > _SAME_PLACE:
        found.refuse(
            f"is read with affine {affine_text(affine)}, but its headers say {affine_text(series.affine)}",
            "Convert the series to NIfTI, for example with dcm2niix",
        )
    return Volume(array.shape, affine, array.dtype, array if array.dtype.kind != "c" else None, is_placed(fields))


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    """Voxels, affine, and whether a voxel has several values."""
    from monai.transforms import LoadImage

    # With MONAI's own choice of reader: named readers fall back on each other.
    image: Any = LoadImage(image_only=True, dtype=None, expanduser=False)(path)
    # MONAI says "no channel" as NaN.
    several = not np.isnan(float(image.meta.get("original_channel_dim", "nan")))
    return np.asarray(image.numpy()), np.asarray(image.affine.numpy(), dtype=np.float64), several


def _read_series(series: Series) -> tuple[np.ndarray, np.ndarray, bool]:
    """The same of the very files that were checked: MONAI's reader would choose among them by texts of the headers."""
    import itk
    from monai.data import ITKReader

    with TemporaryDirectory() as folder:
        files = _as_monochrome2(series.files, Path(folder)) if series.monochrome1 else series.files
        names = [str(file) for file in files]
        # With its reader named: it reads files without a preamble, too, which ITK's own choice leaves alone.
        image = itk.imread(names if len(names) > 1 else names[0], imageio=itk.GDCMImageIO.New())
    array, meta = ITKReader().get_data(image)
    array = np.array(array)  # of its own: ITK's memory goes with its image
    if series.inverted:
        array = (float(array.min()) + float(array.max()) - array.astype(np.float64)).astype(array.dtype)
    several = not np.isnan(float(meta.get("original_channel_dim", "nan")))
    return array, np.asarray(meta["affine"], dtype=np.float64), several


def _as_monochrome2(files: Sequence[Path], folder: Path) -> list[Path]:
    """Copies that ITK does not invert: it takes stored values from 65535 before it applies the slope of HU to them."""
    copies = []
    for number, file in enumerate(files):
        content, found = _MONOCHROME1.subn(rb"\g<1>MONOCHROME2", file.read_bytes(), count=1)
        if not found:
            raise ValueError(f"{file.name}: its photometric interpretation stands in a compressed header")
        copies.append(folder / f"{number}.dcm")
        copies[-1].write_bytes(content)
    return copies


def reason_of(error: Exception) -> str:
    """Return the telling line of the many that MONAI and ITK write: the last that speaks of an error, or the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    for mark in ("ERROR: ", "Error: "):
        told = [line for line in lines if mark in line]
        if told:
            return told[-1].split(mark, 1)[1].rstrip(".:")
    return lines[0].rstrip(".:")
