# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Several methods on the same folds, under the same budget: one table and one picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate.budget import check_budget, known_budget
from monai_fss.apps.evaluate.checks import check_evaluation
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.groups import training_groups
from monai_fss.apps.evaluate.models import check_models
from monai_fss.apps.evaluate.one import REGISTRATIONS, evaluate
from monai_fss.apps.evaluate.plan import Plan, make_plan
from monai_fss.apps.evaluate.resume import (
    check_parts,
    evaluated_contents,
    is_done,
    method_folder,
    table_grows,
    what_is_asked,
    write_asked,
)
from monai_fss.apps.memory import reading_each_file_once
from monai_fss.apps.results.combine import against_first, combine, training_table
from monai_fss.data import check_output, write_text_atomic
from monai_fss.results.entries import Results
from monai_fss.results.files import RESULT_FILES, read_results, write_results

__all__ = ["evaluate_many"]


@reading_each_file_once()
def evaluate_many(
    evaluations: Sequence[Evaluation],
    output: str | Path,
    models: str | Path,
    overwrite: bool = False,
    budget: str | None = None,
) -> Results:
    """Evaluate methods one after another, and write one table and one picture of all.

    Each has a folder of its own below ``output`` and ``models``, such as ``adnet`` or ``crapnet-blocks=7``;
    registrations are kept in one for all, as are prepared scans and those stages of trainings that are the same for
    several methods (such as a coarse network, where they differ in the fine one). Baselines are measured of the first
    method and of the first that is trained. After an interruption the same call goes on: a method that is done is not
    evaluated again, and a training that was cut short is resumed. So a table grows by the same call with one more
    method: the files of all are made anew from those of each. Methods that are in the table must be asked for again.

    Args:
        evaluations: that differ in the method and settings alone.
        output: folder for ``results.*`` and ``dice.png`` of all, and of each method.
        models: folder for the models.
        overwrite: evaluate all again.
        budget: of each training, see :func:`monai_fss.apps.evaluate.budget.within_budget`.

    Returns:
        the scores of all, see :func:`monai_fss.apps.results.combine.combine`.

    Raises:
        ScanError, UsageError: see :func:`monai_fss.apps.evaluate.one.evaluate`; a method was evaluated otherwise
            before; the folder holds other results than those of such an evaluation, or those of a method that is not
            asked for now. All of that is found before the first method is evaluated, but for a model where ``budget``
            is in minutes that have not been measured.
    """
    if evaluations[0].model is not None:
        raise UsageError("--model: applies to a single method. Leave it out, or name one bundle.")
    for evaluation in evaluations:
        check_evaluation(evaluation)
        check_budget(evaluation, budget)
    plan = make_plan(evaluations[0])
    plans = {one.name: replace(plan, groups=training_groups(one, plan.scored, plan.names)) for one in evaluations}
    folds = [asdict(fold) for _, fold in plan.folds]
    content = {"data": str(plan.data.root.resolve()), "folds": folds, "budget": budget}
    output, models = Path(output), Path(models)
    asked = {evaluation.name: what_is_asked(evaluation, content) for evaluation in evaluations}
    contents = evaluated_contents(plan.data, [fold for _, fold in plan.folds])
    if not overwrite:
        check_parts(output, asked, contents)
    check_output(output, RESULT_FILES, overwrite or table_grows(output, asked))
    done = {} if overwrite else _done(output, asked)
    missing = [evaluation for evaluation in _with_baselines(evaluations) if evaluation.name not in done]
    for evaluation in missing:
        _check_trained(evaluation, plans[evaluation.name], models / method_folder(evaluation.name), budget)
    for evaluation in missing:
        done[evaluation.name] = _part(evaluation, asked[evaluation.name], output, models, contents)
    return _write([done[name] for name in asked], output, evaluations[0])


def _with_baselines(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The table shows baselines of the first method, and of the first that is trained: others need not measure them."""
    trained = [evaluation.name for evaluation in evaluations if evaluation.is_trained]
    wanted = {evaluations[0].name, *trained[:1]}
    return [replace(one, baselines=one.baselines and one.name in wanted) for one in evaluations]


def _write(parts: Sequence[Results], output: Path, first: Evaluation) -> Results:
    """The files of all methods, with the tables that are asked for now."""
    from monai_fss.apps.results.plots import draw

    combined = combine(parts, first.command)
    write_results(output, combined, first.spread)
    text = (output / "results.md").read_text(encoding="utf-8")
    write_text_atomic(output / "results.md", "\n".join([text, training_table(parts), against_first(parts)]))
    draw(combined, [], output, first.spread)
    return combined


def _done(output: Path, asked: Iterable[str]) -> dict[str, Results]:
    """The results that are there, by method."""
    folders = {name: output / method_folder(name) for name in asked}
    return {name: read_results(folder) for name, folder in folders.items() if is_done(folder)}


def _check_trained(evaluation: Evaluation, plan: Plan, models: Path, budget: str | None) -> None:
    """Refuse models of another training before the first method is evaluated, unless its steps are not known yet."""
    known = known_budget(evaluation, budget, models)
    if known is not None:
        check_models(known, plan, models)


def _part(
    evaluation: Evaluation, asked: dict[str, Any], output: Path, models: Path, contents: dict[str, Any]
) -> Results:
    """Evaluate a method, with a note that tells afterwards what was asked for and whether it was done."""
    name = method_folder(evaluation.name)
    own = output / name
    write_asked(own, asked, False, contents)
    sharing = replace(evaluation, cache_dir=str(models / "cache"))
    results = evaluate(sharing, own, models / name, True, asked["budget"], models / REGISTRATIONS)
    assert results is not None  # of all parts
    write_asked(own, asked, True, contents)
    return results
