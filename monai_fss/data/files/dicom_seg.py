# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Masks as DICOM Segmentation objects that belong to the series they were drawn on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import monai_fss
from monai_fss.data.cases import is_dicom_folder
from monai_fss.data.files.atomic import atomic_path
from monai_fss.data.files.dicom_codes import coded_name
from monai_fss.data.problems import Findings, ScanError
from monai_fss.data.reading.dicom_series import check_series
from monai_fss.data.reading.geometry import affine_text, corner_distance, turned_to
from monai_fss.data.reading.segmentations.dicom_object import DESCRIPTION
from monai_fss.data.segments.palette import rgb
from monai_fss.data.segments.segment import Segment, segments_of

__all__ = ["dicom_seg_problems", "write_dicom_seg"]

# How far a mask may lie from its series, in voxels: NIfTI and DICOM round their numbers differently.
_SAME_PLACE = 0.05
_LABEL_LENGTH = 64
# A Segmentation object must have these, if only empty; anonymized series often lack them.
_MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator"),
)


def dicom_seg_problems(scan: str | Path) -> list[str]:
    """
    Say why a mask of a scan could not be written as DICOM-SEG, so that it is known before any is computed.

    Args:
        scan: the scan that is to be segmented.

    Returns:
        the problems; none where :func:`write_dicom_seg` can write it.
    """
    found = Findings(Path(scan))
    if any(find_spec(package) is None for package in ("pydicom", "highdicom")):
        found.refuse(
            "DICOM-SEG needs the packages pydicom and highdicom, which are not installed",
            "Install them: pip install 'monai-fss[dicom]'",
        )
    elif not is_dicom_folder(Path(scan)):
        found.refuse("is not a DICOM series, and a DICOM-SEG belongs to one", "Write its mask as NIfTI")
    else:
        _sources(Path(scan), found)
    return found.problems


def write_dicom_seg(
    mask: np.ndarray,
    affine: np.ndarray,
    series_folder: str | Path,
    names: Mapping[int, str],
    path: str | os.PathLike[str],
    *,
    algorithm: str = "monai_fss",
    version: str = "",
) -> Path:
    """
    Write a mask as a DICOM Segmentation object, whole or not at all.

    The object is of type BINARY, lies in the frame of reference of the series and names for each of its frames the
    slice (SOP instance) that it was drawn on. Frames without a voxel are left out, as is usual. Segments are numbered
    from 1 in the order of the label values, one for each of ``names`` whether it has voxels or not, in the colours of
    the palette; a segment's description tells its label value. Codes: see :func:`monai_fss.data.coded_name`.

    Args:
        mask: (H, W, D) label values, 0 is background, on the grid of the series. The order and direction of the axes
            do not matter: they are taken from ``affine``.
        affine: 4 x 4, voxel index to mm in RAS+.
        series_folder: folder of the series that was segmented.
        names: label value (1 or more) to name of at most 64 characters.
        path: the file to write or replace, ``<case>.dcm``.
        algorithm: name of the method.
        version: its version. Default: that of monai_fss.

    Returns:
        the file written.

    Raises:
        ScanError: pydicom or highdicom is not installed; the scan is not a DICOM series, or one without frame of
            reference; the mask is on another grid, has values without a name or that are no whole numbers; a name is
            too long.

    Example::

        mask = nibabel.load("masks/case_07.nii.gz")
        write_dicom_seg(np.asarray(mask.dataobj), mask.affine, "images/case_07", {1: "liver"}, "masks/case_07.dcm")
    """
    problems = dicom_seg_problems(series_folder)
    if problems:
        raise ScanError(problems)
    found = Findings(Path(path))
    sources, grid = _sources(Path(series_folder), Findings(Path(series_folder)))
    _check_names(mask, names, found)
    pixels = _on_grid(mask, affine, grid, (sources[0].Columns, sources[0].Rows, len(sources)), found)
    found.raise_if_any()
    values = sorted(names)
    numbers = np.searchsorted([0, *values], pixels).astype(np.uint8 if len(values) < 256 else np.uint16)
    who = (algorithm, version or monai_fss.__version__)
    segments = [_segment(number, organ, *who) for number, organ in enumerate(segments_of(names), 1)]
    segmentation = _segmentation(sources, numbers.transpose(2, 1, 0), segments, *who)
    with atomic_path(path) as temporary:
        segmentation.save_as(temporary)
    return Path(path)


