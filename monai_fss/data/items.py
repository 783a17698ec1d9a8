# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Data lists for MONAI's datasets."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_fss.data.cases import list_scans
from monai_fss.data.dataset import Case, chosen_cases
from monai_fss.data.problems import InputWarning, ScanError
from monai_fss.data.reading.scans import check_label, check_scan
from monai_fss.data.setting_2 import slice_runs
from monai_fss.digests import file_states

__all__ = [
    "case_item",
    "labelled_items",
    "labelled_organs",
    "query_items",
    "scan_item",
    "support_items",
    "training_items",
    "validation_items",
]


def scan_item(image: str | Path, label: str | Path | None = None) -> dict[str, Any]:
    """A data list item: ``image`` and, where given, ``label``; ``stamp`` tells a changed file from a cached one.

    ``PersistentDataset`` knows an item by its content, so the size and the times of change of the files, and of each
    slice of a series, belong to it. (No key may begin with ``image_`` or ``label_``: ``Spacingd`` would take it for
    meta data.)
    """
    files = {"image": Path(image)} | ({"label": Path(label)} if label else {})
    stamp = ";".join(_stamp(file) for file in files.values() if file.exists())
    return {key: str(file) for key, file in files.items()} | {"stamp": stamp}


def _stamp(file: Path) -> str:
    words = ";".join(",".join(map(str, state)) for state in file_states(file))
    return hashlib.sha256(words.encode()).hexdigest() if file.is_dir() else words


def case_item(case: Case) -> dict[str, Any]:
    """The item of a labelled case for evaluation: ``truth`` is the label once more, to be kept at full resolution.

    Raises:
        ScanError: the case has no label.
    """
    if case.label is None:
        raise ScanError(f"{case.image}: has no label. Add labels/{case.name}.nii.gz to evaluate it.")
    return scan_item(case.image, case.label) | {"truth": str(case.label), "case": case.name}


def training_items(
    folder: str | Path,
    cases: Sequence[str] | None = None,
    leave_out: Collection[int] | None = None,
    shortest: int = 2,
    labelled: bool = False,
) -> list[dict[str, Any]]:
    """Images to train on; for labelled episodes with their labels.

    These are not looked at, and no voxel is read (see :mod:`monai_fss.data.checks.preflight`), unless something
    is to be left out: then each run of neighbouring slices that show none of it is an item of its own, with its
    ``slices``
    ``[first, stop]``, see :func:`monai_fss.data.slice_runs` and :class:`monai_fss.transforms.SliceRanged`.

    Args:
        folder: data set folder.
        cases: names. Default: all.
        leave_out: label values whose slices are not trained on. Default: whole scans.
        shortest: slices of the shortest run that is left over then. Default 2; superpixels and labels need one.
        labelled: whether items are of the labelled scans alone, and have their ``label``. Default: images of all.

    Raises:
        ScanError: the folder is no data set, or has no such case; as :func:`monai_fss.data.slice_runs`.
    """
    chosen = chosen_cases(folder, cases)
    if labelled:
        chosen = [case for case in chosen if case.label is not None]
    if leave_out is None:
        return [_training_item(case, labelled) for case in chosen]
    return [_training_item(case, labelled) | {"slices": run} for case, run in slice_runs(chosen, leave_out, shortest)]


def _training_item(case: Case, labelled: bool) -> dict[str, Any]:
    return scan_item(case.image, case.label if labelled else None)


