# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Train and test on the folds of a data set, by the papers' protocols."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.apps.budget import check_budget, within_budget
from monai_fss.apps.bundles import device_setting, is_trained, recipe_names
from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluation import Evaluation
from monai_fss.apps.fold_trial import FoldTrial, protocol_of
from monai_fss.apps.results import Entry, Results, write_results
from monai_fss.apps.training_groups import training_groups
from monai_fss.apps.versions import versions
from monai_fss.data import DatasetFolder, Fold, Label, ScanError, check_output, make_folds

__all__ = ["Evaluation", "check_evaluation", "evaluate", "plan"]


def evaluate(
    evaluation: Evaluation,
    output: str | Path,
    models: str | Path | None = None,
    overwrite: bool = False,
    budget: str | None = None,
) -> Results:
    """Train where no model is given, test, and write ``results.json``, ``.csv``, ``.md`` and pictures.

    Test figures come from the last checkpoint of a step count that is fixed beforehand. Trained models are kept, and
    used again by another protocol over the same folds, runs and settings; an interrupted training goes on.

    Args:
        evaluation: what and how.
        output: folder for the results.
        models: folder for the models. Default: ``output/models``.
        overwrite: replace results that exist.
        budget: of each training, see :func:`monai_fss.apps.budget.within_budget`.

    Raises:
        ScanError: with every problem of the data; nothing has been written then.
        UsageError: the evaluation contradicts itself; nothing has been written then.
    """
    from monai_fss.apps.evaluation_plots import draw
    from monai_fss.apps.fold_models import fold_model

    check_evaluation(evaluation)
    check_budget(evaluation, budget)
    check_output(output, ["results.json", "results.csv", "results.md"], overwrite)
    data, names, groups, folds = plan(evaluation)
    kept = Path(models or Path(output) / "models")
    evaluation = within_budget(evaluation, budget, kept)
    entries: list[Entry] = []
    curves: list[tuple[float, np.ndarray]] = []
    notes: list[str] = []
    for (number, fold), repetition, group in itertools.product(folds, range(evaluation.runs), groups):
        model = None
        if is_trained(evaluation.bundle):
            model = fold_model(evaluation, data, fold, number, repetition, kept, group)
        wanted = {value: names[value] for value in group or names}
        test = FoldTrial(evaluation, data, fold, wanted, model, kept)
        entries += test.entries(number, repetition)
        curves += test.curve()
        notes += [f"fold {number}: {name} is not in its support" for name in test.scorer.left_out]
    results = Results(_settings(evaluation, data, folds, sorted(set(notes))), entries)
    write_results(output, results)
    draw(results, curves, Path(output))
    return results


def plan(
    evaluation: Evaluation,
) -> tuple[DatasetFolder, dict[int, str], list[tuple[int, ...]], list[tuple[int, Fold]]]:
    """What is evaluated: the data, names by label value, groups (see ``training_groups``), numbered folds.

    Raises:
        ScanError, UsageError: with every problem of the data, or where labels, groups or folds do not fit it.
    """
    data = DatasetFolder.read(evaluation.data)
    labels = {summary.name: summary.label for summary in data.check() if summary.label}
    names = _names(evaluation, data, sorted({value for label in labels.values() for value in label.counts}))
    groups = training_groups(evaluation, names)
    folds = _folds(evaluation, data)
    _check_supports([labels[name] for _, fold in folds for name in fold.support])
    return data, names, groups, folds


