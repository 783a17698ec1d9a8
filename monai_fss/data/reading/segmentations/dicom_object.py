# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""DICOM Segmentation objects as a volume of labels."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.data.cases import is_dicom_file
from monai_fss.data.problems import Findings
from monai_fss.data.reading.geometry import check_affine
from monai_fss.data.reading.nifti import Volume
from monai_fss.data.reading.volume import is_there
from monai_fss.data.segments.palette import colour_of
from monai_fss.data.segments.segment import Segment

__all__ = ["is_segmentation_object", "read_dicom_segments", "segments_of_object"]

DESCRIPTION = "label value {}"  # of a segment, in the objects that this package writes
_WRITTEN = re.compile(DESCRIPTION.format(r"(\d+)"))


def is_segmentation_object(path: Path) -> bool:
    """Tell whether a label is a DICOM file by itself: a series is a folder."""
    return path.is_file() and is_dicom_file(path)


def read_dicom_segments(path: Path, found: Findings) -> Volume | None:
    """
    Read a DICOM Segmentation object (needs pydicom and highdicom); every problem goes to ``found``.

    Args:
        path: the file.
        found: gets what is wrong: it is another object, fractional, or its segments overlap.

    Returns:
        label values (H, W, D) of the box of its frames: those of the segments' descriptions, as this package writes
        them, else the segments' numbers. None where it is refused.
    """
    if not is_there(path, found):
        return None
    if any(find_spec(package) is None for package in ("pydicom", "highdicom")):
        found.refuse(
            "is a DICOM object; to read one needs the packages pydicom and highdicom, which are not installed",
            "Install them: pip install 'monai-fss[dicom]'",
        )
        return None
    import highdicom

    try:
        stored = highdicom.seg.segread(path)
        if stored.SegmentationType == "FRACTIONAL":
            found.refuse("is a fractional segmentation", "Export it as a binary one or a label map")
            return None
        volume = stored.get_volume(combine_segments=True)
    except Exception as e:  # pydicom and highdicom raise many classes for what is no such object
        reason = (str(e).strip() or type(e).__name__).splitlines()[0].rstrip(".")
        found.refuse(f"cannot be read as a DICOM segmentation ({reason})", "Export it again, best as NIfTI")
        return None
    # (slices, rows, columns), and the affine of these axes in LPS+
    affine = np.diag((-1.0, -1.0, 1.0, 1.0)) @ np.asarray(volume.affine, dtype=float)
    if not check_affine(affine, found):
        return None
    values = [0, *(segment.value for segment in segments_of_object(stored))]
    numbers = [0, *(int(item.SegmentNumber) for item in stored.SegmentSequence)]
    table = np.zeros(max(numbers) + 1, np.int32)
    table[numbers] = values
    array = table[np.asarray(volume.array).astype(np.intp)]
    return Volume(array.shape, affine, array.dtype, array)


def segments_of_object(stored: Any) -> list[Segment]:
    """Value, name and colour (empty where it has none) of each segment of a pydicom data set."""
    items = stored.SegmentSequence
    told = [_WRITTEN.fullmatch(str(item.get("SegmentDescription") or "")) for item in items]
    ours = [int(match[1]) for match in told if match]
    written = len(ours) == len(items) == len(set(ours))
    return [
        Segment(ours[place] if written else int(item.SegmentNumber), str(item.SegmentLabel), _colour(item))
        for place, item in enumerate(items)
    ]


def _colour(item: Any) -> str:
    from highdicom.color import CIELabColor

    value = item.get("RecommendedDisplayCIELabValue")
    return "" if value is None else colour_of(*CIELabColor.from_dicom_value(tuple(value)).to_rgb())
