# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A training by labelled organs tests others: in groups, in setting 1 too; one of no steps needs no budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate import models as trained_models
from monai_fss.apps.evaluate import several as many
from monai_fss.apps.evaluate.budget import within_budget
from monai_fss.apps.evaluate.checks import check_evaluation
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.models import fold_model
from monai_fss.apps.evaluate.one import _model_note, _untrained_note
from monai_fss.apps.evaluate.plan import make_plan
from monai_fss.apps.methods.method import Method

KIDNEYS, UPPER = (2, 3), (1, 4)


def evaluation(data: Path, name: str = "alpnet:episodes=labels", **more: Any) -> Evaluation:
    return Evaluation(Method.parse(name), str(data), **{"labels": (1, 2, 3), **more})


def test_organs_are_tested_in_groups_that_their_training_does_not_learn(
    phantom_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def noted(*args: Any, settings: dict[str, Any], **more: Any) -> int:
        asked.append({key: settings.get(key) for key in ("setting", "test_classes")})
        return 0

    monkeypatch.setattr(trained_models, "train", noted)
    for setting in (1, 2):
        one = evaluation(phantom_set, setting=setting)
        plan = make_plan(one)
        assert list(plan.groups) == [KIDNEYS, UPPER] and [list(plan.tested(g)) for g in plan.groups] == [[2, 3], [1]]
        for number, fold, run, group in plan.tests(1):
            fold_model(one, plan.data, fold, number, run, tmp_path / str(setting), plan.left_out(fold, group))
        classes = [dict(setting=setting, test_classes=list(group)) for group in (KIDNEYS, UPPER)]
        assert asked == classes * len(plan.folds)
        asked.clear()
    plain = evaluation(phantom_set, "alpnet")
    assert list(make_plan(plain).groups) == [()] and not plain.is_grouped
    given = evaluation(phantom_set, model="model.pt", groups=(KIDNEYS,))
    with pytest.raises(UsageError, match="--groups: is of setting 2, or of episodes=labels"):
        check_evaluation(given)
    check_evaluation(evaluation(phantom_set, groups=(KIDNEYS, (1,))))


def test_a_class_in_no_group_is_refused_by_the_setting_that_asks_for_groups(phantom_set: Path) -> None:
    with pytest.raises(UsageError, match=r"episodes=labels: 5 \(.*\) in no group. Name the groups"):
        make_plan(evaluation(phantom_set, labels=(1, 5)))


def test_each_method_of_a_table_has_its_own_groups(
    phantom_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: dict[str, Any] = {}
    monkeypatch.setattr(many, "_check_trained", lambda one, plan, *rest: groups.update({one.name: plan.groups}))
    monkeypatch.setattr(many, "_part", lambda one, *rest: one)
    monkeypatch.setattr(many, "_write", lambda parts, *rest: None)
    both = [evaluation(phantom_set, name) for name in ("alpnet", "alpnet:episodes=labels")]
    many.evaluate_many(both, tmp_path / "out", tmp_path / "models")
    assert groups == {"alpnet": [()], "alpnet:episodes=labels": [KIDNEYS, UPPER]}


def test_no_steps_need_no_budget_and_no_untrained_baseline(phantom_set: Path, tmp_path: Path) -> None:
    one = evaluation(phantom_set, "alpnet:init")
    assert within_budget(one, "800", tmp_path) is one and within_budget(one, "8min", tmp_path) is one
    assert _model_note(one) == "not trained, weights: random" and _untrained_note(one) == "none"
    same = evaluation(phantom_set, "alpnet:steps=0")
    assert within_budget(same, "800", tmp_path) is same and not same.is_trained
    assert _model_note(evaluation(phantom_set, "alpnet")).startswith("trained for each fold")
    assert [e.baselines for e in many._with_baselines([one, evaluation(phantom_set, "panet")])] == [True, True]
