# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Models of an evaluation: trained once for each fold and run, kept, and found again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.kept import (
    check_kept,
    is_finished,
    is_interrupted,
    read_note,
    training_cases,
)
from monai_fss.apps.evaluate.plan import Plan
from monai_fss.apps.train.contents import warn_unknown_contents
from monai_fss.apps.train.files import warn_unknown_files
from monai_fss.apps.train.workflow import train
from monai_fss.data import DatasetFolder, Fold

__all__ = ["check_models", "fold_model"]


def fold_model(
    evaluation: Evaluation,
    data: DatasetFolder,
    fold: Fold,
    number: int,
    repetition: int,
    models: Path,
    left_out: Sequence[int] = (),
) -> Path:
    """The model of one fold and run: the one given, one trained before, or one trained now.

    It sees the images of the fold's training cases and none of their labels, unless the method learns from these (no
    validation: nothing is chosen by it). An interrupted training goes on.

    Args:
        evaluation: what is evaluated.
        data: data set.
        fold: its training cases.
        number: of the fold.
        repetition: number of the run; its seed is the evaluation's plus this.
        models: folder of the models; prepared scans are cached in ``cache`` below it, or where the evaluation says.
        left_out: label values whose slices training does not see (setting 2), or whose labels (by labelled organs),
            each shown by a training case. Default: none; the training is one of setting 1, and found again by it.

    Returns:
        path of the model file.

    Raises:
        UsageError: the model that is there was trained with another bundle or recipe, other settings or other data, or
            by files of the bundle or scans that have changed since; the same of an interrupted training.

    Warns:
        InputWarning: its note does not say what the bundle's files, or the scans, held.
    """
    if evaluation.model is not None:
        return Path(evaluation.model)
    folder, settings = (
        _place(models, number, repetition, left_out),
        _settings(evaluation, repetition, models, left_out, fold),
    )
    before = read_note(folder)
    check_kept(folder, before, evaluation, data, fold, settings)
    if is_finished(folder, before):
        warn_unknown_files(folder, before, evaluation.method.note())
        warn_unknown_contents(folder, before)
        return folder / "model.pt"
    what = "slices" if evaluation.setting == 2 else "labels"
    without = f", without {what} of {', '.join(map(str, left_out))}" if left_out else ""
    more = f" and the images of {', '.join(fold.queries)}" if evaluation.transductive else ""
    doing = f"training on {', '.join(fold.train)}{more}{without}" if evaluation.is_trained else "steps 0, not trained"
    print(f"{evaluation.name}, fold {number}, run {repetition}: {doing}", flush=True)
    train(
        evaluation.method,
        data.root,
        folder,
        cases=training_cases(evaluation, fold),
        settings=settings,
        device=evaluation.device,
        resume=is_interrupted(folder, before),
    )
    return folder / "model.pt"


def check_models(evaluation: Evaluation, plan: Plan, models: Path) -> None:
    """Refuse models and interrupted trainings of other ones, of all folds, before the first is trained.

    Args:
        evaluation: what is evaluated, within its budget; nothing is checked where it trains nothing.
        plan: its folds and groups.
        models: folder of the models.

    Raises:
        UsageError: see :func:`fold_model`; one problem for each of them.
    """
    if evaluation.model is not None or not evaluation.method.is_trained:
        return
    problems = []
    for number, fold, repetition, group in plan.tests(evaluation.runs):
        left_out = plan.left_out(fold, group)
        folder = _place(models, number, repetition, left_out)
        settings = _settings(evaluation, repetition, models, left_out, fold)
        try:
            check_kept(folder, read_note(folder), evaluation, plan.data, fold, settings)
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(dict.fromkeys(problems))


def _place(models: Path, number: int, repetition: int, left_out: Sequence[int]) -> Path:
    return models / "_".join([f"fold{number}_run{repetition}", *(f"without{value}" for value in left_out)])


def _settings(
    evaluation: Evaluation, repetition: int, models: Path, left_out: Sequence[int], fold: Fold
) -> dict[str, Any]:
    settings = {**evaluation.settings, "seed": evaluation.seed + repetition, "val_queries": 0}
    if not evaluation.method.needs_support:
        settings |= {} if evaluation.method.is_supervised else {"support": fold.support[0]}
        settings |= {"labels": list(evaluation.labels)} if evaluation.labels else {}
    if left_out:
        settings |= {"setting": evaluation.setting, "test_classes": list(left_out)}
    return settings | {"cache_dir": str(Path(evaluation.cache_dir or models / "cache").absolute())}
