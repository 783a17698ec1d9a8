# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The file dataset.json of a data set folder."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai_fss.data.problems import Findings, InputWarning
from monai_fss.data.segments.found import segments_in

__all__ = ["DATASET_FILE", "Description", "label_names", "modality_of", "read_dataset_json"]

DATASET_FILE = "dataset.json"
_KNOWN = ("name", "description", "modality", "labels", "folds", "cases")
# What nnU-Net and the Medical Segmentation Decathlon write beside these, and nothing here depends on.
_PASSED_OVER = {"channel_names", "numTraining", "numTest", "training", "test", "file_ending", "tensorImageSize"}
_PASSED_OVER |= {"reference", "licence", "license", "release", "relase", "dataset_name", "converted_by", "citation"}
_PASSED_OVER |= {"overwrite_image_reader_writer"}


@dataclass
class Description:
    """
    What dataset.json says.

    Args:
        name: of the data set.
        description: one line about it.
        modality: such as ``"CT"`` or ``"MR"``; empty where unknown.
        labels: organ name to label value (1 or more).
        folds: case names, fold by fold, in order; empty where there are none.
        cases: the cases that belong to the set, in order; None takes all images.
    """

    name: str
    description: str = ""
    modality: str = ""
    labels: dict[str, int] = field(default_factory=dict)
    folds: tuple[tuple[str, ...], ...] = ()
    cases: tuple[str, ...] | None = None


def read_dataset_json(path: str | Path, found: Findings) -> Description:
    """
    Read and validate dataset.json; every problem goes to ``found``.

    Those of nnU-Net and of the Medical Segmentation Decathlon are read, too: labels of value 0 (``background``), labels
    as value to name, the modality as a list of channels (``channel_names``).

    Args:
        path: the file.
        found: gets wrong types and doubtful keys.

    Returns:
        what the file says; what is wrong in it is left at its default.
    """
    path = Path(path)
    description = Description(path.absolute().parent.name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        found.refuse(f"is not JSON ({e})", "Correct it at that place")
        return description
    if not isinstance(content, dict):
        found.refuse(f"holds a {type(content).__name__}, not an object", 'Write {"name": ..., "labels": {...}, ...}')
        return description
    unknown = [key for key in content if key not in _KNOWN and key not in _PASSED_OVER]
    if unknown:
        found.warn(f"keys {', '.join(map(repr, unknown))} are not read", f"Known keys are {', '.join(_KNOWN)}")
    content = {**content, "modality": _modality(content)}
    for key in ("name", "description", "modality"):
        value = content.get(key, getattr(description, key))
        if isinstance(value, str):
            setattr(description, key, value)
        else:
            found.refuse(f"{key!r} is {value!r}, not a text", "Put it in quotes")
    description.labels = _labels(content.get("labels", {}), found)
    description.folds = _folds(content.get("folds", []), found)
    if "cases" in content:
        description.cases = _names(content["cases"], "'cases'", found)
    return description


def label_names(labels: Iterable[str | Path]) -> dict[int, str]:
    """
    Look up what label values mean.

    Args:
        labels: label files. Those in the folder labels/ of a data set have the names of its dataset.json, others
            those that they bring, see :func:`monai_fss.data.segments_in`.

    Returns:
        value to name; empty where nothing names them. The first file that names a value decides.

    Raises:
        ScanError: a dataset.json is damaged.

    Warns:
        InputWarning: two label files give a value different names: they may mean different organs.
    """
    names: dict[int, str] = {}
    for label in map(Path, labels):
        described = _described(label)
        if described is None:
            own = {segment.value: segment.name for segment in segments_in(label)}
        else:
            own = {value: name for name, value in described.labels.items()}
        for value in (value for value in own if names.get(value, own[value]) != own[value]):
            text = f"{label}: calls label {value} {own[value]}, which is {names[value]} in the label before"
            warnings.warn(f"{text}. Are they the same organ?", InputWarning, stacklevel=2)
        names = own | names
    return names


def modality_of(labels: Iterable[str | Path]) -> str:
    """The modality of the first of some label files that lies in a data set whose dataset.json says one; else empty.

    Raises:
        ScanError: a dataset.json is damaged.
    """
    for label in map(Path, labels):
        described = _described(label)
        if described is not None and described.modality:
            return described.modality
    return ""


def _described(label: Path) -> Description | None:
    """What the dataset.json says of the data set in whose folder labels/ a label file lies; None outside of one."""
    folder = label.absolute().parent
    path = folder.parent / DATASET_FILE
    if folder.name != "labels" or not path.is_file():
        return None
    found = Findings(path)
    described = read_dataset_json(path, found)
    found.raise_if_any()
    return described


def _labels(value: Any, found: Findings) -> dict[str, int]:
    remedy = 'Write {"liver": 1, "spleen": 2}: name to value, 1 or more, each value once'
    if isinstance(value, dict) and any(isinstance(v, list) for v in value.values()):
        found.refuse(f"'labels' is {value!r}: regions of several values are not known here", remedy)
        return {}
    if isinstance(value, dict):
        pairs = [_name_and_value(key, v) for key, v in value.items()]
        value = {name: v for name, v in pairs if v != 0 or v is False} if len(dict(pairs)) == len(pairs) else value
    good = isinstance(value, dict) and all(isinstance(v, int) and v is not True and v > 0 for v in value.values())
    if not good or len(set(value.values())) != len(value):
        found.refuse(f"'labels' is {value!r}", remedy)
        return {}
    return dict(value)


def _name_and_value(key: str, value: Any) -> tuple[str, Any]:
    """Of ``"liver": 1``, or of the Decathlon's ``"1": "liver"``."""
    if isinstance(value, str) and key.isdecimal() and not value.isdecimal():
        return value, int(key)
    return key, value


def _modality(content: dict[str, Any]) -> Any:
    """A text: as it stands, or the channels of nnU-Net's or the Decathlon's list."""
    value = content.get("modality", content.get("channel_names", ""))
    if isinstance(value, dict) and all(isinstance(name, str) for name in value.values()):
        return ", ".join(value.values())
    return value


def _folds(value: Any, found: Findings) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list):
        found.refuse(f"'folds' is {value!r}, not a list", 'Write [["case_1", "case_2"], ["case_3", "case_4"]]')
        return ()
    before = len(found.problems)
    folds = tuple(_names(fold, f"fold {i}", found) for i, fold in enumerate(value))
    home: dict[str, int] = {}
    for i, fold in enumerate(folds):
        for name in fold:
            if home.setdefault(name, i) != i:
                found.refuse(f"case {name!r} is in fold {home[name]} and in fold {i}", "Keep it in one fold")
    return folds if len(found.problems) == before else ()


def _names(value: Any, what: str, found: Findings) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        found.refuse(f"{what} is {value!r}, not a list of case names", 'Write ["case_1", "case_2"]')
        return ()
    twice = sorted({name for name in value if value.count(name) > 1})
    if twice:
        found.refuse(f"{what} names {', '.join(twice)} more than once", "Name each case once")
    return tuple(value)
