# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss evaluate`: which method gets which setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monai_fss.apps.cli import main
from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate import checks
from monai_fss.apps.evaluate import several as many
from monai_fss.apps.evaluate.checks import check_evaluation
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.methods.method import Method

Asked = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """``asked("adnet", "panet", "--set", ...)``: the settings of each method, by its name."""
    seen: dict[str, dict[str, Any]] = {}

    def stop(evaluations: Sequence[Evaluation], *more: Any) -> None:
        seen.update({evaluation.name: evaluation.settings for evaluation in evaluations})
        raise UsageError("stopped")

    def ask(*words: str) -> dict[str, dict[str, Any]]:
        seen.clear()
        main(["evaluate", "--data", "d", "--output", str(tmp_path / "out"), "--bundle", *words])
        return dict(seen)

    monkeypatch.setattr(many, "evaluate_many", stop)
    return ask


def test_a_setting_of_one_bundle_goes_before_that_of_all(asked: Asked) -> None:
    pairs = ("steps=100", "adnet_3d.size=[112,112,10]", "size=[128,128]", "adnet.steps=50")
    assert asked("adnet", "adnet_3d", "--set", *pairs) == {
        "adnet": {"size": [128, 128], "steps": 50},
        "adnet_3d": {"size": [112, 112, 10], "steps": 100},
    }


@pytest.mark.parametrize("pairs", [("steps=100", "steps=50"), ("adnet.steps=100", "adnet.steps=50")])
def test_the_same_setting_twice_is_refused(
    pairs: tuple[str, str], asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked("adnet", "panet", "--set", *pairs) == {}
    assert "--set steps: is given twice. Give it once." in capsys.readouterr().err


def test_a_value_in_a_name_stands_and_others_take_the_common_one(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {"crapnet": {"blocks": 3}, "crapnet:blocks=7": {"blocks": 7}}
    assert asked("crapnet", "crapnet:blocks=7", "--set", "blocks=3") == expected
    assert asked("adnet", "crapnet:blocks=7", "--set", "blocks=3") == {}
    assert "--set blocks: has an option of its own. Use --bundle crapnet:blocks=7 alone." in capsys.readouterr().err
    assert asked("crapnet", "crapnet:blocks=7", "--set", "crapnet.blocks=3") == expected


def test_a_key_of_the_recipe_alone_is_for_the_methods_with_it(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    methods = ("adnet", "adnet:paper", "panet")
    for pair in ("lr_scheduler::step_size=500", "adnet.lr_scheduler#step_size=500"):
        expected = {"adnet": {}, "adnet:paper": {"lr_scheduler::step_size": 500}, "panet": {}}
        assert asked(*methods, "--set", pair) == expected
    assert asked("adnet", "panet", "--set", "lr_scheduler::step_size=500") == {}
    assert "--set lr_scheduler::step_size: no such setting of adnet's training." in capsys.readouterr().err
    assert asked("adnet", "adnet:none", "--set", "steps=2") == {}
    assert "--bundle adnet:none: adnet has no such recipe. Its recipes: no_position, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["adnet:segmentation_loss", "--set", "adnet.align=1.0", "compact=1.0"], "--set align, compact: sets all that"),
    ],
)
def test_settings_that_leave_nothing_of_a_recipe_are_refused(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--data", "d", "--output", str(tmp_path / "out"), "--bundle", *words]) == 2
    said = capsys.readouterr().err
    assert says in said and f"Leave --set or {words[0] if ':' in words[0] else words[1]} out." in said


@pytest.mark.parametrize("own", [{"ep1_rule": "mine"}, {"spread": "cases"}])
def test_rules_and_definitions_that_there_are_not(own: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"(ep1-rule mine|spread cases): is not known. Give one of (shown|folds), "):
        check_evaluation(Evaluation(Method("panet"), data="d", protocol="ep1", **own))


def test_tolerances_are_read_before_anything_else(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked("adnet", "panet", "--tolerances", "liver=five") == {}
    assert "--tolerances 'liver=five': 'liver=five' is not understood" in capsys.readouterr().err


def test_a_rule_that_a_bundle_of_before_would_not_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Evaluation(Method("panet"), data="d", protocol="ep1", ep1_rule="range")
    check_evaluation(asked)
    monkeypatch.setattr(checks, "config_keys", lambda files: {"protocol": "ep2"})
    with pytest.raises(UsageError, match="ep1-rule range: panet's configs/evaluate.yaml has no ep1_rule, so it would"):
        check_evaluation(asked)
    check_evaluation(replace(asked, ep1_rule="shown"))


def test_a_recipe_of_which_something_is_left_is_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "--data", str(tmp_path / "none"), "--output", str(tmp_path / "out")]
    assert main([*words, "--bundle", "adnet:segmentation_loss", "--set", "align=1.0"]) == 2
    assert "none: has no folder images/." in capsys.readouterr().err, "refused for the data alone"
