# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where the slices of a DICOM series lie: complete, parallel, in a straight line and evenly spaced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monai_fss.data.problems import Findings
from monai_fss.data.reading.dicom_header import Header

__all__ = ["check_places"]

_PLACE = {"0020|0032": ("Image Position (Patient)", 3), "0020|0037": ("Image Orientation (Patient)", 6)}
_PLACE |= {"0028|0030": ("Pixel Spacing", 2)}
# Direction cosines and, relatively, pixel spacings that differ by less are rounded, not different: a third of a pixel
# at the rim of a large slice.
_ROUNDED = 1e-3
# How far a slice may lie from where the even volume has it: in parts of the slice distance, or in mm because positions
# are rounded to tenths (of thin slices at most a quarter of the distance); and in its plane, in pixels.
_UNEVEN = 0.1
_ROUNDED_MM = 0.11
_UNEVEN_THIN = 0.25
_SHIFTED = 0.5
_AGAIN = "Export the whole series again"


def check_places(headers: Sequence[Header], found: Findings) -> np.ndarray | None:
    """
    Refuse slices that do not make up one regular volume.

    Args:
        headers: of the slices, in any order.
        found: gets what is wrong.

    Returns:
        the affine, 4 x 4, voxel (column, row, slice) to mm in RAS+, where slices are counted along the cross product of
        the directions of rows and columns (DICOM PS3.3 C.7.6.2.1.1); None where it is refused.
    """
    for tag, (name, count) in _PLACE.items():
        without = [header.file.name for header in headers if len(header.numbers(tag)) != count]
        if without:
            found.refuse(
                f"{len(without)} of {len(headers)} slices have no valid {name}, such as {without[0]}",
                "Export the series again with its geometry, or as NIfTI",
            )
    if found.problems:
        return None
    _check_same(headers, found)
    rows, columns = np.array(headers[0].numbers("0020|0037")).reshape(2, 3)
    if abs(rows @ columns) > _ROUNDED or abs(np.linalg.norm((rows, columns), axis=1) - 1).max() > _ROUNDED:
        found.refuse(
            f"Image Orientation (Patient) {_text(headers[0], '0020|0037')} is not two perpendicular directions", _AGAIN
        )
    if found.problems:
        return None
    return _check_line(headers, rows, columns, found)


def _text(header: Header, tag: str) -> str:
    return "\\".join(f"{value:g}" for value in header.numbers(tag))


def _check_same(headers: Sequence[Header], found: Findings) -> None:
    first = headers[0]
    for tag, relative in (("0020|0037", False), ("0028|0030", True)):
        values = np.array([header.numbers(tag) for header in headers])
        tolerance = _ROUNDED * (np.abs(values[0]) if relative else 1)
        other = np.flatnonzero((np.abs(values - values[0]) > tolerance).any(axis=1))
        if other.size:
            odd = headers[other[0]]
            texts = [f"{_text(header, tag)} in {header.file.name}" for header in (first, odd)]
            found.refuse(
                f"slices differ in {_PLACE[tag][0]}: {', '.join(texts)}",
                "Put those that belong together into a folder of their own",
            )


def _check_line(headers: Sequence[Header], rows: np.ndarray, columns: np.ndarray, found: Findings) -> np.ndarray | None:
    """Sort the slices along their normal and hold them against a straight, even line."""
    normal = np.cross(rows, columns)
    headers = sorted(headers, key=lambda header: float(normal @ header.numbers("0020|0032")))
    positions = np.array([header.numbers("0020|0032") for header in headers])
    heights = positions @ normal
    between_rows, between_columns = headers[0].numbers("0028|0030")
    step = _one_step(headers[0], found) if len(headers) == 1 else float(heights[-1] - heights[0]) / (len(headers) - 1)
    _check_steps(headers, heights, found)
    in_plane = (positions - positions[0]) @ np.stack((rows / between_columns, columns / between_rows), axis=1)
    shift = np.abs(in_plane).max(axis=1)
    if not found.problems and shift.max() > _SHIFTED:
        sideways = float(
            np.linalg.norm((positions - positions[0]) - np.outer(heights - heights[0], normal), axis=1).max()
        )
        angle = np.degrees(np.arctan2(sideways, heights[-1] - heights[0]))
        found.refuse(
            f"slices are shifted in their plane by up to {sideways:.4g} mm (gantry tilt, about {angle:.1f} degrees)",
            "Convert it to NIfTI with a tool that corrects the tilt, such as dcm2niix",
        )
    if found.problems:
        return None
    affine = np.eye(4)
    affine[:3] = np.stack((rows * between_columns, columns * between_rows, normal * step, positions[0]), axis=1)
    return np.diag((-1.0, -1.0, 1.0, 1.0)) @ affine


def _one_step(header: Header, found: Findings) -> float:
    spacing = header.numbers("0018|0088")
    if not spacing:
        thickness = header.text("0018|0050") or "not given"
        found.warn(
            f"single slice without Spacing Between Slices is taken for 1 mm (slice thickness {thickness})",
            "Volumes in ml are a guess",
        )
    return spacing[0] if spacing else 1.0


def _check_steps(headers: Sequence[Header], heights: np.ndarray, found: Findings) -> None:
    if len(headers) < 2:
        return
    steps = np.diff(heights)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    same = int(np.argmin(steps))
    names = [header.file.name for header in headers]
    if steps[same] <= _UNEVEN * usual:
        found.refuse(
            f"{names[same]} and {names[same + 1]} are at the same place ({heights[same]:.4g} mm along the normal)",
            "Remove the copy, or put each volume of a 4-D series into a folder of its own",
        )
        return
    even = np.linspace(heights[0], heights[-1], len(heights))
    allowed = max(_UNEVEN * usual, min(_ROUNDED_MM, _UNEVEN_THIN * usual))
    if np.abs(heights - even).max() > allowed:
        where = int(np.argmax(np.abs(steps - usual)))
        found.refuse(
            f"gap of {steps[where]:.4g} mm between {names[where]} and {names[where + 1]}: slices are "
            f"{steps.min():.4g} to {steps.max():.4g} mm apart (missing or doubled slices?)",
            f"{_AGAIN}, or resample it to even spacing",
        )
