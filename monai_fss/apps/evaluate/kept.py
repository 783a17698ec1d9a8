# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What is kept of a training in the folder of a fold: done, cut short, and whether it is the one that is asked for."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.methods.ct_window import training_window
from monai_fss.apps.train.contents import CONTENTS, HARMLESS, check_contents, contents_known, training_contents
from monai_fss.apps.train.files import check_files
from monai_fss.apps.train.run_folder import RUN_JSON
from monai_fss.data import DatasetFolder, Fold

__all__ = ["check_kept", "is_finished", "is_interrupted", "read_note", "training_cases"]

_ADVICE = "Give another --models, or remove it."


def read_note(folder: Path) -> dict[str, Any]:
    """The note of the training in a folder; empty where there is none."""
    path = folder / RUN_JSON
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def is_finished(folder: Path, before: Mapping[str, Any]) -> bool:
    """Whether a training, by its note, is done and has left its model."""
    return bool(before.get("finished")) and (folder / "model.pt").exists()


def is_interrupted(folder: Path, before: Mapping[str, Any]) -> bool:
    """Whether a training, by its note, was cut short after a checkpoint, so that it can go on."""
    return bool(before) and not is_finished(folder, before) and any((folder / "checkpoints").glob("*.pt"))


def training_cases(evaluation: Evaluation, fold: Fold) -> list[str]:
    """Scans that a fold is trained on: where the labelled scan is learnt from, that one too; the queries if wanted."""
    method = evaluation.method
    own = [] if method.needs_support or method.is_supervised else list(fold.support)
    return [*fold.train, *own, *(fold.queries if evaluation.transductive else [])]


def check_kept(
    folder: Path,
    before: dict[str, Any],
    evaluation: Evaluation,
    data: DatasetFolder,
    fold: Fold,
    settings: dict[str, Any],
) -> None:
    """Refuse a training that is done, or would go on, if it is not the one that is asked for.

    Args:
        folder: of the training; it need not exist.
        before: its note, see :func:`read_note`.
        evaluation: what is evaluated.
        data: data set.
        fold: its training cases are those of the training.
        settings: of the training; those that cannot change the weights do not count.

    Raises:
        UsageError: it is of another bundle, recipe or data set, by files or scans that have changed since, or with
            other settings or cases.
    """
    if not (is_finished(folder, before) or is_interrupted(folder, before)):
        return
    known = CONTENTS in before
    _check_source(folder, before, evaluation, None if known else data.root.absolute().name)
    method = evaluation.method
    check_files(folder, before, method.note(), _ADVICE)
    window = training_window(data.modality, method.known, settings)
    if not data.modality and "window" not in settings:  # the training looked at its scans
        window = {key: value for key, value in before["settings"].items() if key == "window"}
    cases, settings = training_cases(evaluation, fold), {**settings, **window}
    now: dict[str, Any] = {}
    if known:
        merged = {**method.known, **settings}
        now = {CONTENTS: training_contents(method, data, cases, merged, before[CONTENTS])}
    _check_same(folder, before, settings, cases, HARMLESS | contents_known(before, now))
    check_contents(folder, before, now, _ADVICE)


def _check_source(folder: Path, before: dict[str, Any], evaluation: Evaluation, data: str | None) -> None:
    """Two data sets may name their cases alike; where it is not known what these held (``data``), the name of the
    folder tells them apart wherever it lies."""
    old, new = (
        ":".join(filter(None, pair))
        for pair in (
            (str(before.get("bundle")), before.get("recipe")),
            (evaluation.method.bundle, evaluation.method.recipe),
        )
    )
    place = Path(str(before.get("data"))).name
    if data is None and old != new:
        raise UsageError(f"{folder}: was trained with {old}, not with {new}. {_ADVICE}")
    if data is not None and (old, place) != (new, data):
        raise UsageError(f"{folder}: was trained with {old} on {place}, not with {new} on {data}. {_ADVICE}")


def _check_same(
    folder: Path, before: dict[str, Any], settings: dict[str, Any], cases: list[str], passed: Collection[str]
) -> None:
    """Settings of ``passed`` do not count."""
    old, new = ({k: v for k, v in each.items() if k not in passed} for each in (before["settings"], settings))
    if old != json.loads(json.dumps(new)) or before.get("cases") != cases:
        raise UsageError(
            f"{folder}: was trained with other settings or cases ({before['settings']}, {before.get('cases')}) than "
            f"are asked for ({settings}, {cases}). {_ADVICE}"
        )
