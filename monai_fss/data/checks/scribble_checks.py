# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Decides whether a scan and its scribbles can be propagated: enough is marked, in the body, in thin lines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_fill_holes

from monai_fss.data.checks.inputs import training_problems
from monai_fss.data.dataset import chosen_cases
from monai_fss.data.problems import Findings, ScanError
from monai_fss.data.reading.labels import read_label
from monai_fss.data.reading.nifti import Volume
from monai_fss.data.reading.scans import Label, Scan, check_label, check_scan, check_support
from monai_fss.data.reading.volume import read_volume
from monai_fss.data.scribbles import SIMULATED, scribble_item, scribble_values

__all__ = ["check_propagation", "check_scribbles"]

_DARK = 0.04  # share of the range from the 1st to the 99th percentile; ADNet's 10 of 255, see foreground_mask
_MANY = 20_000  # voxels: more than lines of a hand, even of a broad brush
_FILLED = 0.3
_IN_A_ROW = 5
_WIDE = 5  # voxels; straight lines fill the box around them, but that is narrow


def check_scribbles(image: str | Path, scribbles: str | Path, background: int | None = None) -> tuple[Scan, Label]:
    """
    Decide whether scribbles on a scan can be grown and propagated.

    Air is what is dark (not above the 1st percentile of the scan by more than 4 % of the range from there to the 99th)
    and joined to the border of its slice: dark organs, such as a vessel in MR, lie within the body and are none.

    Args:
        image: the scan.
        scribbles: label file on its grid: 0 where nothing is marked, a value for each class.
        background: the value that marks the background. Default: no value does.

    Returns:
        image and scribbles.

    Raises:
        ScanError: with every problem: those of :func:`check_scan` and :func:`check_label`; nothing is marked, or one
            class alone; ``background`` is not positive or not in the file; all marks of a class lie in the air.

    Warns:
        InputWarning: some marks of a class lie in the air (the background's may); a class looks like a whole mask:
            more than 20,000 voxels (the background's lines may: around many organs they are long), or over 30 % of the
            box around it (at least 5 voxels wide) in more than 5 slices in a row.
    """
    scan, problems = None, []
    try:
        scan = check_scan(image)
    except ScanError as error:
        problems = error.problems
    found = Findings(Path(scribbles), problems)
    try:
        label = check_label(scribbles, scan)
    except ScanError as error:
        found.problems += error.problems
    else:
        _check_classes(label, background, found)
        _check_marks(scan, label, background, found)
    found.raise_if_any()
    assert scan is not None  # raise_if_any() raises otherwise
    return scan, label


def check_propagation(
    folder: str | Path,
    support: str,
    scribbles: str | Path = "",
    background: int | None = None,
    cases: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
) -> None:
    """End the program with exit code 2 if a scan to train on or the scribbles are bad; for a bundle's ``initialize``.

    Args:
        folder: data set folder.
        support, scribbles: see :func:`monai_fss.data.scribble_item`. A mask to simulate scribbles from is checked
            as the label of a support.
        background: see :func:`check_scribbles`.
        cases: names of the scans to train on. Default: all.
        labels: label values wanted. Default: all that are marked.

    Raises:
        SystemExit: 2, after the problems have been printed, a line each.
    """
    problems = training_problems(folder, cases)
    try:
        chosen_cases(folder, cases)  # without a data set there are no scribbles to look at
        item = scribble_item(folder, support, scribbles)
        _check_marked(item, background, labels)
        if cases is not None and item["case"] not in cases:
            problems.append(f"cases: lack {item['case']}, which has the scribbles. Add it.")
    except ScanError as error:
        problems += error.problems
    if problems:
        print("\n".join(dict.fromkeys(problems)), file=sys.stderr)  # the scribbled scan may be one of the folder
        raise SystemExit(2)


