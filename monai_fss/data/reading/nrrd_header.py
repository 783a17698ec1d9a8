# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What the text header of an NRRD file says of it, before ITK reads the voxels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from monai_fss.data.problems import Findings
from monai_fss.data.segments.palette import colour_of

__all__ = ["OWN_VALUE", "StoredSegment", "check_nrrd_header", "is_placed", "nrrd_header", "stored_segments"]

OWN_VALUE = "MonaiFssLabelValue"  # tag of a segment: its label value, whatever value a program stores it by

_LONGEST = 1 << 20  # bytes of a header; 3D Slicer writes a kilobyte for each segment
_KEYS = ("Layer", "LabelValue", "Name", "Color", "Tags")
_LAYERS = ("list", "vector")  # kinds of an axis that counts values of one voxel


class StoredSegment(NamedTuple):
    """
    A segment as a file of 3D Slicer stores it.

    Args:
        layer: of the file, from 0.
        stored: its value in that layer.
        own: its label value where the file was written by this package; else None.
        name: as it is shown.
        colour: ``"#RRGGBB"``, or empty.
    """

    layer: int
    stored: int
    own: int | None
    name: str
    colour: str


def nrrd_header(path: Path) -> dict[str, str]:
    """
    Read the fields of an NRRD file.

    Args:
        path: an existing file.

    Returns:
        field or key, in lower case where it is a field of the format, to its text; empty where it is no NRRD file.
    """
    with open(path, "rb") as stream:
        if stream.read(4) != b"NRRD":
            return {}
        text = re.split(rb"\r?\n\r?\n", stream.read(_LONGEST), maxsplit=1)[0]
    fields: dict[str, str] = {}
    for line in text.decode("utf-8", "replace").splitlines()[1:]:
        key, mark, value = line.partition(":=")
        if mark:
            fields[key.strip()] = re.sub(r"\\([\\n])", lambda sign: " " if sign[1] == "n" else "\\", value.strip())
        elif not line.startswith("#"):
            key, _, value = line.partition(":")
            fields[key.strip().lower()] = value.strip()
    return fields


def check_nrrd_header(fields: dict[str, str], found: Findings) -> None:
    """
    Refuse several values per voxel; doubt a file that does not say where its voxels lie.

    Args:
        fields: of :func:`nrrd_header`.
        found: gets what is wrong.
    """
    sizes, kinds = fields.get("sizes", "").split(), fields.get("kinds", "").lower().split()
    layers = [size for size, kind in zip(sizes, kinds, strict=False) if kind in _LAYERS]
    if layers:
        found.refuse(
            f"has several components per voxel (sizes {fields['sizes']})", "Export one grey value or label per voxel"
        )
    elif "space directions" not in fields:
        stated = f"spacings {fields['spacings']}" if "spacings" in fields else "not even spacings"
        found.warn(
            f"header has {stated} and no space directions",
            "Axes are taken to run to left, posterior and head from 0, and a spacing that is missing for 1 mm: check "
            "left and right",
        )
    elif "space" not in fields:
        found.warn(
            "header has space directions and names no space",
            "It is taken for left-posterior-superior: check left and right",
        )


def is_placed(fields: dict[str, str]) -> bool:
    """Whether a header says where in the patient its voxels lie; True where there is no NRRD header."""
    return not fields or {"space", "space directions", "space origin"} <= fields.keys()


def stored_segments(fields: dict[str, str]) -> list[StoredSegment]:
    """
    The segments that the header of a file of 3D Slicer names, in their order.

    Before Slicer 4.11 each had a layer of its own, and no label value. A file that this package has written, and Slicer
    saved again, has our label values in a tag.

    Args:
        fields: of :func:`nrrd_header`.
    """
    found = []
    for number in sorted(int(key[7:-3]) for key in fields if re.fullmatch(r"Segment\d+_ID", key)):
        own = {key: fields.get(f"Segment{number}_{key}", "") for key in _KEYS}
        tag = re.search(rf"(?:^|\|){OWN_VALUE}:(\d+)(?:\||$)", own["Tags"])
        stored = int(own["LabelValue"]) if own["LabelValue"].isdecimal() else 1
        layer = int(own["Layer"]) if own["Layer"].isdecimal() else number if fields.get("dimension") == "4" else 0
        name = own["Name"] or fields[f"Segment{number}_ID"]
        found.append(StoredSegment(layer, stored, int(tag[1]) if tag else None, name, _colour(own["Color"])))
    return found


def _colour(text: str) -> str:
    """``"#RRGGBB"`` of three numbers from 0 to 1; empty where they are none."""
    try:
        red, green, blue = (255 * float(part) for part in text.split())
        return colour_of(red, green, blue)
    except ValueError:  # Slicer itself takes any colour then
        return ""
