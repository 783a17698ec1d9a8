# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""DICOM-SEG beside or instead of the NIfTI masks of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from monai_fss.data import ScanError, dicom_seg_problems, write_dicom_seg
from monai_fss.handlers.segment_report import QUALITY, read_quality

__all__ = ["dicom_problems", "write_dicom_masks"]


def dicom_problems(queries: Mapping[str, Path]) -> dict[str, list[str]]:
    """
    Every reason why masks of scans cannot be written as DICOM-SEG, for the start of a run.

    Args:
        queries: case name to scan, as of :func:`monai_fss.data.list_scans`.

    Returns:
        case name to its problems, without the cases that have none.
    """
    problems = {case: dicom_seg_problems(scan) for case, scan in queries.items()}
    return {case: own for case, own in problems.items() if own}


def write_dicom_masks(
    output: str | Path,
    queries: Mapping[str, Path],
    again: Iterable[str] = (),
    algorithm: str = "monai_fss",
    keep_nifti: bool = True,
    table: str = QUALITY,
) -> list[str]:
    """
    Write ``<case>.dcm`` from each ``<case>.nii.gz`` of a run that is done.

    The names of the segments are those of ``quality.csv``, so that every class that was asked for is a segment, found
    or not. Cases that have their ``<case>.dcm`` are passed over: an interrupted run goes on.

    Args:
        output: folder of the run.
        queries: case name to scan (a DICOM series), as of :func:`monai_fss.data.list_scans`.
        again: cases whose ``<case>.dcm`` is replaced if it exists: those segmented now.
        algorithm: name of the method, for the object.
        keep_nifti: keep ``<case>.nii.gz``. If not, they are removed after all objects have been written.
        table: name of the table. Default ``quality.csv``.

    Returns:
        the cases written.

    Raises:
        ScanError: a mask or its names are missing; see also :func:`monai_fss.data.write_dicom_seg`.
    """
    import nibabel as nib

    output, again = Path(output), set(again)
    names: dict[str, dict[int, str]] = {}
    for row in read_quality(output / table):
        names.setdefault(row["case"], {})[int(row["label"])] = row["name"]
    todo = [case for case in queries if case in again or not (output / f"{case}.dcm").exists()]
    missing = [case for case in todo if case not in names or not (output / f"{case}.nii.gz").exists()]
    if missing:
        raise ScanError(
            f"{output}: has no {missing[0]}.nii.gz, or no row of it in quality.csv ({len(missing)} case(s)). "
            "Segment the scans first."
        )
    for case in todo:
        mask = nib.Nifti1Image.from_filename(output / f"{case}.nii.gz")
        write_dicom_seg(
            np.asarray(mask.dataobj),
            np.asarray(mask.affine),
            queries[case],
            names[case],
            output / f"{case}.dcm",
            algorithm=algorithm,
        )
    if not keep_nifti:
        for case in queries:
            (output / f"{case}.nii.gz").unlink(missing_ok=True)
    return todo
