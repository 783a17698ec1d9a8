# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Edited masks: whose they are, whether they can be labels, and what their values mean."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_fss.apps.correct.folder import SegmentedFolder
from monai_fss.apps.errors import UsageError
from monai_fss.data import LoadScan, ScanError, check_support, list_labels, segments_in
from monai_fss.data.files.nifti_output import save_nifti

__all__ = ["Edited", "check_edited", "given_labels", "named_path"]


@dataclass(frozen=True)
class Edited:
    """
    An edited mask that can be a label.

    Args:
        case: whose mask it is.
        scan: its scan.
        file: as it was given.
        values: value in the file to label value of the run, of those that differ.
    """

    case: str
    scan: Path
    file: Path
    values: Mapping[int, int]

    def save(self, path: Path) -> np.ndarray:
        """Write it as NIfTI on its scan's grid, with the label values of the run; return it, (H, W, D)."""
        label = LoadScan(as_label=True)(self.file, self.scan)
        array = label[0].numpy()
        mapped = array.copy()
        for value, other in self.values.items():
            mapped[array == value] = other
        save_nifti(path, mapped, label.affine.numpy(), self.scan)
        return mapped


def named_path(text: str, known: Collection[str], option: str) -> tuple[str, Path]:
    """Case and path of ``case_07=edited.nii.gz``; a name may have ``=`` in it: the longest one that is known is taken.

    Raises:
        UsageError: it does not begin with a case that is known, or has no path.
    """
    cuts = [place for place, sign in enumerate(text) if sign == "=" and text[:place] in known and text[place + 1 :]]
    if not cuts:
        raise UsageError(f"{option} {text}: is not CASE=FILE with one of the cases {_some(sorted(known))}.")
    return text[: cuts[-1]], Path(text[cuts[-1] + 1 :])


def given_labels(words: Sequence[str], folder: str | None, run: SegmentedFolder) -> dict[str, Path]:
    """Case to edited mask, of ``--label`` and ``--label-dir``.

    Raises:
        UsageError: none is given, one twice, or one is of no scan of the run.
    """
    given: dict[str, Path] = {}
    for word in words:
        case, path = named_path(word, run.scans, "--label")
        if given.setdefault(case, path) != path:
            raise UsageError(f"--label {word}: gives a second mask of {case}. Give one.")
    found = list_labels(folder) if folder else {}
    strange = sorted(found.keys() - run.scans.keys())
    if strange:
        raise UsageError(
            f"--label-dir {folder}: {_some(strange)}: no such scan in {run.output}, which has "
            f"{_some(list(run.scans))}. Name the masks by their scans."
        )
    return {**found, **given}


def check_edited(run: SegmentedFolder, given: Mapping[str, Path]) -> list[Edited]:
    """
    Judge edited masks as every label is judged, and find out what their values mean.

    Args:
        run: the folder.
        given: case to edited mask.

    Raises:
        ScanError: with every problem of all of them: as :func:`monai_fss.data.check_support`; values, or names, that
            the run does not have.
    """
    edited, problems = [], []
    for case, file in given.items():
        try:
            label = check_support(run.scans[case], file)[1]
            values = _meaning(file, label.counts, run.names)
            edited.append(Edited(case, run.scans[case], file, values))
        except ScanError as error:
            problems += error.problems
    if problems:
        raise ScanError(problems)
    return edited


def _meaning(file: Path, shown: Collection[int], names: Mapping[int, str]) -> dict[int, int]:
    """Value in the file to label value of the run, by name where the file names its organs, of those that differ."""
    known = {_plain(name): value for value, name in names.items()}
    own = {segment.value: segment.name for segment in segments_in(file)}
    meant = {value: known.get(_plain(own.get(value, "")), value) for value in shown}
    strange = [value for value, other in meant.items() if other not in names]
    if strange:
        told = ", ".join(f"{value} ({name})" for value, name in names.items())
        said = ", ".join(f"{value} ({own[value]})" if value in own else str(value) for value in strange)
        raise ScanError(f"{file}: has label value(s) {said}; the run has {told}. Draw with these.")
    if len(set(meant.values())) < len(meant):
        raise ScanError(
            f"{file}: values {', '.join(map(str, meant))} mean the run's {', '.join(map(str, meant.values()))} by name "
            "or value: two are one organ. Rename its organs, or draw with the run's values."
        )
    return {value: other for value, other in meant.items() if value != other}


def _plain(name: str) -> str:
    return "_".join(re.findall(r"\w+", name.lower().replace("_", " ")))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
