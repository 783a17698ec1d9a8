# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Reading NIfTI with a reason for every refusal, and without believing the header."""

from __future__ import annotations

import gzip
import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from nibabel.volumeutils import apply_read_scaling

from monai_fss.data.problems import Findings
from monai_fss.data.reading.nifti_geometry import affine_of, other_affine

__all__ = ["Volume", "nifti_header", "other_form", "read_nifti"]

_GZIP_MAGIC = b"\x1f\x8b"
# Deflate cannot shrink data more than this (zlib's technical notes), so that a header can be disbelieved unread.
_MAX_RATIO = 1032
_AGAIN = "Copy or export it again"


@dataclass
class Volume:
    """
    What a file holds, before anyone has judged it.

    Args:
        shape: as in the file.
        affine: 4 x 4, voxel index to mm in RAS+, whatever unit the file has; None where it cannot be made.
        dtype: the voxel type on disk.
        array: the voxels, in the file's order; None where the type or shape was refused.
        placed: whether the file says where its voxels lie. If not, the affine is a guess.
    """

    shape: tuple[int, ...]
    affine: np.ndarray | None
    dtype: np.dtype
    array: np.ndarray | None
    placed: bool = True


def read_nifti(path: Path, found: Findings) -> Volume | None:
    """
    Read a .nii or .nii.gz file through nibabel; every problem goes to ``found``.

    The number of bytes on disk is held against the header before memory is asked for, and a gzip stream is read to
    its end so that its check sum is compared.

    Args:
        path: an existing, non-empty file.
        found: gets what is wrong.

    Returns:
        the volume, or None where nothing of it can be used.
    """
    zipped = _is_zipped(path)
    try:
        raw = open(path, "rb")  # noqa: SIM115 (closed below; only a failure to open is caught here)
    except OSError as e:
        found.refuse(f"cannot be opened ({e.strerror})", "Check its permissions")
        return None
    with raw:
        magic = raw.read(2)
        raw.seek(0)
        if (magic == _GZIP_MAGIC) != zipped:
            _refuse_name(magic, zipped, found)
            return None
        opened: Any = gzip.GzipFile(fileobj=raw) if zipped else nullcontext(raw)
        with opened as stream:
            return _read_stream(stream, path, zipped, found)


def _refuse_name(magic: bytes, zipped: bool, found: Findings) -> None:
    if zipped:
        found.refuse(
            f"is named .gz but is not a gzip file (it begins with {magic!r})", "Export the scan again as NIfTI"
        )
    else:
        found.refuse("is named .nii but is compressed with gzip", "Rename it to end in .nii.gz")


def nifti_header(path: Path) -> Any:
    """
    The header of a .nii or .nii.gz file as it stands there, unchecked and uncorrected.

    Args:
        path: a file that :func:`read_nifti` has accepted.

    Returns:
        a ``nibabel.Nifti1Header`` or ``Nifti2Header``.

    Raises:
        OSError: the file cannot be read any more, or is none.
    """
    with gzip.open(path) if _is_zipped(path) else open(path, "rb") as stream:
        header = _read_header(stream.read(540))
    if header is None:
        raise OSError(f"{path}: is not a NIfTI file any more. Was it replaced meanwhile?")
    return header


def other_form(path: Path) -> tuple[str, np.ndarray] | None:
    """The form of a NIfTI header that does not count, such as ``"qform"``, and its affine in mm; None without such."""
    if not path.is_file() or not path.name.lower().endswith((".nii", ".nii.gz")):
        return None
    header = nifti_header(path)
    return other_affine(header, type(header)(header.binaryblock, check=True))


