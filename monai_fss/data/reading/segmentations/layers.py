# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Segmentations of 3D Slicer (``.seg.nrrd``), of one layer or several, as one volume of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.data.problems import Findings
from monai_fss.data.reading.geometry import check_affine
from monai_fss.data.reading.itk_formats import reason_of
from monai_fss.data.reading.nifti import Volume
from monai_fss.data.reading.nrrd_header import StoredSegment, check_nrrd_header, is_placed, nrrd_header, stored_segments
from monai_fss.data.reading.volume import is_there, read_volume

__all__ = ["is_slicers", "label_values_of", "read_layers"]

_SUFFIX = ".seg.nrrd"
_BYTES = ("uchar", "unsigned char", "uint8", "uint8_t")  # NRRD's names of a type
_APART = (
    "In 3D Slicer, make its segments not overlap (Segment Editor: Masking, Modify other segments: Overwrite all) and "
    "save it again"
)


def is_slicers(path: Path) -> bool:
    """Tell by its name whether a file is a segmentation of 3D Slicer."""
    return path.name.lower().endswith(_SUFFIX)


def label_values_of(segments: Sequence[StoredSegment]) -> list[int]:
    """
    Label value of each segment.

    It is ours where the file was written by this package and saved by Slicer again, which may have changed what is
    stored. A segment that has been added has the value it is stored by, or the next that is free. Of other files it is
    the stored value where no two segments share it, and else the segment's place, from 1: in layers of its own each is
    stored by 1.
    """
    known = [segment.own for segment in segments]
    if not any(known):
        stored = [segment.stored for segment in segments]
        return stored if len(set(stored)) == len(stored) else list(range(1, len(stored) + 1))
    taken = {value for value in known if value}
    values = []
    for segment in segments:
        value = segment.own or segment.stored
        if not segment.own and value in taken:
            value = max(taken) + 1
        taken.add(value)
        values.append(value)
    return values


def read_layers(path: Path, found: Findings) -> Volume | None:
    """
    Read a segmentation of 3D Slicer; every problem goes to ``found``.

    Args:
        path: ``.seg.nrrd``.
        found: gets what is wrong: segments that overlap, two that stand for one label, a file without a voxel.

    Returns:
        label values, see :func:`label_values_of`, (H, W, D); None where it is refused. A file of one layer that stores
        the label values themselves is read as any NRRD file.
    """
    if not is_there(path, found):
        return None
    fields = nrrd_header(path)
    segments = stored_segments(fields)
    values = label_values_of(segments)
    if _is_one_layer(fields) and values == [segment.stored for segment in segments]:
        return read_volume(path, found)
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        names = [segment.name for segment, value in zip(segments, values, strict=True) if value == twice[0]]
        found.refuse(f"segments {', '.join(names)} all stand for label {twice[0]}", "Remove all but one of them")
        return None
    try:
        layers, affine = _layers(path, fields)
    except Exception as e:  # as in read_other: many classes, the reason kept
        found.refuse(f"cannot be read ({reason_of(e)})", "Save it again")
        return None
    if layers[..., 0].size == 1:  # Slicer's sign for a segmentation without a voxel
        found.refuse("has no voxel: its segments are empty", "Draw in it, or leave it out")
    elif check_affine(affine, found):
        if _is_one_layer(fields):
            check_nrrd_header(fields, found)
        _doubt_numbers(segments, values, found)
        label = _label(layers, segments, values, found)
        return None if label is None else Volume(label.shape, affine, label.dtype, label, is_placed(fields))
    return None


def _layers(path: Path, fields: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, D, layers) and the affine in RAS+. (ITK's own choice of a type is not wrapped for all numbers of them.)"""
    import itk
    from monai.data import ITKReader

    kind = itk.UC if fields.get("type") in _BYTES else itk.F
    reader: Any = itk.ImageFileReader[itk.VectorImage[kind, 3]].New(FileName=str(path))
    reader.Update()
    image = reader.GetOutput()
    columns, rows, slices = (int(size) for size in image.GetLargestPossibleRegion().GetSize())
    stored = np.array(itk.array_view_from_image(image)).reshape(slices, rows, columns, -1)
    return stored.transpose(2, 1, 0, 3), np.asarray(ITKReader().get_data(image)[1]["affine"], dtype=float)


def _is_one_layer(fields: Mapping[str, str]) -> bool:
    return fields.get("dimension") != "4"


def _doubt_numbers(segments: Sequence[StoredSegment], values: Sequence[int], found: Findings) -> None:
    if any(segment.own for segment in segments) or [segment.stored for segment in segments] == values:
        return
    told = ", ".join(f"{segment.name} {value}" for segment, value in zip(segments, values, strict=True))
    found.warn(
        "segments in several layers are stored by the same values", f"They are taken for labels in their order: {told}"
    )


def _label(
    layers: np.ndarray, segments: Sequence[StoredSegment], values: Sequence[int], found: Findings
) -> np.ndarray | None:
    """One volume of label values; None where segments overlap."""
    if max(segment.layer for segment in segments) >= layers.shape[-1]:
        found.refuse(f"names more layers than the {layers.shape[-1]} that it has", "Save it again")
        return None
    label = np.zeros(layers.shape[:3], np.int32 if max(values) > np.iinfo(np.int16).max else np.int16, order="F")
    names: Mapping[int, str] = {value: segment.name for value, segment in zip(values, segments, strict=True)}
    for segment, value in zip(segments, values, strict=True):
        inside = layers[..., segment.layer] == segment.stored
        both = inside & (label != 0)
        if both.any():
            other = names[int(label[both][0])]
            found.refuse(
                f"segments {other} and {segment.name} overlap in {int(both.sum())} voxel(s), and a voxel can have one "
                "label",
                _APART,
            )
            return None
        label[inside] = value
    nobody = int(((label == 0) & layers.any(-1)).sum())
    if nobody:
        found.warn(f"has {nobody} voxel(s) of values that no segment has", "They are taken for background")
    return label
