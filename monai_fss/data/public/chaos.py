# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""CHAOS: the abdominal MR of the ISBI 2019 challenge, its T2-SPIR sequence: DICOM series with labels as PNG slices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from monai_fss.data.cases import is_dicom_file, natural_key
from monai_fss.data.problems import Findings
from monai_fss.data.public.folder import PublicSet, chosen_codes, write_public_set
from monai_fss.data.public.sources import LabelledScan, SourceCase, mapped, numbered, paired
from monai_fss.data.reading.dicom_header import read_header
from monai_fss.data.reading.volume import read_scan

__all__ = ["CHAOS", "prepare_chaos"]

CHAOS = PublicSet(
    name="chaos_t2",
    description="CHAOS abdominal MR, T2-SPIR, training set",
    modality="MR",
    labels={"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4},
    size=20,
)
_CODES = {63: 1, 126: 2, 189: 3, 252: 4}  # grey values of the PNG files
_LAYOUT = (
    "The download is CHAOS_Train_Sets.zip: unpacked, it has Train_Sets/MR/<number>/T2SPIR/DICOM_anon/*.dcm and "
    "Train_Sets/MR/<number>/T2SPIR/Ground/*.png: give the folder MR"
)
_AGAIN = "Unpack the download again"
_SAME_VOXEL = 0.5  # positions are rounded to tenths of a millimetre in some files


def prepare_chaos(
    source: str | Path, output: str | Path, *, organs: Sequence[str] | None = None, folds: int = 5
) -> Path:
    """
    Make a data set folder of the labelled T2-SPIR scans of CHAOS, each on its own grid: nothing is resampled.

    Where a PNG belongs: a row and a column of it are a row and a column of its DICOM file, which is the one of the same
    name without suffix. Where the names of a case differ, the files of both folders are paired in the order of their
    names, and the DICOM files must follow the body in that order, up or down. The slice that a DICOM file is in the
    volume follows from its Image Position (Patient) and the volume's affine, so that it does not matter in which
    direction the volume was read. There must be as many PNG as DICOM files, of the same size.

    Args:
        source: folder that holds ``<number>/T2SPIR/DICOM_anon`` and ``<number>/T2SPIR/Ground``, in any sub-folders.
            Scans without ``Ground`` (the challenge's test set) are left out.
        output: folder to make, new or empty.
        organs: names of :data:`CHAOS`; the others become background. Default: all four.
        folds: runs of neighbours in the order of the numbers. Default: 5, of four scans each, as the papers have them.

    Returns:
        ``output``.

    Raises:
        ScanError: nothing like the download in ``source``; a series that is not one regular volume; PNG files that do
            not fit it, or with a grey value other than 0, 63 (liver), 126 (right kidney), 189 (left kidney) and 252
            (spleen); ``output`` is not empty. Nothing is left behind.

    Warns:
        InputWarning: there are not 20 labelled scans.
    """
    labels = CHAOS.chosen(organs)
    series = numbered(source, r"(\d+)/T2SPIR/DICOM_anon", _LAYOUT)
    ground = numbered(source, r"(\d+)/T2SPIR/Ground", _LAYOUT)
    read = partial(_read, codes=chosen_codes(_CODES, labels))
    return write_public_set(CHAOS, paired(source, series, ground, _LAYOUT), read, output, labels, folds)


def _read(case: SourceCase, codes: dict[int, int]) -> LabelledScan:
    image, affine = read_scan(case.image)
    found = Findings(case.label)
    label = np.zeros(image.shape, np.uint8)
    for png, k in _places(case, affine, image.shape[2], found):
        about = Findings(png)
        pixels = _pixels(png, image.shape, about)
        if pixels is not None:
            label[:, :, k] = mapped(pixels, codes, about).T
        found.problems += about.problems
    found.raise_if_any()
    return LabelledScan(image, label, affine)


def _places(case: SourceCase, affine: np.ndarray, slices: int, found: Findings) -> list[tuple[Path, int]]:
    """Each PNG and the number of its slice; nothing where that is not known for certain."""
    files = [path for path in _files(case.image) if is_dicom_file(path)]
    pngs = [path for path in _files(case.label) if path.suffix.lower() == ".png"]
    if len(pngs) != slices or len(files) != slices:
        found.refuse(f"holds {len(pngs)} PNG files for {slices} slices in {case.image}", _AGAIN)
        return []
    numbers = [_slice_number(file, affine) for file in files]
    if sorted(numbers) != list(range(slices)):
        found.refuse(f"positions in the files of {case.image} are not those of the volume read from them", _AGAIN)
    named_alike = [path.stem for path in pngs] == [file.stem for file in files]
    if not named_alike and numbers not in (list(range(slices)), list(reversed(range(slices)))):
        found.refuse(
            f"its files are named otherwise than those of {case.image}, whose names do not follow the body", _AGAIN
        )
    return [] if found.problems else list(zip(pngs, numbers, strict=True))


def _files(folder: Path) -> list[Path]:
    """In the order of their names, numbers in them taken as numbers; without hidden ones."""
    return sorted((path for path in folder.iterdir() if path.name[0] != "."), key=lambda path: natural_key(path.name))


def _slice_number(file: Path, affine: np.ndarray) -> int:
    """The slice that begins where the file's header says; -1 where none does."""
    position = read_header(file).numbers("0020|0032")  # LPS
    if len(position) != 3:
        return -1
    column, row, number = (np.linalg.inv(affine) @ (-position[0], -position[1], position[2], 1.0))[:3]
    return round(number) if max(abs(column), abs(row), abs(number - round(number))) < _SAME_VOXEL else -1


def _pixels(png: Path, shape: Sequence[int], found: Findings) -> np.ndarray | None:
    """Grey values (rows, columns) of a PNG on the grid of a slice."""
    from skimage.io import imread

    try:
        pixels = np.asarray(imread(png))
    except Exception as error:  # whatever its readers raise for a damaged file
        found.refuse(f"cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})", _AGAIN)
        return None
    if pixels.shape != (shape[1], shape[0]):
        found.refuse(
            f"has shape {pixels.shape}; the slices of its scan have {shape[1]} rows, {shape[0]} columns", _AGAIN
        )
        return None
    return pixels
