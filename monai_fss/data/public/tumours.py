# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""LiTS and KiTS side by side: tumours of the liver to learn from, those of the kidney to find (OrganNet's Table 4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from monai_fss.data.problems import ScanError
from monai_fss.data.public.folder import PublicSet, write_public_set
from monai_fss.data.public.sources import LabelledScan, SourceCase, numbered, paired, read_pair

__all__ = ["LITS_KITS", "SPLIT", "SUPERVISED", "prepare_lits_kits"]

LITS_KITS = PublicSet(
    name="lits_kits",
    description="abdominal CT in HU: LiTS (liver and its tumours) and KiTS19 (kidneys and their tumours)",
    modality="CT",
    labels={"liver": 1, "liver_tumour": 2, "kidney": 3, "kidney_tumour": 4},
    size=131 + 210,
)
SPLIT, SUPERVISED = "split.json", "split_supervised.json"
"""Files beside dataset.json: one round that learns from LiTS, and one that learns from KiTS, with the same queries."""
_LITS, _KITS = {1: 1, 2: 2}, {1: 3, 2: 4}  # value in the download to value in the data set
_LAYOUT = (
    "LiTS has volume-<number>.nii and segmentation-<number>.nii, KiTS19 has case_<number>/imaging.nii.gz and "
    "case_<number>/segmentation.nii.gz: give a folder above both"
)
_TESTED = 5  # one case of so many


def prepare_lits_kits(source: str | Path, output: str | Path, *, ignore_origin: bool = False) -> Path:
    """
    Make one data set folder of the labelled scans of LiTS and of KiTS19, each on its own grid: nothing is resampled.

    ``split.json`` has one round: all of LiTS trains; of KiTS the last fifth, in the order of the numbers, are the
    queries (the paper takes 20 % at random), and the case before them is the support. ``split_supervised.json`` has the
    same queries, and all other cases of KiTS train: for the supervised network of Table 4.

    Args:
        source: folder that holds both downloads, unpacked, in any sub-folders. Scans without a segmentation, such as
            those of the test sets, are left out.
        output: folder to make, new or empty.
        ignore_origin: believe the segmentations' headers but for where they begin, see
            :func:`monai_fss.data.prepare_pancreas_ct`.

    Returns:
        ``output``, with the cases ``lits_<number>`` and ``kits_<number>``.

    Raises:
        ScanError: nothing like the downloads in ``source``, or one of them alone; fewer than 5 cases of KiTS; a
            segmentation on another grid, or with a value other than 0, 1 and 2; ``output`` is not empty. Nothing is
            left behind.

    Warns:
        InputWarning: there are not 131 and 210 labelled scans.
    """
    nifti = r"\.nii(?:\.gz)?"
    lits = _named("lits_", 3, source, rf"volume-(\d+){nifti}", rf"segmentation-(\d+){nifti}")
    kits = _named("kits_", 5, source, rf"case_(\d{{5}})/imaging{nifti}", rf"case_(\d{{5}})/segmentation{nifti}")
    if len(kits) < _TESTED:
        raise ScanError(f"{source}: holds {len(kits)} labelled case(s) of KiTS. Give {_TESTED} or more.")
    learnt, found = [case.name for case in lits], [case.name for case in kits]
    first = len(found) - len(found) // _TESTED
    queries, support = found[first:], found[first - 1]
    splits = {
        SPLIT: [{"train": learnt, "support": [support], "queries": queries}],
        SUPERVISED: [{"train": found[: first - 1], "support": [support], "queries": queries}],
    }

    def read(case: SourceCase) -> LabelledScan:
        return read_pair(case, _LITS if case.name.startswith("lits_") else _KITS, ignore_origin)

    return write_public_set(LITS_KITS, [*lits, *kits], read, output, LITS_KITS.labels, [learnt, found], splits)


def _named(prefix: str, digits: int, source: str | Path, image: str, label: str) -> list[SourceCase]:
    """The labelled cases of one of the two, in the order of their numbers."""
    images, labels = numbered(source, image, _LAYOUT), numbered(source, label, _LAYOUT)
    cases = paired(source, images, labels, _LAYOUT)
    return [
        replace(case, name=f"{prefix}{number:0{digits}d}") for case, number in zip(cases, sorted(labels), strict=True)
    ]
