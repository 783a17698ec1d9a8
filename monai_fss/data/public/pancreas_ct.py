# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pancreas-CT of The Cancer Imaging Archive with the multi-organ labels of Gibson et al. (Zenodo record 1169361)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from monai_fss.data.cases import is_dicom_folder
from monai_fss.data.problems import Findings, ScanError
from monai_fss.data.public.folder import PublicSet, chosen_codes, write_public_set
from monai_fss.data.public.sources import LabelledScan, SourceCase, numbered, paired, read_pair

__all__ = ["PANCREAS_CT", "prepare_pancreas_ct"]

PANCREAS_CT = PublicSet(
    name="pancreas_ct",
    description="TCIA Pancreas-CT, abdominal CT in HU, multi-organ labels of Zenodo 1169361",
    modality="CT",
    labels={
        "spleen": 1,
        "left_kidney": 3,
        "gallbladder": 4,
        "esophagus": 5,
        "liver": 6,
        "stomach": 7,
        "pancreas": 11,
        "duodenum": 14,
    },
    size=43,
)
_CODES = {value: value for value in PANCREAS_CT.labels.values()}
_LAYOUT = (
    "The scans are PANCREAS_0001/<study>/<series>/*.dcm (or PANCREAS_0001.nii.gz), the labels label0002.nii.gz of "
    "label_tciapancreasct_multiorgan.tar.gz: give a folder above both"
)


def prepare_pancreas_ct(
    source: str | Path,
    output: str | Path,
    *,
    organs: Sequence[str] | None = None,
    folds: int = 5,
    ignore_origin: bool = False,
) -> Path:
    """
    Make a data set folder of the scans of TCIA Pancreas-CT that have multi-organ labels, each on its scan's grid.

    Labels whose axes run otherwise than the scan's are turned to it by both affines. The labels may be incomplete
    outside the boxes of the record's ``cropping.csv``, which is not applied.

    Args:
        source: folder that holds ``PANCREAS_<number>``, DICOM folders or NIfTI files, and ``label<number>.nii.gz`` of
            four digits, in any sub-folders. Scans without a label are left out.
        output: folder to make, new or empty.
        organs: names of :data:`PANCREAS_CT`; the others become background. Default: all eight.
        folds: runs of neighbours in the order of the numbers. Default: 5, so that three of them are the 60 % of
            PRNet's training.
        ignore_origin: believe a label's header but for where it begins: for scans that were converted by a program
            that moved or lost the origin. Its directions, spacing and shape must still be the scan's.

    Returns:
        ``output``.

    Raises:
        ScanError: nothing like the download in ``source``; a scan that is not one DICOM series; a label on another
            grid, with an unknown value, or with the pancreas alone (TCIA's own labels have the same names);
            ``output`` is not empty. Nothing is left behind.

    Warns:
        InputWarning: there are not 43 labelled scans.
    """
    labels = PANCREAS_CT.chosen(organs)
    scans = numbered(source, r"PANCREAS_(\d{4})(?:(?:_0000)?\.nii(?:\.gz)?)?", _LAYOUT)
    given = numbered(source, r"label(\d{4})\.nii(?:\.gz)?", _LAYOUT)
    read = partial(_read, codes=chosen_codes(_CODES, labels), ignore_origin=ignore_origin)
    return write_public_set(PANCREAS_CT, paired(source, scans, given, _LAYOUT), read, output, labels, folds)


def _read(case: SourceCase, codes: dict[int, int], ignore_origin: bool) -> LabelledScan:
    scan = read_pair(SourceCase(case.name, _series(case.image), case.label), _CODES, ignore_origin)
    if scan.label.max() <= 1:
        raise ScanError(
            f"{case.label}: shows no other value than 1. TCIA's labels of the pancreas alone are named like this: give"
            " the multi-organ labels of Zenodo record 1169361."
        )
    for value, target in codes.items():
        if not target:
            scan.label[scan.label == value] = 0
    return scan


def _series(path: Path) -> Path:
    """The scan file, or the one folder with DICOM files in or below a patient's folder."""
    if path.is_file():
        return path
    folders = [folder for folder in (path, *sorted(path.rglob("*"))) if is_dicom_folder(folder)]
    if len(folders) != 1:
        found = Findings(path)
        found.refuse(f"holds {len(folders)} folders with DICOM files, not one", "Leave the one series of the patient")
        found.raise_if_any()
    return folders[0]