def _segmentation(
    sources: Sequence[Any], numbers: np.ndarray, segments: Sequence[Any], algorithm: str, version: str
) -> Any:
    """The object for segment numbers of shape (slices, rows, columns)."""
    import highdicom
    from pydicom.uid import generate_uid

    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=np.ascontiguousarray(numbers),
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=1000 + int(sources[0].get("SeriesNumber") or 0),
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="monai_fss",
        manufacturer_model_name=algorithm,
        software_versions=version,
        device_serial_number="none",
        content_label="SEGMENTATION",
        content_description="Automatic segmentation, to be checked",
        series_description=f"Segmentation by {algorithm}"[:_LABEL_LENGTH],
        specific_character_set="ISO_IR 192",
    )


def _sources(folder: Path, found: Findings) -> tuple[list[Any], np.ndarray]:
    """The headers of the slices, along the slice axis, and the affine of their grid; nothing where it is refused."""
    import pydicom

    series = check_series(folder, found)
    if series is None or found.problems:
        return [], np.eye(4)
    slices = [pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in series.files]
    for keyword, name in (("FrameOfReferenceUID", "frame of reference"), ("StudyInstanceUID", "study UID")):
        if len({str(each.get(keyword) or "") for each in slices}) != 1 or not slices[0].get(keyword):
            found.refuse(f"series has no {name} that is common to its slices", "Write its mask as NIfTI")
    for each in slices:
        for keyword in _MAY_BE_EMPTY:
            if keyword not in each:
                setattr(each, keyword, None)
    return slices, series.affine


def _check_names(mask: np.ndarray, names: Mapping[int, str], found: Findings) -> None:
    known = ", ".join(f"{value} ({name})" for value, name in names.items()) or "none"
    for value in np.setdiff1d(np.unique(mask), [0, *names]):
        found.refuse(f"mask has the value {value:g}, which has no name; named are {known}", "Name every label value")
    for value, name in names.items():
        if value < 1 or not 0 < len(name) <= _LABEL_LENGTH:
            found.refuse(
                f"label {value} has the name {name!r}", f"Name values of 1 or more with 1 to {_LABEL_LENGTH} characters"
            )


def _on_grid(
    mask: np.ndarray, affine: np.ndarray, grid: np.ndarray, shape: Sequence[int], found: Findings
) -> np.ndarray:
    """Turn the axes of the mask into those of the series: columns, rows, slices."""
    turned, placed = turned_to(grid, mask, affine)
    if turned.shape != tuple(shape) or corner_distance(grid, placed, shape) > _SAME_PLACE:
        found.refuse(
            f"mask has shape {turned.shape} and affine {affine_text(placed)}, "
            f"its series has {tuple(shape)} and {affine_text(grid)}",
            "Give a mask on the grid of its series",
        )
    return turned


def _segment(number: int, organ: Segment, algorithm: str, version: str) -> Any:
    import highdicom
    from highdicom.color import CIELabColor
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    coded = coded_name(organ.name)
    segment = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=organ.name,
        segmented_property_category=Code(*coded.category),
        segmented_property_type=Code(*coded.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=algorithm, family=codes.DCM.ArtificialIntelligence, version=version
        ),
        display_color=CIELabColor.from_rgb(*rgb(organ.colour)),
    )
    segment.SegmentDescription = DESCRIPTION.format(organ.value)
    if coded.side:
        side = highdicom.sr.CodedConcept.from_code(Code(*coded.side))
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
    return segment
