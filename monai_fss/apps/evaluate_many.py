# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Several methods on the same folds, under the same budget: one table and one picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai_fss.apps.budget import check_budget
from monai_fss.apps.combined import against_first, combine, training_table
from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate import REGISTRATIONS, evaluate
from monai_fss.apps.evaluation import Evaluation
from monai_fss.apps.evaluation_checks import check_evaluation
from monai_fss.apps.evaluation_plan import make_plan
from monai_fss.apps.results import RESULT_FILES, Results, read_results, write_results
from monai_fss.data import check_output, write_text_atomic
from monai_fss.data.writer import write_json

__all__ = ["evaluate_many"]

ASKED = "evaluation.json"
_OF_EACH = {"bundle", "recipe", "settings", "support_slices"}  # in which the evaluations of one table may differ
_NOT_ASKED = {"command", "device", "data"}  # the place of the data is in the content


def evaluate_many(
    evaluations: Sequence[Evaluation],
    output: str | Path,
    models: str | Path,
    overwrite: bool = False,
    budget: str | None = None,
) -> Results:
    """Evaluate methods one after another, and write one table and one picture of all.

    Each has a folder of its own below ``output`` and ``models``, such as ``adnet`` or ``crapnet-blocks_7``;
    registrations are kept in one for all. After an interruption the same call goes on: a method that is done is not
    evaluated again, and a training that was cut short is resumed. So a table grows by the same call with one more
    method: the files of all are made anew from those of each.

    Args:
        evaluations: that differ in the bundle, its recipe and settings alone.
        output: folder for ``results.*`` and ``dice.png`` of all, and of each method.
        models: folder for the models.
        overwrite: evaluate all again.
        budget: of each training, see :func:`monai_fss.apps.budget.within_budget`.

    Returns:
        the scores of all, see :func:`monai_fss.apps.combined.combine`.

    Raises:
        ScanError, UsageError: see :func:`monai_fss.apps.evaluate.evaluate`; a method was evaluated otherwise before;
            the folder holds other results than those of such an evaluation.
    """
    if evaluations[0].model is not None:
        raise UsageError("--model: is of one method. Leave it out, or name one bundle.")
    for evaluation in evaluations:
        check_evaluation(evaluation)
        check_budget(evaluation, budget)
    plan = make_plan(evaluations[0])
    folds = [asdict(fold) for _, fold in plan.folds]
    content = {"data": str(plan.data.root.resolve()), "folds": folds, "budget": budget}
    output, models = Path(output), Path(models)
    check_output(output, RESULT_FILES, overwrite or _is_combined(output, _asked(evaluations[0], content)))
    parts = [_part(evaluation, content, output, models, overwrite) for evaluation in evaluations]
    return _write(parts, output, evaluations[0].command)


def _write(parts: Sequence[Results], output: Path, command: str) -> Results:
    """The files of all methods."""
    from monai_fss.apps.evaluation_plots import draw

    combined = combine(parts, command)
    write_results(output, combined)
    text = (output / "results.md").read_text(encoding="utf-8")
    write_text_atomic(output / "results.md", "\n".join([text, training_table(parts), against_first(parts)]))
    draw(combined, [], output)
    return combined


def _part(evaluation: Evaluation, content: dict[str, Any], output: Path, models: Path, overwrite: bool) -> Results:
    """The results of a method: those that are there, if they are of this very evaluation of the same content."""
    name = _folder(evaluation.name)
    own, asked = output / name, _asked(evaluation, content)
    known, there = _note(own), (own / RESULT_FILES[0]).exists()
    if not overwrite:
        if (known and known["asked"] != asked) or (there and not known):
            raise UsageError(f"{own}: holds another evaluation. Give another --output, or --overwrite.")
        if there and known["finished"]:
            return read_results(own)
    own.mkdir(parents=True, exist_ok=True)
    write_json(own / ASKED, {"asked": asked, "finished": False})
    registrations = models / REGISTRATIONS
    results = evaluate(evaluation, own, models / name, True, content["budget"], registrations)
    write_json(own / ASKED, {"asked": asked, "finished": True})
    return results


def _asked(evaluation: Evaluation, content: Mapping[str, Any]) -> dict[str, Any]:
    """What the results of a method depend on, as JSON values."""
    own = {key: value for key, value in asdict(evaluation).items() if key not in _NOT_ASKED}
    asked: dict[str, Any] = json.loads(json.dumps({**own, **content}))
    return asked


def _is_combined(output: Path, asked: Mapping[str, Any]) -> bool:
    """Whether the results in a folder were combined from those of methods in it, evaluated in the same way."""
    try:
        names = str(read_results(output).settings["bundle"]).split(", ")
    except (FileNotFoundError, ValueError):
        return False
    parts = [_note(output / _folder(name)).get("asked", {}) for name in names]
    wanted = _common(asked)
    return len(names) > 1 and all(_common(part) == wanted for part in parts)


def _common(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in asked.items() if key not in _OF_EACH}


def _note(folder: Path) -> dict[str, Any]:
    """What :func:`_part` noted in a method's folder; empty where there is no note."""
    note = folder / ASKED
    return json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}


def _folder(method: str) -> str:
    return method.replace(":", "-")
