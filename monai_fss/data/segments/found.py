# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Names and colours of the organs of a label file: in the file itself, or in a table beside it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from monai_fss.data.cases import case_name
from monai_fss.data.reading.nrrd_header import nrrd_header, stored_segments
from monai_fss.data.reading.segmentations.dicom_object import is_segmentation_object, segments_of_object
from monai_fss.data.reading.segmentations.layers import is_slicers, label_values_of
from monai_fss.data.segments.bids import DESCRIPTION_FILE
from monai_fss.data.segments.label_tables import read_ctbl, read_snap, read_tsv
from monai_fss.data.segments.segment import Segment

__all__ = ["TABLES", "segments_in", "tables_of"]

TABLES = "labels"
"""Name of the tables of a folder of masks, without suffix."""
_READERS = {".tsv": read_tsv, ".label": read_snap, ".ctbl": read_ctbl}


def segments_in(path: str | Path) -> list[Segment]:
    """
    Look up what a label file, or a table beside it, says of its organs.

    Args:
        path: a label file. A segmentation of 3D Slicer and a DICOM Segmentation object say it themselves (the latter
            needs pydicom). Of another the first table decides that there is, see :func:`tables_of`.

    Returns:
        the organs, a colour being empty where it is not said; none where nothing says it.
    """
    path = Path(path)
    if not path.is_file():
        return []
    if is_slicers(path):
        stored = stored_segments(nrrd_header(path))
        pairs = zip(label_values_of(stored), stored, strict=True)
        return [Segment(value, segment.name, segment.colour) for value, segment in pairs]
    if is_segmentation_object(path):
        return _of_object(path)
    table = next(tables_of(path), None)
    return [] if table is None else _READERS[table.suffix](table.read_text(encoding="utf-8", errors="replace"))


def tables_of(path: Path) -> Iterator[Path]:
    """
    Tables that belong to a label file, the nearest first.

    They are ``<case>.tsv``, ``.label`` (ITK-SNAP) and ``.ctbl`` (3D Slicer) beside it; those of its folder,
    ``labels.label`` and ``labels.ctbl``; and, in a BIDS data set, ``dseg.tsv`` in a folder above.
    """
    names = [f"{case_name(path)}{suffix}" for suffix in _READERS]
    names += [f"{TABLES}{suffix}" for suffix in (".label", ".ctbl")]
    yield from (path.with_name(name) for name in names if path.with_name(name).is_file())
    if not path.name.startswith("sub-"):
        return
    for folder in path.absolute().parents:
        if (folder / "dseg.tsv").is_file():
            yield folder / "dseg.tsv"
        if (folder / DESCRIPTION_FILE).is_file():
            return


def _of_object(path: Path) -> list[Segment]:
    if find_spec("pydicom") is None or find_spec("highdicom") is None:  # its reader says what is to be installed
        return []
    import pydicom

    stored = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    return segments_of_object(stored) if "SegmentSequence" in stored else []