def validation_items(
    folder: str | Path,
    cases: Sequence[str] | None = None,
    queries: int = 3,
    leave_out: Collection[int] | None = None,
) -> list[dict[str, Any]]:
    """Labelled scans to validate on: the first is the support of the others.

    Args:
        folder: data set folder.
        cases: names to choose from. Default: all.
        queries: how many queries at most. 0 for no validation.
        leave_out: label values that the training must know nothing of (setting 2), nor the choice of its best network:
            scans that show no other class are passed over. Default: none.

    Returns:
        1 + queries items, or none where fewer than two scans are left.

    Warns:
        InputWarning: fewer than two of the labelled scans show a class that is not left out.
    """
    labelled = [case for case in chosen_cases(folder, cases) if case.label is not None]
    if leave_out is not None and queries > 0:
        labelled = [case for case in labelled if _shows_more(case, leave_out)]
        if len(labelled) < 2:
            warnings.warn(
                f"{folder}: {len(labelled)} labelled scan(s) show a class other than {', '.join(map(str, leave_out))}, "
                "so the training is not validated, and no best network is kept.",
                InputWarning,
                stacklevel=2,
            )
    if queries < 1 or len(labelled) < 2:
        return []
    return [case_item(case) for case in labelled[: queries + 1]]


def labelled_items(
    folder: str | Path, cases: Sequence[str] | None = None, most: int | None = None, without: str = ""
) -> list[dict[str, Any]]:
    """Labelled scans, to validate a method on that needs no support, or to train one on.

    Args:
        folder: data set folder.
        cases: names to choose from. Default: all.
        most: so many, the first ones. Default: all.
        without: a case that it has learnt from.
    """
    labelled = [case for case in chosen_cases(folder, cases) if case.label is not None and case.name != without]
    return [case_item(case) for case in (labelled if most is None else labelled[: max(most, 0)])]


def labelled_organs(
    folder: str | Path, cases: Sequence[str] | None = None, unseen: Collection[int] = ()
) -> dict[int, list[str]]:
    """What labelled episodes can be of.

    Args:
        folder: data set folder.
        cases: names to choose from. Default: all.
        unseen: label values that are tested.

    Returns:
        the other label values, rising, each with the names of the cases that show it.

    Raises:
        ScanError: there is none.
    """
    labelled = [case for case in chosen_cases(folder, cases) if case.label is not None]
    shown: dict[int, list[str]] = {}
    for case in labelled:
        assert case.label is not None
        for value in check_label(case.label, check_scan(case.image)).counts:
            if value and value not in unseen:
                shown.setdefault(value, []).append(case.name)
    if not shown:
        other = f" but {', '.join(map(str, sorted(unseen)))}, which are tested" if unseen else ""
        raise ScanError(
            f"{folder}: {len(labelled)} labelled training scans show no organ{other}, and episodes=labels learns from "
            "labelled ones. Label another organ, or set episodes=pseudo_labels."
        )
    return dict(sorted(shown.items()))


def _shows_more(case: Case, leave_out: Collection[int]) -> bool:
    assert case.label is not None
    return not set(check_label(case.label, check_scan(case.image)).counts) <= {0, *leave_out}


def query_items(images: str | Path | Iterable[str | Path] | Mapping[str, Path]) -> list[dict[str, Any]]:
    """Items of the scans of a folder, of a list of files, or of a mapping from case name to file."""
    if isinstance(images, (str, Path)):
        images = list_scans(images)
    files = images.values() if isinstance(images, Mapping) else images
    return [scan_item(file) for file in files]


def support_items(
    images: str | Path | Sequence[str | Path], labels: str | Path | Sequence[str | Path]
) -> list[dict[str, Any]]:
    """Items of one or several labelled scans; ``images`` and ``labels`` belong together in this order.

    Raises:
        ScanError: their numbers differ, or there is none.
    """
    image_list = [images] if isinstance(images, (str, Path)) else list(images)
    label_list = [labels] if isinstance(labels, (str, Path)) else list(labels)
    image_list, label_list = [f for f in image_list if str(f)], [f for f in label_list if str(f)]
    if not image_list or len(image_list) != len(label_list):
        raise ScanError(
            f"support: {len(image_list)} image(s) and {len(label_list)} label(s) were given. "
            "Give one label for each image, and at least one pair."
        )
    return [scan_item(image, label) for image, label in zip(image_list, label_list, strict=True)]
