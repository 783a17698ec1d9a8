# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whether a folder of DICOM files is one volume that is read right: the files, their headers and their values.

ITK reads a series with the geometry of its first slice, takes what a header lacks for 1 mm or axial, and leaves damaged
files out, all without a word. What it would read wrongly is refused here; where the slices lie is judged in
:mod:`monai_fss.data.reading.dicom_geometry`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.data.cases import is_dicom_file
from monai_fss.data.problems import Findings
from monai_fss.data.reading.dicom_geometry import check_places
from monai_fss.data.reading.dicom_header import Header, read_header

__all__ = ["Series", "check_series", "series_files"]

# Files of one series that differ in one of these are several images: a scout beside the scan, two acquisitions.
_PARTS = {
    "0028|0010": "rows",
    "0028|0011": "columns",
    "0018|0050": "slice thickness",
    "0020|0011": "series number",
    "0018|0024": "sequence name",
    "0008|0021": "series date",
}
_GREY = ("MONOCHROME2", "MONOCHROME1")
_AGAIN = "Export the whole series again"
_CONVERT = "Convert the series to NIfTI, for example with dcm2niix"


@dataclass(frozen=True, eq=False)
class Series:
    """
    One series that is read right.

    Args:
        files: in the order of their places along the normal of the slices.
        affine: 4 x 4, voxel (column, row, slice) to mm in RAS+, as the headers say.
        monochrome1: whether a viewer is to show its low values bright. ITK inverts such values, whatever their unit.
        inverted: whether they have no unit, so that they are to be turned round to be like those of other scans.
    """

    files: tuple[Path, ...]
    affine: np.ndarray
    monochrome1: bool
    inverted: bool


def series_files(folder: str | Path) -> list[list[Path]]:
    """
    List the files of a folder by series.

    Files of one series that differ in size, thickness, number, sequence or date are parts of it. Numbers are compared
    as such: GDCM, which compares texts, takes "1.0" and "1.00000" for two.

    Args:
        folder: looked at without its sub-folders.

    Returns:
        for each series, or part of one, the files in the order in which they are read.
    """
    return [[header.file for header in headers] for headers in _parts(Path(folder))]


def _parts(folder: Path) -> list[list[Header]]:
    import itk

    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(False)
    names.SetDirectory(str(folder))
    parts: dict[tuple, list[Header]] = {}
    for series in names.GetSeriesUIDs():
        for name in names.GetFileNames(series):
            header = read_header(Path(str(name)))
            parts.setdefault((series, *map(header.comparable, _PARTS)), []).append(header)
    return list(parts.values())


def check_series(folder: Path, found: Findings) -> Series | None:
    """
    Refuse a folder that is not one series of evenly spaced, parallel slices with one grey value per voxel.

    Args:
        folder: with DICOM files; others beside them are passed over.
        found: gets what is wrong.

    Returns:
        what is to be read; None where it is refused.
    """
    groups = _parts(folder)
    _check_damaged(folder, {header.file.name for group in groups for header in group}, found)
    if len(groups) != 1:
        _refuse_groups(groups, found)
        return None
    headers = groups[0]
    _check_voxels(headers, found)
    if found.problems:
        return None
    _check_rescaling(headers, found)
    affine = check_places(headers, found)
    if affine is None:
        return None
    normal = np.diag((-1.0, -1.0, 1.0)) @ affine[:3, 2]
    headers.sort(key=lambda header: float(normal @ header.numbers("0020|0032")))
    files = tuple(header.file for header in headers)
    return Series(files, affine, headers[0].text("0028|0004") == "MONOCHROME1", _is_inverted(headers[0], found))


def _is_inverted(header: Header, found: Findings) -> bool:
    """Whether bright is stored as low. Units, such as HU, hold whichever way a viewer is to show them."""
    if header.text("0028|0004") != "MONOCHROME1":
        return False
    if header.text("0008|0060") in ("CT", "PT"):
        found.warn("is to be shown inverted (MONOCHROME1)", "Its values are taken as they are, in their unit")
        return False
    found.warn("is stored inverted (MONOCHROME1)", "Its values are turned round, so that bright is high")
    return True


def _check_damaged(folder: Path, read: set[str], found: Findings) -> None:
    """GDCM leaves a damaged file out, and at an end of the series its slice would not be missed."""
    files = [path for path in sorted(folder.iterdir()) if is_dicom_file(path) and not path.name.startswith(".")]
    lost = [path.name for path in files if path.name not in read and path.name.upper() != "DICOMDIR"]
    if lost:
        found.refuse(f"{_some(lost)} cannot be read as a DICOM image", f"{_AGAIN}, or remove what is no slice of it")


def _refuse_groups(groups: Sequence[Sequence[Header]], found: Findings) -> None:
    if not groups:
        if not found.problems:
            found.refuse("folder holds no DICOM series", "Give a scan file or the folder of one DICOM series")
        return
    firsts = [group[0] for group in groups]
    if len({first.text("0020|000e") for first in firsts}) > 1:
        series = [
            f"{first.text('0008|0060')} {first.file.name} ({len(group)} file(s))"
            for first, group in zip(firsts, groups, strict=True)
        ]
        found.refuse(
            f"folder holds {len(groups)} DICOM series",
            f"Put each series into a folder of its own: {', '.join(sorted(series))}",
        )
        return
    values = {name: {first.comparable(tag): first.text(tag) for first in firsts} for tag, name in _PARTS.items()}
    differ = [
        f"{name} ({', '.join(v or 'none' for v in sorted(each.values()))})"
        for name, each in values.items()
        if len(each) > 1
    ]
    found.refuse(
        f"slices of its series differ in {' and '.join(differ) or 'their headers'}",
        "Put those that belong together into a folder of their own",
    )


def _check_voxels(headers: Sequence[Header], found: Findings) -> None:
    first = headers[0].text("0028|0004")
    if first in _GREY:
        _refuse_any(
            headers,
            lambda h: h.text("0028|0004") in _GREY and h.text("0028|0004") != first,
            f"some slices are MONOCHROME1 and some MONOCHROME2; the first is {first}",
            _AGAIN,
            found,
        )
    _refuse_any(headers, lambda h: h.frames > 1, "multi-frame (enhanced) image", _CONVERT, found)
    _refuse_any(
        headers,
        lambda h: h.text("0028|0004") not in _GREY or h.components > 1,
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
