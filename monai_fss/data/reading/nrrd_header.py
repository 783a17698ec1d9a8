# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What the text header of an NRRD file says of it, before ITK reads the voxels."""

from __future__ import annotations

import re
from pathlib import Path

from monai_fss.data.problems import Findings

__all__ = ["check_nrrd_header", "is_placed", "nrrd_header", "segment_names"]

_LONGEST = 1 << 20  # bytes of a header; 3D Slicer writes a kilobyte for each segment
_LAYERS = ("list", "vector")  # kinds of an axis that counts values of one voxel


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
            fields[key.strip()] = value.strip()
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
    segments = sum(re.fullmatch(r"Segment\d+_ID", key) is not None for key in fields)
    if layers and segments:
        found.refuse(
            f"is a segmentation of {segments} segment(s) in {layers[0]} layer(s) (4-D, sizes {fields['sizes']}): "
            "segments may overlap, and a voxel can have one label",
            "In 3D Slicer, export it to a label map (Segmentations: Export, Labelmap), or make its segments "
            "not overlap (Segment Editor: Masking, Modify other segments: Overwrite all) and save it again",
        )
    elif layers:
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


def segment_names(path: str | Path) -> dict[int, str]:
    """
    Names of the segments of a file of 3D Slicer.

    Args:
        path: any file; only ``.seg.nrrd`` is looked at.

    Returns:
        label value to name, of the segments that have both; empty for other files.
    """
    path = Path(path)
    if not path.name.lower().endswith(".seg.nrrd") or not path.is_file():
        return {}
    fields = nrrd_header(path)
    names: dict[int, str] = {}
    for key, value in fields.items():
        segment = re.fullmatch(r"(Segment\d+)_LabelValue", key)
        name = fields.get(f"{segment[1]}_Name", "") if segment else ""
        if segment and name and value.isdecimal() and int(value) > 0:
            names.setdefault(int(value), name)
    return names
