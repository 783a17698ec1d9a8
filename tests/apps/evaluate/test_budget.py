# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Budgets: steps as they are, minutes by the pace that was measured once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate import budget
from monai_fss.apps.evaluate.budget import within_budget
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.methods.method import Method


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A training takes 60 s to start and 0.5 s a step; the steps of each training are listed."""
    seen: list[int] = []
    now = [0.0]

    def train(bundle: str, data: Any, output: Path, *, settings: dict[str, Any], **more: Any) -> int:
        seen.append(settings["steps"])
        now[0] += 5 + 0.5 * settings["steps"]
        return settings["steps"]

    monkeypatch.setattr(budget, "train", train)
    monkeypatch.setattr(budget.time, "perf_counter", lambda: now[0])
    return seen


def steps(evaluation: Evaluation, text: str | None, models: Path) -> Any:
    return within_budget(evaluation, text, models).settings.get("steps")


def test_steps_are_taken_as_they_are_and_nothing_is_trained(tmp_path: Path, clock: list[int]) -> None:
    evaluation = Evaluation(Method("adnet"), data="d")
    assert steps(evaluation, "800", tmp_path) == 800
    assert steps(evaluation, None, tmp_path) is None
    assert within_budget(Evaluation(Method("atlas"), data="d"), "800", tmp_path).settings == {}
    assert clock == []


def test_minutes_become_whole_epochs_by_the_pace_and_are_measured_once(tmp_path: Path, clock: list[int]) -> None:
    evaluation = Evaluation(Method("adnet"), data="d", settings={"steps_per_epoch": 25})
    assert steps(evaluation, "2min", tmp_path) == 225  # 240 steps of 0.5 s, in epochs of 25
    measured = len(clock)
    assert steps(evaluation, "2 min", tmp_path) == 225 and len(clock) == measured
    assert json.loads((tmp_path / "pace.json").read_text(encoding="utf-8"))["seconds_per_step"] == pytest.approx(0.5)
    assert steps(evaluation, "3min", tmp_path) == 350 and len(clock) == measured
    with pytest.raises(UsageError, match="0.01min: is less than adnet's epoch of 25 steps of 0.5 s"):
        within_budget(evaluation, "0.01min", tmp_path)
    with pytest.raises(UsageError, match="was measured for .*'data': .*/d'.* not for .*/other'"):
        within_budget(replace(evaluation, data="other"), "3min", tmp_path)


def test_a_pace_that_cannot_be_told_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 60.0, 60.0, 75.0, 75.0, 90.0])
    monkeypatch.setattr(budget, "train", lambda *args, **more: 0)
    monkeypatch.setattr(budget.time, "perf_counter", lambda: next(times))
    with pytest.raises(UsageError, match="cannot be told from 5 steps in 15.0 s and 25 in 15.0 s"):
        within_budget(Evaluation(Method("adnet"), data="d"), "2min", tmp_path)


def test_steps_that_are_no_whole_epochs_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--budget 820: is not a multiple of adnet's steps_per_epoch=50"):
        within_budget(Evaluation(Method("adnet"), data="d"), "820", tmp_path)
