# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scribbles of one study: a mask of them at once, and the file that PRNet is trained with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.mask_file import write_mask
from monai_fss.apps.label_app.organs import listed_names
from monai_fss.apps.label_app.studies import Study
from monai_fss.apps.methods.ct_window import SOFT_TISSUE, looks_like_ct
from monai_fss.data import LoadScan, check_label, check_scan
from monai_fss.transforms import grow_scribbles

__all__ = [
    "BACKGROUND",
    "SCRIBBLES",
    "Grown",
    "Marks",
    "grow",
    "keep_marks",
    "merged_scribbles",
    "read_marks",
    "scribbled_study",
]

SCRIBBLES = "scribbles"
"""Tag of the scribbles in the datastore."""
BACKGROUND = 255
"""Their value for the background, as in scribbles that are simulated."""
FOREGROUND_NAME, BACKGROUND_NAMES = "foreground_scribbles", ("background_scribbles", "background")
MARGIN = 30.0
"""mm around the marks beyond which nothing grows."""
GROWTH: dict[str, Any] = {"limit": 50.0, "intensity_weight": 0.3, "iterations": 4}
"""Of :func:`monai_fss.transforms.grow_scribbles`: limit and iterations as PRNet's bundle has them, but ten times its
weight of the intensity, which is made for points that may lie wrong. Mean Dice on the first two scans of CHAOS T2,
simulated scribbles in five slices of each organ: 94.1 and 89.7; with PRNet's weight 93.3 and 88.8; with leaks removed
as PRNet removes them 91.9 and 88.0."""
BARRIER = 10.0
"""By how much organs that are segmented already are made brighter, of intensities of 0..1: growth goes around them. (As
seeds of the background they would take half of what lies between them and the scribbles.)"""


@dataclass(frozen=True)
class Marks:
    """
    What is marked on a scan.

    Args:
        organs: name of each organ to its voxels, bool (H, W, D).
        background: voxels that are none of them.
        others: voxels of other organs that are segmented already: nothing grows there, or through them.
        affine: 4 x 4, voxel index to mm in RAS+.
    """

    organs: Mapping[str, np.ndarray]
    background: np.ndarray
    others: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class Grown:
    """
    What grew from the marks.

    Args:
        mask: (H, W, D), uint8: 1, 2, ... in the order of ``names``.
        names: organs, name to value.
        affine: as of the marks.
    """

    mask: np.ndarray
    names: dict[str, int]
    affine: np.ndarray


def read_marks(image: Path, scribbles: Path, request: Mapping[str, Any]) -> Marks:
    """
    Tell what a file of scribbles marks.

    3D Slicer sends all segments in one file: ``foreground_scribbles`` are of the organ ``selected_label_name``, whose
    own segment is what shall be replaced; other segments are masks of other organs. Without a segment of that name each
    value is an organ's scribbles, and ``background`` those of the background.

    Args:
        image: the scan.
        scribbles: label file on its voxels.
        request: ``label_info`` (a list of name and id or idx), ``selected_label_name``.

    Raises:
        ScanError: a file cannot be read, or they do not belong together.
        UsageError: nothing is marked, or it is not said what.
    """
    values = tuple(check_label(scribbles, check_scan(image)).counts)
    loaded = LoadScan(as_label=True)(scribbles, like=image)
    voxels = np.asarray(loaded[0])
    names = listed_names(request, values)
    unnamed = [value for value in values if value not in names]
    if unnamed:
        raise UsageError(
            f"scribbles: no name is given for the value(s) {', '.join(map(str, unnamed))}. Send label_info, a list "
            'such as [{"name": "liver", "id": 1}, {"name": "background", "id": 2}].'
        )
    shown = {value: names[value] for value in values}
    nothing = np.zeros(voxels.shape, bool)
    background = np.isin(voxels, [value for value, name in shown.items() if name in BACKGROUND_NAMES])
    if FOREGROUND_NAME not in names.values():
        organs = {name: voxels == value for value, name in shown.items() if name not in BACKGROUND_NAMES}
        others = nothing
    else:
        selected = str(request.get("selected_label_name") or "organ")
        own = (FOREGROUND_NAME, selected, *BACKGROUND_NAMES)
        marked = np.isin(voxels, [value for value, name in shown.items() if name == FOREGROUND_NAME])
        organs = {selected: marked} if marked.any() else {}
        others = np.isin(voxels, [value for value, name in shown.items() if name not in own])
    if not organs:
        raise UsageError("scribbles: no organ is marked. Draw a line in it, and one around it for the background.")
    return Marks(organs, background, others, np.asarray(loaded.affine, dtype=float))


