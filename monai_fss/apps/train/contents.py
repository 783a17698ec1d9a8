# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What the scans and labels of a training held, and whether they hold it still."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.method import Method
from monai_fss.data import DatasetFolder, InputWarning, case_name, list_scans
from monai_fss.digests import changes, digests

__all__ = [
    "CONTENTS",
    "HARMLESS",
    "PLACES",
    "case_files",
    "changed_text",
    "check_contents",
    "contents_known",
    "training_contents",
    "warn_unknown_contents",
]

CONTENTS = "files"
"""Key of a note that says what the scans and labels held. Notes of earlier versions lack it."""
PLACES = frozenset({"label_dir", "pretrained", "scribbles"})
"""Settings that are a file, or a folder of labels: what it holds counts, not where it lies."""
HARMLESS = frozenset({"cache_dir", "cache_num", "log_dir", "num_workers", "save_interval", "tensorboard"})
"""Settings that say how a training runs. The weights are the same with any of their values."""
_MOST = 10  # names in a message


def training_contents(
    method: Method,
    data: DatasetFolder,
    cases: Sequence[str] | None,
    merged: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    What a training reads held when it was started.

    Args:
        method: what is trained.
        data: data set.
        cases: names of those that it is trained on. Default: all. Those that the data set lacks are passed over.
        merged: every setting of the training.
        before: such a note of before, by which files of the same size and times are not read again.

    Returns:
        :func:`monai_fss.digests.digests` of all images, of the labels that are read (to learn from, by the validation,
        in setting 2, or where scribbles are made of them) and of files that settings name. Names are relative to the
        data set folder.
    """
    chosen = [data.cases[name] for name in (data.cases if cases is None else cases) if name in data.cases]
    files = {name: path for case in chosen for name, path in case_files(data, case.name, label=False).items()}
    for name in _labelled(method, data, [case.name for case in chosen], merged):
        files |= case_files(data, name)
    given = {key: Path(str(merged[key])) for key in sorted(PLACES) if merged.get(key)}
    files |= {f"{key}/{path.name}": path for key, path in given.items() if path.is_file()}
    if (folder := given.get("label_dir")) is not None and folder.is_dir():
        own = list_scans(folder)
        files |= {f"label_dir/{own[case.name].name}": own[case.name] for case in chosen if case.name in own}
    return digests(files, before)


def case_files(data: DatasetFolder, name: str, label: bool = True) -> dict[str, Path]:
    """The image of a case and, unless that is not wanted, its label, by their names relative to the data set folder."""
    case = data.cases[name]
    files = [case.image, *([case.label] if label and case.label is not None else [])]
    return {file.relative_to(data.root).as_posix(): file for file in files}


def check_contents(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], advice: str) -> None:
    """
    Refuse a training of other scans or labels than those that are there; what its note does not say is passed over.

    Args:
        folder: of the training.
        before: its note.
        now: what is asked for, with :func:`training_contents` under :data:`CONTENTS`.
        advice: what to do, such as "Give another --output."

    Raises:
        UsageError: with the names of the files that have changed, are new or are missing.
    """
    if CONTENTS not in before or CONTENTS not in now:
        return
    told = changes(before[CONTENTS], now[CONTENTS])
    if told:
        raise UsageError(f"{folder}: was trained on other scans: {changed_text(told)}. {advice}")


def warn_unknown_contents(folder: Path, before: Mapping[str, Any]) -> None:
    """Warn where the note of a training does not say what its scans held.

    Warns:
        InputWarning: as said.
    """
    if CONTENTS not in before:
        text = f"{folder}: its note does not say what the scans held, so whether they have changed since is not known."
        warnings.warn(text, InputWarning, stacklevel=3)


def contents_known(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """The settings of :data:`PLACES` of which two notes say what the files held, so that their places do not count."""
    old, new = (each.get(CONTENTS) or {} for each in (before, now))
    return {key for key in PLACES if all(any(name.startswith(f"{key}/") for name in each) for each in (old, new))}


def changed_text(told: Mapping[str, str]) -> str:
    """Names of changed files with what has become of them, and how many more there are."""
    words = [f"{name} ({what})" for name, what in told.items()]
    more = [f"and {len(words) - _MOST} more"] if len(words) > _MOST else []
    return ", ".join(words[:_MOST] + more)


def _labelled(method: Method, data: DatasetFolder, names: Sequence[str], merged: Mapping[str, Any]) -> list[str]:
    """Cases whose labels are read."""
    labelled = [name for name in names if data.cases[name].label is not None]
    queries = int(merged.get("val_queries") or 0)
    if method.is_supervised:
        return labelled[: max(queries, 0)] if merged.get("label_dir") else labelled
    if not method.needs_support:
        scribbles = str(merged.get("scribbles") or "")
        support = str(merged.get("support") or (case_name(scribbles) if scribbles else ""))
        if method.learns_from_one_scan:
            support = support or next(iter(labelled), "")
        elif method.recipe is not None:  # it may learn from labels
            return labelled
        validation = [name for name in labelled if name != support][: max(queries, 0)]
        return [name for name in labelled if name in validation or (name == support and not scribbles)]
    if merged.get("setting") == 2 or merged.get("episodes") == "labels":
        return labelled
    return labelled[: queries + 1] if queries > 0 and len(labelled) > 1 else []
