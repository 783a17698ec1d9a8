# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Tables of names and colours that lie beside NIfTI masks: of ITK-SNAP, of 3D Slicer and of BIDS."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from monai_fss.data.segments.palette import colour_of, rgb
from monai_fss.data.segments.segment import Segment, one_line

__all__ = ["ctbl_text", "read_ctbl", "read_snap", "read_tsv", "snap_text", "tsv_text"]

# The first line is how ITK-SNAP and others tell the file; the fields are as it names them.
_SNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
"""
_SNAP_LINE = re.compile(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+[\d.]+\s+\d+\s+\d+\s+"(.*)"\s*')
_CTBL_LINE = re.compile(r"\s*(\d+)\s+(\S+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+[\d.]+\s*")
_HEX = re.compile(r"#[0-9A-Fa-f]{6}")
MISSING = "n/a"  # BIDS's word for what is not known


def snap_text(segments: Sequence[Segment]) -> str:
    """Label description of ITK-SNAP (Segmentation: Import Label Descriptions). A ``"`` in a name becomes ``'``."""
    lines = ['    0     0    0    0        0  0  0    "Clear Label"']
    for value, name, colour in segments:
        red, green, blue = rgb(colour)
        quoted = one_line(name).replace('"', "'")
        lines.append(f'{value:5d}   {red:3d}  {green:3d}  {blue:3d}        1  1  1    "{quoted}"')
    return _SNAP_HEAD + "\n".join(lines) + "\n"


def ctbl_text(segments: Sequence[Segment]) -> str:
    """Colour table of 3D Slicer, which has no spaces in names: they become ``_``. It takes values up to 32768."""
    lines = ["# Color table file", f"# {len(segments) + 1} values", "0 background 0 0 0 0"]
    for value, name, colour in segments:
        lines.append(f"{value} {one_line(name).replace(' ', '_')} {' '.join(map(str, rgb(colour)))} 255")
    return "\n".join(lines) + "\n"


def tsv_text(segments: Sequence[Segment]) -> str:
    """Lookup table of BIDS derivatives: columns index, name, color."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
    writer.writerow(("index", "name", "color"))
    writer.writerows((value, one_line(name), colour) for value, name, colour in segments)
    return text.getvalue()


def read_snap(text: str) -> list[Segment]:
    """Organs of a label description of ITK-SNAP; lines that are none are passed over."""
    return _segments(found.group(1, 5, 2, 3, 4) for found in map(_SNAP_LINE.fullmatch, text.splitlines()) if found)


def read_ctbl(text: str) -> list[Segment]:
    """Organs of a colour table of 3D Slicer; lines that are none are passed over."""
    return _segments(found.groups() for found in map(_CTBL_LINE.fullmatch, text.splitlines()) if found)


def read_tsv(text: str) -> list[Segment]:
    """Organs of a lookup table of BIDS; a row without a whole number for index is passed over, an unknown colour is
    ``""``."""
    rows = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    found = []
    for row in rows:
        index, name, colour = ((row.get(key) or "").strip() for key in ("index", "name", "color"))
        if index.isdecimal() and int(index) > 0 and name not in ("", MISSING):
            found.append(Segment(int(index), name, colour.upper() if _HEX.fullmatch(colour) else ""))
    return found


def _segments(rows: Iterable[Sequence[str]]) -> list[Segment]:
    """Of value, name, red, green and blue."""
    return [
        Segment(int(value), name, colour_of(float(red), float(green), float(blue)))
        for value, name, red, green, blue in rows
        if int(value) > 0 and name
    ]