def _is_zipped(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _read_stream(stream: IO[bytes], path: Path, zipped: bool, found: Findings) -> Volume | None:
    try:
        header = _read_header(stream.read(540))
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        found.refuse(f"file is damaged ({e})", _AGAIN)
        return None
    if header is None:
        found.refuse("is not a NIfTI file (no NIfTI header)", "Export the scan as NIfTI")
        return None
    volume = _believe(header, found)
    if volume is None:
        return None
    needed = int(header["vox_offset"]) + prod(volume.shape) * volume.dtype.itemsize
    content = _read_content(stream, path, zipped, needed, found)
    if content is None:
        return None
    return _decode(content, volume, header, found)


def _read_header(block: bytes) -> Any:
    """Return the header as it stands in the file, unchecked and uncorrected; None if there is none."""
    for kind, size in ((nib.Nifti1Header, 348), (nib.Nifti2Header, 540)):
        if size in (int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")) and len(block) >= size:
            header = kind(block[:size], check=False)
            return header if bytes(header["magic"])[:3] in (b"n+1", b"n+2") else None
    return None


def _believe(header: Any, found: Findings) -> Volume | None:
    """Judge size and voxel type by the header alone."""
    dim = [int(d) for d in header["dim"]]
    if not 1 <= dim[0] <= 7 or min(dim[1 : dim[0] + 1]) < 1:
        found.refuse(f"header is damaged (dimensions {dim})", _AGAIN)
        return None
    try:
        dtype = header.get_data_dtype()
    except (KeyError, nib.spatialimages.HeaderDataError):
        found.refuse(f"header names an unknown voxel type (datatype {int(header['datatype'])})", _AGAIN)
        return None
    offset = float(header["vox_offset"])
    if not 0 <= offset < 2**53:
        found.refuse(f"header is damaged (voxels begin at byte {offset})", _AGAIN)
        return None
    return Volume(tuple(dim[1 : dim[0] + 1]), None, dtype, None)


def _read_content(stream: IO[bytes], path: Path, zipped: bool, needed: int, found: Findings) -> bytearray | None:
    on_disk = path.stat().st_size
    if needed > on_disk * (_MAX_RATIO if zipped else 1):
        found.refuse(
            f"file is damaged (header promises {needed:,} bytes, {on_disk:,} bytes are on disk)",
            _AGAIN,
        )
        return None
    content = bytearray()
    try:
        stream.seek(0)
        # In pieces, because one large read of a damaged stream returns nothing, not even how far it got.
        while len(content) < needed and (piece := stream.read(min(needed - len(content), 1 << 22))):
            content += piece
        if len(content) >= needed:
            stream.read(1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        found.refuse(f"file is damaged ({e}; {len(content):,} of {needed:,} bytes could be read)", _AGAIN)
        return None
    except MemoryError:
        found.refuse(f"does not fit into memory ({needed / 2**30:.1f} GiB)", "Crop or resample it first")
        return None
    if len(content) < needed:
        found.refuse(f"file is truncated (holds {len(content):,} of {needed:,} bytes)", _AGAIN)
        return None
    return content


def _decode(content: bytearray, volume: Volume, header: Any, found: Findings) -> Volume | None:
    try:
        # As nibabel reads it: with its checks, but without its copies of the content.
        checked = type(header)(bytes(content[: header.template_dtype.itemsize]), check=True)
        volume.affine = affine_of(header, checked, len(volume.shape), found)
        volume.placed = max(int(header["sform_code"]), int(header["qform_code"])) > 0
        if volume.dtype.names is None and volume.dtype.kind != "c":
            stored = np.frombuffer(content, volume.dtype, prod(volume.shape), int(checked.get_data_offset()))
            volume.array = _scaled(stored.reshape(volume.shape, order="F"), *checked.get_slope_inter())
    except Exception as e:  # nibabel has no one class for what it refuses; the file is named and its reason kept
        found.refuse(f"nibabel cannot read it ({type(e).__name__}: {e})", _AGAIN)
        return None
    return volume


def _scaled(stored: np.ndarray, slope: float | None, inter: float | None) -> np.ndarray:
    """Stored values times slope plus intercept, computed as float64; kept as float32 where they are of 16 bits."""
    slope, inter = 1.0 if slope is None else slope, 0.0 if inter is None else inter
    if (slope, inter) == (1, 0):
        return stored
    if stored.dtype.itemsize > 2 or not stored.size:
        return apply_read_scaling(stored, np.float64(slope), np.float64(inter))
    values = np.empty(stored.shape, np.float32, order="F")
    for last in range(stored.shape[-1]):  # a slice at a time: float64 of a whole scan is large
        values[..., last] = apply_read_scaling(stored[..., last], np.float64(slope), np.float64(inter))
    return values
