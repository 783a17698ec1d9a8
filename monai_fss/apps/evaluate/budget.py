# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The same budget for every method: a number of steps, or of minutes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.train.workflow import train
from monai_fss.data.files.writer import write_json

__all__ = ["check_budget", "known_budget", "within_budget"]

PACE = "pace.json"
# Epochs of one step: the first training also preprocesses the scans and warms up, the others differ by 20 steps.
_SHORT, _LONG = 5, 25
_MINUTES = re.compile(r"(\d+(?:\.\d+)?) ?min")


def within_budget(evaluation: Evaluation, budget: str | None, models: Path) -> Evaluation:
    """An evaluation whose trainings have as many steps as a budget allows.

    Minutes are turned into steps once, by timing a few, and the number is kept beside the models: the schedule of the
    learning rate needs to know where the training ends, and an interrupted evaluation goes on with the same number.

    Args:
        evaluation: what is evaluated. A method that is not trained, or for 0 steps, needs no budget.
        budget: steps, such as "800", or minutes, such as "8min"; None for the bundle's own number of steps.
        models: folder of the models.

    Raises:
        UsageError: the budget is neither, or contradicts ``--set steps`` or ``--model``.
    """
    minutes = check_budget(evaluation, budget)
    if budget is None or not evaluation.is_trained:
        return evaluation
    steps = int(budget) if minutes is None else _steps(evaluation, minutes, models)
    return replace(evaluation, settings={**evaluation.settings, "steps": steps})


def known_budget(evaluation: Evaluation, budget: str | None, models: Path) -> Evaluation | None:
    """What :func:`within_budget` returns; None where minutes would have to be measured first. Nothing is trained."""
    minutes = check_budget(evaluation, budget)
    if minutes is not None and evaluation.is_trained and not (models / PACE).exists():
        return None
    return within_budget(evaluation, budget, models)


def check_budget(evaluation: Evaluation, budget: str | None) -> float | None:
    """The minutes of a budget, None where it is of steps; see :func:`within_budget` for what is refused."""
    if budget is None:
        return None
    minutes = _MINUTES.fullmatch(budget)
    if minutes is None and not (budget.isdecimal() and int(budget) > 0):
        raise UsageError(f"--budget {budget}: is no number of steps, nor of minutes. Write 800, or 8min.")
    if evaluation.is_trained and ("steps" in evaluation.settings or evaluation.model is not None):
        other = "--model" if evaluation.model is not None else "--set steps"
        raise UsageError(f"--budget {budget}, {other}: contradict each other. Leave one of them out.")
    if minutes is None and evaluation.is_trained and int(budget) % _epoch(evaluation):
        raise UsageError(
            f"--budget {budget}: is not a multiple of {evaluation.name}'s steps_per_epoch={_epoch(evaluation)}. Give "
            "one, or --set steps_per_epoch."
        )
    return float(minutes[1]) if minutes else None


def _steps(evaluation: Evaluation, minutes: float, models: Path) -> int:
    note = models / PACE
    known = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    asked = {"method": evaluation.name, "settings": json.loads(json.dumps(evaluation.settings))}
    asked |= {"data": str(Path(evaluation.data).resolve()), "device": evaluation.device}
    if known and _placeless({key: known.get(key) for key in asked}) != _placeless(asked):
        raise UsageError(f"{note}: was measured for {known}, not for {asked}. Give another --models, or remove it.")
    if not known:
        known = {**asked, "seconds_per_step": _pace(evaluation, models)}
        write_json(note, known)
    epoch = _epoch(evaluation)
    epochs = int(60 * minutes / known["seconds_per_step"] / epoch)
    if epochs < 1:
        raise UsageError(
            f"--budget {minutes:g}min: is less than {evaluation.name}'s epoch of {epoch} steps of "
            f"{known['seconds_per_step']:.2g} s. Give more, or --set steps_per_epoch."
        )
    return epochs * epoch


def _placeless(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a pace was measured for, with the name of the data set folder and not its place."""
    return {**asked, "data": Path(str(asked["data"])).name}


def _pace(evaluation: Evaluation, models: Path) -> float:
    """Seconds of a training step."""
    print(f"{evaluation.name}: measuring seconds per step by three short trainings", flush=True)
    taken = []
    for steps in (1, _SHORT, _LONG):
        settings = {**evaluation.settings, "steps": steps, "steps_per_epoch": steps, "val_queries": 0}
        settings |= {"cache_dir": str((models / "cache").absolute()), "seed": evaluation.seed}
        start = time.perf_counter()
        train(
            evaluation.method,
            evaluation.data,
            models / "pace",
            settings=settings,
            device=evaluation.device,
            overwrite=True,
        )
        taken.append(time.perf_counter() - start)
    if taken[2] < 1.2 * taken[1]:
        raise UsageError(
            f"--budget: the pace of {evaluation.name} cannot be told from {_SHORT} steps in {taken[1]:.1f} s and "
            f"{_LONG} in {taken[2]:.1f} s. Try again while nothing else runs, or give a number of steps."
        )
    return (taken[2] - taken[1]) / (_LONG - _SHORT)


def _epoch(evaluation: Evaluation) -> int:
    return int(evaluation.known["steps_per_epoch"])