def check_evaluation(evaluation: Evaluation) -> None:
    """Refuse what would be left out without a word.

    Raises:
        UsageError: with every problem.
    """
    problems = []
    if evaluation.runs < 1:
        problems.append(f"--runs {evaluation.runs}: is less than 1. Give at least 1.")
    if evaluation.seed < 0:
        problems.append(f"--seed {evaluation.seed}: is negative. Give 0 or more.")
    if evaluation.model is not None and evaluation.runs > 1:
        problems.append(f"--runs {evaluation.runs}: repeats trainings, but --model is given. Leave one of them out.")
    if evaluation.model is not None and evaluation.settings:
        problems.append("--set: changes a training, but --model is given. Leave one of them out.")
    if evaluation.recipe is not None and evaluation.recipe not in recipe_names(evaluation.bundle):
        known = ", ".join(recipe_names(evaluation.bundle)) or "none"
        problems.append(f"--bundle {evaluation.name}: has no such recipe. {evaluation.bundle} has {known}.")
    if evaluation.groups and evaluation.setting != 2:
        problems.append("--groups: is of setting 2. Leave it out, or give --setting 2.")
    if evaluation.recipe is not None and evaluation.model is not None:
        problems.append(f"--bundle {evaluation.name}: changes a training, but --model is given. Leave the recipe out.")
    if evaluation.setting == 2 and evaluation.model is not None:
        problems.append("--setting 2: trains without the test classes, but --model is given. Leave one of them out.")
    if not is_trained(evaluation.bundle):
        problems += _untrainable(evaluation)
    elif evaluation.protocol == "ep1" and evaluation.support_slices != "middle":
        problems.append("--support-slices: is of ep2; ep1 uses three slices. Leave it out, or give --protocol ep2.")
    if problems:
        raise UsageError(problems)
    device_setting(evaluation.device)


def _untrainable(evaluation: Evaluation) -> list[str]:
    name = evaluation.bundle
    problems = []
    if evaluation.prior is not None:
        problems.append(f"--prior {evaluation.prior}: joins a trained network; {name} is none. Leave it out.")
    if evaluation.model is not None:
        problems.append(f"--model {evaluation.model}: {name} is not trained and takes none. Leave it out.")
    if evaluation.runs > 1:
        problems.append(f"--runs {evaluation.runs}: {name} gives the same masks each time. Leave it out.")
    return problems


def _names(evaluation: Evaluation, data: DatasetFolder, values: Sequence[int]) -> dict[int, str]:
    """The classes that are scored: all that occur, or those that are wanted."""
    missing = sorted(set(evaluation.labels or ()) - set(values))
    if missing:
        raise UsageError(f"--labels {missing}: occur in no label of {data.root}, which have {list(values)}.")
    return {value: name for name, value in data.names_for(evaluation.labels or values).items()}


def _check_supports(labels: Sequence[Label]) -> None:
    empty = [
        f"{label.path}: has no labelled voxel, but is the support of a fold. Label it, or choose another split."
        for label in labels
        if not label.counts
    ]
    if empty:
        raise ScanError(empty)


def _folds(evaluation: Evaluation, data: DatasetFolder) -> list[tuple[int, Fold]]:
    labelled = [case.name for case in data.labelled]
    folds = list(enumerate(make_folds(evaluation.split, labelled, data.folds, evaluation.supports)))
    if evaluation.fold is None:
        return folds
    if not 0 <= evaluation.fold < len(folds):
        raise ScanError(f"--fold {evaluation.fold}: the split has folds 0 to {len(folds) - 1}. Name one of them.")
    return [folds[evaluation.fold]]


def _settings(
    evaluation: Evaluation, data: DatasetFolder, folds: Sequence[tuple[int, Fold]], notes: list[str]
) -> dict[str, Any]:
    return {
        "bundle": evaluation.name,
        "dataset": data.name,
        "split": evaluation.split,
        "setting": evaluation.setting,
        "groups": [list(group) for group in evaluation.groups] or "CRAPNet's" if evaluation.setting == 2 else "none",
        "protocol": evaluation.protocol,
        "ways": evaluation.ways,
        "runs": evaluation.runs,
        "labelled_scans": "/".join(map(str, sorted({len(fold.support) for _, fold in folds}))),
        "labelled_slices": _labelled_slices(evaluation),
        "prior": f"{evaluation.prior}, weight of the network {evaluation.prior_weight}" if evaluation.prior else "none",
        "folds": [number for number, _ in folds],
        "support": [", ".join(fold.support) for _, fold in folds],
        "seed": evaluation.seed,
        "model": evaluation.model or _model_note(evaluation.bundle),
        "training_settings": evaluation.settings,
        "command": evaluation.command,
        "versions": versions(),
        "notes": notes,
    }


def _labelled_slices(evaluation: Evaluation) -> int | str:
    registered = evaluation.prior or not is_trained(evaluation.bundle)
    return "all" if registered else protocol_of(evaluation).labelled_slices


def _model_note(bundle: str) -> str:
    return "trained for each fold and run, last checkpoint" if is_trained(bundle) else "none: not trained"
