# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Models of an evaluation: trained once for each fold and run, kept, and found again."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluation import Evaluation
from monai_fss.apps.recipes import method_settings, recipe_content
from monai_fss.apps.run_folder import RUN_JSON
from monai_fss.apps.train import train
from monai_fss.apps.windows import training_window
from monai_fss.data import DatasetFolder, Fold, InputWarning

__all__ = ["fold_model"]


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

    It sees the images of the fold's training cases and none of their labels (no validation: nothing is chosen by it).
    An interrupted training goes on.

    Args:
        evaluation: what is evaluated.
        data: data set.
        fold: its training cases.
        number: of the fold.
        repetition: number of the run; its seed is the evaluation's plus this.
        models: folder of the models; preprocessed scans are cached in ``cache`` below it.
        left_out: label values whose slices training does not see (setting 2), each shown by a training case. Default:
            none; the training is one of setting 1, and found again by it.

    Returns:
        path of the model file.

    Raises:
        UsageError: the model that is there was trained with another bundle or recipe, other settings or other data.

    Warns:
        InputWarning: it was trained with a recipe, and its note does not say what the recipe's file held.
    """
    if evaluation.model is not None:
        return Path(evaluation.model)
    folder = models / "_".join([f"fold{number}_run{repetition}", *(f"without{value}" for value in left_out)])
    settings = {**evaluation.settings, "seed": evaluation.seed + repetition, "val_queries": 0}
    if left_out:
        settings |= {"setting": 2, "test_classes": list(left_out)}
    settings["cache_dir"] = str((models / "cache").absolute())
    before = _note(folder)
    if before.get("finished") and (folder / "model.pt").exists():
        _check_source(folder, before, evaluation, data.root.absolute().name)
        _check_recipe(folder, before, evaluation)
        known = method_settings(evaluation.bundle, evaluation.recipe, {})
        window = training_window(data.modality, known, settings)
        _check_same(folder, before, {**settings, **window}, list(fold.train))
        return folder / "model.pt"
    resume = bool(before) and any((folder / "checkpoints").glob("*.pt"))
    without = f", without slices of {', '.join(map(str, left_out))}" if left_out else ""
    print(
        f"{evaluation.name}, fold {number}, run {repetition}: training on {', '.join(fold.train)}{without}",
        flush=True,
    )
    train(
        evaluation.bundle,
        data.root,
        folder,
        cases=list(fold.train),
        recipe=evaluation.recipe,
        settings=settings,
        device=evaluation.device,
        resume=resume,
    )
    return folder / "model.pt"


def _note(folder: Path) -> dict[str, Any]:
    path = folder / RUN_JSON
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _check_source(folder: Path, before: dict[str, Any], evaluation: Evaluation, data: str) -> None:
    """Two data sets may name their cases alike; the name of the folder tells them apart wherever it lies."""
    old = replace(evaluation, bundle=str(before.get("bundle")), recipe=before.get("recipe")).name
    place = Path(str(before.get("data"))).name
    if (old, place) != (evaluation.name, data):
        raise UsageError(
            f"{folder}: was trained with {old} on {place}, not with {evaluation.name} on {data}. Give another "
            "--models, or remove it."
        )


def _check_recipe(folder: Path, before: dict[str, Any], evaluation: Evaluation) -> None:
    """The recipe's file may have changed since."""
    now = json.loads(json.dumps(recipe_content(evaluation.bundle, evaluation.recipe)))
    if now is None or before.get("recipe_content") == now:
        return
    file = f"{evaluation.recipe}.yaml"
    if "recipe_content" not in before:
        text = f"{folder}: its note does not say what {file} held, so whether it has changed since is not known."
        warnings.warn(text, InputWarning, stacklevel=3)
        return
    raise UsageError(
        f"{folder}: was trained when {file} was {before['recipe_content']}; now it is {now}. Give another --models, or "
        "remove it."
    )


def _check_same(folder: Path, before: dict[str, Any], settings: dict[str, Any], cases: list[str]) -> None:
    """Places do not count."""
    old, new = ({k: v for k, v in each.items() if k != "cache_dir"} for each in (before["settings"], settings))
    if old != json.loads(json.dumps(new)) or before.get("cases") != cases:
        raise UsageError(
            f"{folder}: was trained with other settings or cases ({before['settings']}, {before.get('cases')}) than "
            f"are asked for ({settings}, {cases}). Give another --models, or remove it."
        )