def grow(image: Path, marks: Marks) -> Grown:
    """
    Grow marks to masks: a voxel belongs to what is nearest by geodesic distance.

    Args:
        image: the scan. CT is clipped to soft tissue, other intensities to their 0th to 99.5th percentile.
        marks: on its voxels.
    """
    intensities = _scaled(image)
    spacing = np.linalg.norm(marks.affine[:3, :3], axis=0)
    names = {name: value for value, name in enumerate(marks.organs, 1)}
    seeds = np.zeros(intensities.shape, np.uint8)
    seeds[marks.background] = BACKGROUND
    for name, value in names.items():
        seeds[marks.organs[name]] = value
    intensities[marks.others] += BARRIER
    box = _box(np.any([*marks.organs.values()], axis=0), spacing)
    background = BACKGROUND if (seeds[box] == BACKGROUND).any() else None
    mask = np.zeros(intensities.shape, np.uint8)
    mask[box] = grow_scribbles(intensities[box], seeds[box], spacing.tolist(), background, **GROWTH)[0]
    mask[marks.others] = 0
    return Grown(mask, names, marks.affine)


def merged_scribbles(marks: Marks, organs: Mapping[str, int], before: np.ndarray | None) -> np.ndarray:
    """
    Scribbles of a study, one organ after another, in one label.

    Args:
        marks: drawn now. They take the place of what was drawn for the same organs.
        organs: common values, name to value; each organ of the marks is there.
        before: the label up to now, (H, W, D). What it has for the background stays where no organ is marked now.

    Returns:
        (H, W, D): values of the organs, :data:`BACKGROUND` for the background.

    Raises:
        UsageError: an organ has the value of the background.
    """
    if BACKGROUND in organs.values():
        name = next(name for name, value in organs.items() if value == BACKGROUND)
        raise UsageError(
            f"organ {name}: has the value {BACKGROUND}, that of the background's scribbles. Number it anew."
        )
    label = np.zeros(marks.background.shape, np.int16) if before is None else before.astype(np.int16)
    label[np.isin(label, [organs[name] for name in marks.organs])] = 0
    label[marks.background & (label == 0)] = BACKGROUND
    for name, marked in marks.organs.items():
        label[marked] = organs[name]
    return label


def keep_marks(store: Any, study: str, marks: Marks, organs: Mapping[str, int], image: Path) -> None:
    """
    Keep marks in the datastore, beside those that are kept there already.

    Args:
        store: of MONAI Label.
        study: its name.
        marks, organs: see :func:`merged_scribbles`.
        image: the study's scan.
    """
    before = store.get_label_uri(study, SCRIBBLES)
    known = LoadScan(as_label=True)(before, like=image)[0].numpy() if before and Path(before).is_file() else None
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{study}.nii.gz"
        write_mask(file, merged_scribbles(marks, organs, known), marks.affine, image)
        listed = [{"name": name, "idx": value} for name, value in organs.items()]
        store.save_label(study, str(file), SCRIBBLES, {"label_info": listed})


def scribbled_study(studies: Sequence[Study], name: str = "") -> Study:
    """
    The study whose scribbles PRNet is trained with.

    Args:
        studies: of the datastore, with the labels of the tag :data:`SCRIBBLES`.
        name: of the one that is wanted. Default: the only one.

    Raises:
        UsageError: there is none, or there are several and none is named.
    """
    marked = {study.name: study for study in studies if study.label is not None}
    if name and name not in marked:
        raise UsageError(f"support {name}: has no scribbles. Studies with scribbles: {', '.join(marked) or 'none'}.")
    if not name and len(marked) != 1:
        found = f"{len(marked)} studies have scribbles ({', '.join(marked)})" if marked else "no study has scribbles"
        remedy = "Name one with the parameter support" if marked else "Draw some and run the scribbles model first"
        raise UsageError(f"{found}. {remedy}.")
    return marked[name] if name else next(iter(marked.values()))


def _scaled(image: Path) -> np.ndarray:
    scan = check_scan(image)
    voxels = np.asarray(LoadScan()(image)[0], dtype=np.float32)
    low, high = SOFT_TISSUE if looks_like_ct(scan) else np.percentile(voxels, (0, 99.5))
    return np.clip((voxels - low) / max(high - low, 1e-6), 0, 1)


def _box(marked: np.ndarray, spacing: np.ndarray) -> tuple[slice, slice, slice]:
    places = np.argwhere(marked)
    beyond = np.ceil(MARGIN / spacing).astype(int)
    first = np.maximum(places.min(0) - beyond, 0)
    stop = np.minimum(places.max(0) + 1 + beyond, marked.shape)
    a, b, c = (slice(int(low), int(high)) for low, high in zip(first, stop, strict=True))
    return a, b, c
