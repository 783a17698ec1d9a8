# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Notes beside the results of several methods: what was asked for, and whether a table may be made again."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.train.contents import CONTENTS, case_files, changed_text
from monai_fss.data import DatasetFolder, Fold, InputWarning
from monai_fss.data.files.writer import write_json
from monai_fss.digests import changes, digests
from monai_fss.results.files import RESULT_FILES, read_results

__all__ = [
    "check_parts",
    "evaluated_contents",
    "is_done",
    "method_folder",
    "table_grows",
    "what_is_asked",
    "write_asked",
]

ASKED = "evaluation.json"
_OF_EACH = {"bundle", "recipe", "settings", "support_slices"}  # in which the evaluations of one table may differ
_PLACE = "data"  # of the data set; what it holds is compared by its contents
_NOT_ASKED = {"cache_dir", "command", "device", "data", "method", "spread"}  # the place of the data is in the content
_BEFORE = {
    "ep1_rule": "shown",
    "anchor_rule": "split",
    "tolerances": {},
}  # what earlier notes do not say, since there was no other
_LONGEST = 100  # characters of the name of a folder
_ADVICE = "Give another --output, or --overwrite to evaluate again."


def what_is_asked(evaluation: Evaluation, content: Mapping[str, Any]) -> dict[str, Any]:
    """What the results of a method depend on, as JSON values.

    Args:
        evaluation: of the method.
        content: of the data set, and the budget.
    """
    own = asdict(evaluation)
    own |= {key: value for key, value in own["method"].items() if key != "values"}  # which are among the settings
    own = {key: value for key, value in own.items() if key not in _NOT_ASKED}
    asked: dict[str, Any] = json.loads(json.dumps({**own, **content}))
    return asked


def evaluated_contents(data: DatasetFolder, folds: Iterable[Fold]) -> dict[str, Any]:
    """What the images and labels of folds hold, see :func:`monai_fss.digests.digests`."""
    used = {name for fold in folds for name in (*fold.train, *fold.support, *fold.queries)}
    return digests({file: path for name in data.cases if name in used for file, path in case_files(data, name).items()})


def method_folder(method: str) -> str:
    """Name of the folder of a method, such as "crapnet-blocks=7"; of one that no folder can have, its beginning and a
    digest."""
    name = method.replace(":", "-")
    plain = re.sub(r"[^A-Za-z0-9_.,=+\[\]-]", "_", name)
    if plain == name and len(name) <= _LONGEST:
        return name
    return f"{plain[:_LONGEST]}-{hashlib.sha256(method.encode()).hexdigest()[:8]}"


def write_asked(folder: Path, asked: Mapping[str, Any], finished: bool, contents: Mapping[str, Any]) -> None:
    """Leave the note in a method's folder, which is made when missing.

    Args:
        folder: of the method.
        asked: :func:`what_is_asked` of it.
        finished: whether its results are there.
        contents: :func:`evaluated_contents`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ASKED, {"asked": asked, "finished": finished, CONTENTS: contents})


def is_done(folder: Path) -> bool:
    """Whether a method's folder holds its results; see :func:`check_parts`, which must have passed."""
    return _has_results(folder) and bool(_note(folder).get("finished"))


def check_parts(output: Path, asked: Mapping[str, Mapping[str, Any]], contents: Mapping[str, Any]) -> None:
    """Refuse results, and evaluations that were cut short, of other evaluations or scans than those asked for.

    Args:
        output: folder of all methods.
        asked: :func:`what_is_asked` of each method.
        contents: :func:`evaluated_contents` now. Where the data set lies does not count.

    Raises:
        UsageError: one problem for each method.

    Warns:
        InputWarning: the note of a method, of an earlier version, does not say what the scans held.
    """
    problems = []
    for name, now in asked.items():
        folder = output / method_folder(name)
        note = _note(folder)
        if not note:
            if _has_results(folder):
                problems.append(f"{folder}: holds another evaluation: it has results but no {ASKED}. {_ADVICE}")
            continue
        before = dict(note["asked"])
        if CONTENTS in note:
            before[_PLACE] = now.get(_PLACE)
        else:
            text = f"{folder}: its {ASKED} does not say what the scans held, so whether they have changed is not known."
            warnings.warn(text, InputWarning, stacklevel=2)
        told = changes(note.get(CONTENTS, contents), contents)
        if before != now:
            problems.append(f"{folder}: {_difference(before, now)}. {_ADVICE}")
        elif told:
            problems.append(f"{folder}: is an evaluation of other scans or labels: {changed_text(told)}. {_ADVICE}")
    if problems:
        raise UsageError(problems)


def table_grows(output: Path, asked: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the results in a folder are of methods in it, evaluated as is asked for now, so that nothing is lost.

    Args:
        output: folder of all methods.
        asked: :func:`what_is_asked` of each method.

    Raises:
        UsageError: they are, but a method of them is not asked for now.
    """
    try:
        names = str(read_results(output).settings["bundle"]).split(", ")
    except (FileNotFoundError, ValueError):
        return False
    wanted = _common(next(iter(asked.values())))
    parts = [_note(output / method_folder(name)).get("asked", {}) for name in names]
    if len(names) < 2 or any(_common(part) != wanted for part in parts):
        return False
    lost = [name for name in names if name not in asked]
    if lost:
        every = " ".join([*names, *(name for name in asked if name not in names)])
        raise UsageError(
            f"{output}: its table also has {', '.join(lost)}, which would be lost. Name all (--bundle {every}), "
            "give another --output, or --overwrite."
        )
    return True


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In which values two evaluations differ, and what the note of the former does not say."""
    unknown = [key for key in now if key not in before]
    differing = [
        "other folds" if key == "folds" else f"{key} was {before[key]}, now {now[key]}"
        for key in now
        if key in before and before[key] != now[key]
    ]
    differing += [f"{key} was {before[key]}, now unknown" for key in before if key not in now]
    text = "holds another evaluation" + (f" ({'; '.join(differing)})" if differing else "")
    if not unknown:
        return text
    return f"{text}, or one of an earlier version: its {ASKED} says nothing of {', '.join(unknown)}"


def _common(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in asked.items() if key not in {*_OF_EACH, _PLACE}}


def _has_results(folder: Path) -> bool:
    return (folder / RESULT_FILES[0]).exists()


def _note(folder: Path) -> dict[str, Any]:
    """What :func:`write_asked` left; empty where there is no note."""
    note = folder / ASKED
    if not note.exists():
        return {}
    found: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
    return {**found, "asked": {**_BEFORE, **found.get("asked", {})}}
