# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Writing a public set as a data set folder, whole or not at all."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monai_fss.data.dataset_json import DATASET_FILE
from monai_fss.data.files.atomic import STALE_PREFIX, write_json
from monai_fss.data.files.nifti_output import save_nifti
from monai_fss.data.files.output import check_output
from monai_fss.data.problems import InputWarning, ScanError
from monai_fss.data.public.sources import LabelledScan, SourceCase

__all__ = ["PublicSet", "chosen_codes", "write_public_set"]


@dataclass(frozen=True)
class PublicSet:
    """
    What is written into dataset.json, and how much of it there should be.

    Args:
        name: of the data set.
        description: one line about it.
        modality: ``"CT"`` or ``"MR"``.
        labels: organ name to value in the data set.
        size: labelled cases of the whole download.
    """

    name: str
    description: str
    modality: str
    labels: Mapping[str, int]
    size: int

    def chosen(self, organs: Sequence[str] | None) -> dict[str, int]:
        """
        The labels of some organs, in the order of the set.

        Args:
            organs: names; None for all.

        Raises:
            ValueError: a name that the set does not have.
        """
        unknown = sorted(set(organs or ()) - self.labels.keys())
        if unknown:
            raise ValueError(
                f"organs={list(organs or ())}: {self.name} has no {', '.join(unknown)}. Choose from"
                f" {', '.join(self.labels)}."
            )
        return {name: value for name, value in self.labels.items() if organs is None or name in organs}


def chosen_codes(codes: Mapping[int, int], labels: Mapping[str, int]) -> dict[int, int]:
    """The codes of a download, where organs that are not among ``labels`` become background (0)."""
    return {stored: value if value in labels.values() else 0 for stored, value in codes.items()}


def write_public_set(
    public: PublicSet,
    cases: Sequence[SourceCase],
    read: Callable[[SourceCase], LabelledScan],
    output: str | Path,
    labels: Mapping[str, int],
    folds: int | Sequence[Sequence[str]],
    splits: Mapping[str, Sequence[Mapping[str, Sequence[str]]]] | None = None,
) -> Path:
    """
    Convert all cases into ``images/``, ``labels/`` and ``dataset.json``.

    Everything is written beside ``output`` and moved there at the end: a download with a bad file, or an interruption,
    leaves no half data set.

    Args:
        public: the set.
        cases: in the order of the data set; the folds are runs of neighbours, as even as can be, the larger ones first.
        read: reads and converts one case, or raises ``ScanError``.
        output: where to; must not exist or be empty.
        labels: organ name to value, of the organs that are in the labels.
        folds: number of folds, or the names of the cases of each.
        splits: further files, name to rounds of a cross-validation, see :func:`monai_fss.data.make_folds`. Default:
            none.

    Returns:
        the folder.

    Raises:
        ScanError: ``output`` has something in it or cannot be written; fewer cases than folds; with every problem of
            every case.

    Warns:
        InputWarning: there are fewer or more cases than the public set has: its folds are not the papers' then.
    """
    output = Path(output).absolute()
    _check(public, cases, output, folds if isinstance(folds, int) else len(folds))
    unfinished = output.with_name(f"{STALE_PREFIX}{output.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        _write_cases(cases, read, unfinished)
        names = [case.name for case in cases]
        parts = np.array_split(names, folds) if isinstance(folds, int) else folds
        content = {
            "name": public.name,
            "description": public.description,
            "modality": public.modality,
            "labels": dict(labels),
            "folds": [[str(name) for name in fold] for fold in parts],
            "cases": names,
        }
        write_json(unfinished / DATASET_FILE, content)
        for name, rounds in (splits or {}).items():
            write_json(unfinished / name, {"folds": [{part: list(own) for part, own in one.items()} for one in rounds]})
        if output.is_dir():
            output.rmdir()
        unfinished.rename(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return output


def _check(public: PublicSet, cases: Sequence[SourceCase], output: Path, folds: int) -> None:
    check_output(output, [])
    if output.is_dir() and any(output.iterdir()):
        raise ScanError(f"{output}: is not empty. Give another folder, or empty it.")
    if not 1 <= folds <= len(cases):
        raise ScanError(f"{public.name}: {len(cases)} case(s) for {folds} folds. Give the whole download.")
    if len(cases) != public.size:
        warnings.warn(
            f"{public.name}: {len(cases)} labelled cases instead of {public.size}. The folds are not the papers'.",
            InputWarning,
            stacklevel=3,
        )


def _write_cases(cases: Sequence[SourceCase], read: Callable[[SourceCase], LabelledScan], folder: Path) -> None:
    """After the first bad case the others are only read, for their problems."""
    problems: list[str] = []
    for case in cases:
        try:
            scan = read(case)
        except ScanError as error:
            problems += error.problems
            continue
        if not problems:
            image = scan.image.astype(np.float32) if scan.image.dtype == np.float64 else scan.image
            save_nifti(folder / "images" / f"{case.name}.nii.gz", image, scan.affine, scan.source)
            save_nifti(folder / "labels" / f"{case.name}.nii.gz", scan.label, scan.affine, scan.source)
    if problems:
        raise ScanError(problems)
