# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Setting 2 of the papers: slices that show a class which is tested later are left out of the training."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from monai_fss.data.dataset import Case
from monai_fss.data.problems import Findings, InputWarning, ScanError
from monai_fss.data.reading.labels import read_label
from monai_fss.data.reading.scans import check_scan
from monai_fss.data.reading.voxels import count_values

__all__ = ["left_out_classes", "slice_runs"]

# A slice of a sheared scan is a mixture of stored slices: less than this share of one does not count.
_SHARE = 1e-3


def left_out_classes(setting: int, test_classes: Sequence[int], labelled: bool = False) -> list[int] | None:
    """What a training configuration asks to leave out.

    Args:
        setting: 1: test classes may show, unlabelled, in training slices; 2: slices that show one are left out.
        test_classes: label values, for setting 2.
        labelled: whether episodes are of labelled organs, which no test class is in either setting: it is background
            there (see :class:`monai_fss.data.LabelledEpisodes`). Default: they are of pseudo-labels.

    Returns:
        the values whose slices are left out, or None in setting 1, where none is.

    Raises:
        ValueError: another setting; setting 2 without classes; setting 1 with classes, which it would ignore; a class
            that is no positive whole number.
    """
    classes = list(test_classes or ())
    if isinstance(setting, bool) or setting not in (1, 2):
        raise ValueError(f"setting={setting!r}: is unknown. Give 1, or 2 to leave out slices that show test classes.")
    if setting == 1 and classes and not labelled:
        raise ValueError(f"test_classes={classes}: would be ignored in setting 1. Give setting=2, or leave them out.")
    if setting == 2 and not classes:
        raise ValueError("setting=2: leaves nothing out without test classes. Give label values, test_classes=[2,3].")
    odd = [value for value in classes if not isinstance(value, int) or isinstance(value, bool) or value < 1]
    if odd:
        raise ValueError(f"test_classes={classes}: {odd[0]} is no label value. Give positive whole numbers.")
    return (classes or None) if setting == 2 else None


def slice_runs(cases: Sequence[Case], leave_out: Collection[int], shortest: int = 2) -> list[tuple[Case, list[int]]]:
    """Runs of neighbouring slices that show none of some classes.

    Slices are counted as training sees them, along the last axis after :class:`~monai_fss.transforms.SliceOrientation`,
    whatever the order in which the scan is stored. One voxel of a class is enough to leave a slice out, as in the code
    of Ouyang et al. (ECCV 2020).

    Args:
        cases: scans to train on, each with its label.
        leave_out: label values.
        shortest: slices of the shortest run that is kept. Default 2: a slice between two that are left out is left out
            with them, since pseudo-labels of 3-D need a neighbour. Superpixels need none: 1.

    Returns:
        case and ``[first, stop]`` of each run, in the order of the cases and slices.

    Raises:
        ScanError: ``leave_out`` is empty; a scan has no label, or an unreadable one; a value is in none of the labels;
            no run is left in any scan.

    Warns:
        InputWarning: no run is left in a scan.
    """
    if not leave_out:
        raise ScanError("test_classes: are empty in setting 2. Give label values, such as test_classes=[2,3].")
    shown = _shown(cases, leave_out)
    _check_present(cases, shown, leave_out)
    runs = [(case, run) for case, (_, slices) in zip(cases, shown, strict=True) for run in _runs(~slices, shortest)]
    text = ", ".join(map(str, leave_out))
    if not runs:
        raise ScanError(
            f"{_labels_folder(cases)}: no scan has {'a ' * (shortest == 1)}{_what(shortest)} none of {text}. Leave out "
            "fewer classes, or train in setting 1."
        )
    kept = {case.name for case, _ in runs}
    for case in [case for case in cases if case.name not in kept]:
        warnings.warn(
            f"{case.label}: has no {_what(shortest)} none of {text}. {case.name} is not trained on.",
            InputWarning,
            stacklevel=3,
        )
    return runs


def _shown(cases: Sequence[Case], leave_out: Collection[int]) -> list[tuple[set[int], np.ndarray]]:
    """For each case the values of its label, and of each slice whether it shows one of ``leave_out``."""
    shown, problems = [], []
    for case in cases:
        if case.label is None:
            problems.append(
                f"{case.image}: has no label, so slices that show test classes cannot be left out of it. Add "
                f"labels/{case.name}.nii.gz, or do not train on it."
            )
            continue
        try:
            shown.append(_shown_in(case.image, case.label, leave_out))
        except ScanError as error:
            problems += error.problems
    if problems:
        raise ScanError(problems)
    return shown


def _shown_in(image: Path, label: Path, leave_out: Collection[int]) -> tuple[set[int], np.ndarray]:
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Spacing

    from monai_fss.transforms import SliceOrientation

    found = Findings(label)
    volume = read_label(label, check_scan(image).grid, found)
    found.raise_if_any()
    assert volume is not None and volume.array is not None  # raise_if_any() raises otherwise
    mask = torch.from_numpy(np.isin(volume.array, list(leave_out)).astype(np.float32))
    oriented = SliceOrientation()(MetaTensor(mask[None], affine=torch.as_tensor(volume.affine)))
    # As in the bundles: nothing changes unless the scan is sheared, whose slices it sets upright.
    spaced = Spacing(pixdim=(-1, -1, -1), mode="bilinear", dtype=np.float32)(oriented)
    return set(count_values(volume.array)), np.asarray(spaced.amax((0, 1, 2)) > _SHARE)


def _check_present(
    cases: Sequence[Case], shown: Sequence[tuple[set[int], np.ndarray]], leave_out: Collection[int]
) -> None:
    present = sorted(set().union(*(values for values, _ in shown)))
    absent = [value for value in leave_out if value not in present]
    if absent:
        raise ScanError(
            f"{_labels_folder(cases)}: no training scan shows {', '.join(map(str, absent))}; they show "
            f"{', '.join(map(str, present)) or 'nothing'}. Correct test_classes."
        )


def _what(shortest: int) -> str:
    number = {2: "two"}.get(shortest, str(shortest))
    return "slice that shows" if shortest == 1 else f"{number} neighbouring slices that show"


def _labels_folder(cases: Sequence[Case]) -> Path | str:
    return next((case.label.parent for case in cases if case.label is not None), "labels")


def _runs(free: np.ndarray, shortest: int) -> list[list[int]]:
    """[first, stop] of every run of at least so many true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], free.astype(np.int8), [0]))))
    return [[int(first), int(stop)] for first, stop in edges.reshape(-1, 2) if stop - first >= shortest]