def _check_marked(item: dict[str, Any], background: int | None, labels: Sequence[int] | None) -> None:
    """Scribbles, or a mask to simulate them from, and whether they mark what is wanted."""
    file = item["scribbles"]
    if item["simulated"]:
        counts = check_support(item["image"], file, labels)[1].counts
        value = SIMULATED if background is None else background
        if value in counts and (labels is None or value in labels):
            raise ScanError(
                f"{file}: has the label {value}, which the background's simulated scribbles get. Name the labels "
                "wanted with labels, or give the background another value."
            )
        return
    check_scribbles(item["image"], file, background)
    values = scribble_values(item, background, labels)
    if len(values) == 1 and background is None:
        raise ScanError(
            f"{file}: without the background, class {values[0]} alone is left of what is marked, and nothing keeps it "
            "from growing. Mark the background, or name more labels."
        )


def _check_classes(label: Label, background: int | None, found: Findings) -> None:
    """Refuse what growth cannot begin with."""
    present = ", ".join(map(str, label.counts))
    if not label.counts:
        found.refuse("no voxel is marked (all are 0)", "Draw lines on each organ and around them, in a few slices")
    elif background is not None and background < 1:
        found.refuse(
            f"background {background} cannot be marked: 0 is what is not marked, and no label is negative",
            f"Give the value of the background's scribbles; present are {present}",
        )
    elif background is not None and background not in label.counts:
        found.refuse(
            f"background {background} has no voxel; present are {present}",
            f"Mark the background with {background}, or give the value that marks it",
        )
    elif list(label.counts) == [background]:
        found.refuse(f"only the background ({background}) is marked", "Draw lines on at least one organ")
    elif len(label.counts) == 1:
        found.refuse(
            f"only class {present} is marked, so there is nothing to compare it with",
            "Mark the background with a value of its own and give that as background, or mark a second organ",
        )


def _check_marks(scan: Scan | None, label: Label, background: int | None, found: Findings) -> None:
    """Look at where the marks of each class lie."""
    marks = _array(read_label(label.path, None if scan is None else scan.grid, Findings(label.path)))
    air = None if scan is None else _air(_array(read_volume(scan.path, Findings(scan.path))), scan, marks)
    for value, count in label.counts.items():
        box = _box(marks == value)
        own = marks[box] == value
        name = f"the background ({value})" if value == background else f"class {value}"
        outside = 0 if air is None else int((own & air[box]).sum())
        if scan is not None and outside == count:
            found.refuse(
                f"all {count:,} voxels of {name} lie in the air of {scan.path}",
                "Check that they were drawn on that scan, and draw them within the body",
            )
        elif scan is not None and outside and value != background:
            found.warn(
                f"{outside:,} of the {count:,} voxels of {name} lie in the air of {scan.path}",
                "Check that they were drawn on that scan, and erase these",
            )
        if (count > _MANY and value != background) or _looks_filled(own):
            shown = int(own.any(axis=(0, 1)).sum())
            found.warn(
                f"{count:,} voxels in {shown} slices are of {name}, which looks like a whole mask",
                "Scribbles are thin lines in a few slices: draw such, or make them of the mask with "
                "monai_fss.transforms.scribbles_from_mask",
            )


def _array(volume: Volume | None) -> np.ndarray:
    assert volume is not None and volume.array is not None  # it has been checked
    return volume.array


def _box(marks: np.ndarray) -> tuple[slice, ...]:
    """The box around what is marked, bool (H, W, D)."""
    shown = [np.flatnonzero(marks.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return tuple(slice(int(found[0]), int(found[-1]) + 1) for found in shown)


def _air(image: np.ndarray, scan: Scan, marks: np.ndarray) -> np.ndarray:
    """Bool (H, W, D), in the slices that have marks."""
    bright = image > scan.low + _DARK * (scan.high - scan.low)
    air = np.zeros(image.shape, bool)
    for z in np.flatnonzero(marks.any(axis=(0, 1))):
        air[..., z] = ~binary_fill_holes(bright[..., z])
    return air


def _looks_filled(own: np.ndarray) -> bool:
    """Whether more than five slices in a row of a class, cut to its box, fill the box more than scribbles do."""
    if min(own.shape[:2]) < _WIDE or own.mean() <= _FILLED:
        return False
    shown = own.any(axis=(0, 1)).astype(int)
    runs = np.flatnonzero(np.diff(shown, prepend=0, append=0)).reshape(-1, 2)
    return bool(np.ptp(runs, axis=1).max() > _IN_A_ROW)
