# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whether a folder of DICOM files is one volume that is read right: the files, their headers and their values.

ITK reads a series with the geometry of its first slice, takes what a header lacks for 1 mm or axial, and leaves damaged
files out, all without a word. What it would read wrongly is refused here; where the slices lie is judged in
:mod:`monai_fss.data.reading.dicom_geometry`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.data.cases import is_dicom_file
from monai_fss.data.problems import Findings
from monai_fss.data.reading.dicom_geometry import check_places
from monai_fss.data.reading.dicom_header import Header, read_header

__all__ = ["check_series", "series_files"]

# By these GDCM takes a series apart, and MONAI's reader by the date as well: of several parts it would read one.
_PARTS = {
    "0028|0010": "rows",
    "0028|0011": "columns",
    "0018|0050": "slice thickness",
    "0020|0011": "series number",
    "0018|0024": "sequence name",
    "0008|0021": "series date",
}
_AGAIN = "Export the whole series again"
_CONVERT = "Convert the series to NIfTI, for example with dcm2niix"


def series_files(folder: str | Path) -> list[list[Path]]:
    """
    List the files of a folder as MONAI's reader groups them.

    Args:
        folder: looked at without its sub-folders.

    Returns:
        for each series, or part of one that it would take for a series, the files in the order in which they are read.
    """
    import itk

    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.AddSeriesRestriction("0008|0021")
    names.SetDirectory(str(folder))
    return [[Path(str(file)) for file in names.GetFileNames(series)] for series in names.GetSeriesUIDs()]


def check_series(folder: Path, found: Findings) -> np.ndarray | None:
    """
    Refuse a folder that is not one series of evenly spaced, parallel slices with one grey value per voxel.

    Args:
        folder: with DICOM files; others beside them are passed over.
        found: gets what is wrong.

    Returns:
        the affine that the headers say, 4 x 4, voxel (column, row, slice) to mm in RAS+; None where it is refused.
    """
    groups = series_files(folder)
    _check_damaged(folder, {file.name for group in groups for file in group}, found)
    if len(groups) != 1:
        _refuse_groups(groups, found)
        return None
    headers = [read_header(file) for file in groups[0]]
    _check_voxels(headers, found)
    if found.problems:
        return None
    _check_rescaling(headers, found)
    return check_places(headers, found)


def _check_damaged(folder: Path, read: set[str], found: Findings) -> None:
    """GDCM leaves a damaged file out, and at an end of the series its slice would not be missed."""
    files = [path for path in sorted(folder.iterdir()) if is_dicom_file(path) and not path.name.startswith(".")]
    lost = [path.name for path in files if path.name not in read and path.name.upper() != "DICOMDIR"]
    if lost:
        found.refuse(f"{_some(lost)} cannot be read as a DICOM image", f"{_AGAIN}, or remove what is no slice of it")


def _refuse_groups(groups: Sequence[Sequence[Path]], found: Findings) -> None:
    if not groups:
        if not found.problems:
            found.refuse("folder holds no DICOM series", "Give a scan file or the folder of one DICOM series")
        return
    firsts = [read_header(group[0]) for group in groups]
    if len({first.text("0020|000e") for first in firsts}) > 1:
        series = [
            f"{first.text('0008|0060')} {group[0].name} ({len(group)} file(s))"
            for first, group in zip(firsts, groups, strict=True)
        ]
        found.refuse(
            f"folder holds {len(groups)} DICOM series",
            f"Put each series into a folder of its own: {', '.join(sorted(series))}",
        )
        return
    values = {name: sorted({first.text(tag) for first in firsts}) for tag, name in _PARTS.items()}
    differ = [f"{name} ({', '.join(v or 'none' for v in each)})" for name, each in values.items() if len(each) > 1]
    found.refuse(
        f"slices of its series differ in {' and '.join(differ) or 'their headers'}",
        "Put those that belong together into a folder of their own",
    )


def _check_voxels(headers: Sequence[Header], found: Findings) -> None:
    _refuse_any(headers, lambda h: h.frames > 1, "multi-frame (enhanced) image", _CONVERT, found)
    _refuse_any(
        headers,
        lambda h: h.text("0028|0004") != "MONOCHROME2" or h.components > 1,
        f"photometric interpretation is {headers[0].text('0028|0004') or '(none)'}, not MONOCHROME2",
        "Export one grey value per voxel",
        found,
    )


def _check_rescaling(headers: Sequence[Header], found: Findings) -> None:
    """Every slice is read with its own slope and intercept, but as the voxel type of the first."""
    tags = ("0028|1053", "0028|1052")
    for tag, name in zip(tags, ("rescale slope", "rescale intercept"), strict=True):
        without = [h.file.name for h in headers if not h.text(tag)]
        if 0 < len(without) < len(headers):
            found.refuse(f"some slices have no {name} ({_some(without)}), the others have one", _AGAIN)
    for header in headers:
        texts = [header.text(tag) for tag in tags]
        if any(
            text and header.numbers(tag) != (used,)
            for tag, text, used in zip(tags, texts, header.rescaling, strict=True)
        ):
            found.refuse(
                f"rescale slope {texts[0]} and intercept {texts[1]} cannot be applied ({header.file.name})", _AGAIN
            )
            break
    first = headers[0]
    wider = next((header for header in headers if not np.can_cast(header.dtype, first.dtype)), None)
    if wider:
        two = [f"{h.file.name} {h.dtype} (rescale slope {h.rescaling[0]:g})" for h in (first, wider)]
        found.refuse(f"slices have different voxel types, values would be cut off: {', '.join(two)}", _CONVERT)
    if first.text("0008|0060") == "CT" and not first.text(tags[1]):
        found.warn("CT without rescale intercept", "Are its values HU?")


def _refuse_any(
    headers: Sequence[Header], wrong: Callable[[Header], Any], what: str, remedy: str, found: Findings
) -> None:
    names = [header.file.name for header in headers if wrong(header)]
    if names:
        found.refuse(f"{what} ({_some(names)})", remedy)


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
