# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What several methods refuse before the first is evaluated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate import models as fold_models
from monai_fss.apps.evaluate import several as many
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.methods.method import Method
from monai_fss.apps.results.plots import draw
from monai_fss.data import InputWarning
from monai_fss.results import SPREADS
from monai_fss.results.entries import Entry, Results
from monai_fss.results.files import read_results, write_results


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the methods that are evaluated; each but alpnet has one mask. Pictures are drawn."""
    seen: list[str] = []

    def evaluate(evaluation: Evaluation, output: Path, *more: Any) -> Results:
        seen.append(evaluation.name)
        settings = {"bundle": evaluation.name, "dataset": "d", "split": "within", "protocol": "ep2", "ways": "compete"}
        settings |= {"runs": 1, "labelled_slices": 1, "model": "m", "training_settings": evaluation.settings}
        entries = [Entry(0, 0, "case_01", 1, "liver", evaluation.name, 0.5, 1.0, 1.0, "scored")]
        entries = [] if evaluation.name == "alpnet" else entries  # as if the classes were lost by resampling
        found = Results({**settings, "versions": {}, "command": "", "notes": []}, entries)
        write_results(output, found)
        return found

    monkeypatch.setattr(many, "evaluate", evaluate)
    return seen


def several(data: Path, output: Path, *names: str, budget: str | None = None, **more: Any) -> Results:
    evaluations = [Evaluation(Method(name), data=str(data), **more) for name in names]
    return many.evaluate_many(evaluations, output, output / "m", budget=budget)


def test_a_table_does_not_lose_a_method_unasked(phantom_set: Path, tmp_path: Path, made: list[str]) -> None:
    several(phantom_set, tmp_path, "adnet", "panet")
    before = (tmp_path / "results.json").read_text(encoding="utf-8")
    says = r"its table also has adnet, panet, which .* \(--bundle adnet panet alpnet crapnet\), give another --output"
    with pytest.raises(UsageError, match=says):
        several(phantom_set, tmp_path, "alpnet", "crapnet")
    with pytest.raises(UsageError, match="its table also has adnet, which would be lost"):
        several(phantom_set, tmp_path, "panet", "crapnet")
    assert made == ["adnet", "panet"] and (tmp_path / "results.json").read_text(encoding="utf-8") == before
    several(phantom_set, tmp_path, "panet", "crapnet", "adnet")
    assert read_results(tmp_path).settings["bundle"] == "panet, crapnet, adnet"
    assert made == ["adnet", "panet", "crapnet"]


def test_the_notes_of_all_methods_are_read_before_the_first_is_evaluated(
    phantom_set: Path, tmp_path: Path, made: list[str]
) -> None:
    several(phantom_set, tmp_path, "adnet", "panet", seed=1)
    (tmp_path / "results.json").unlink()
    with pytest.raises(UsageError) as refused:
        several(phantom_set, tmp_path, "alpnet", "adnet", "panet")
    assert [text.partition(". ")[0] for text in refused.value.problems] == [
        f"{tmp_path / name}: holds another evaluation (seed was 1, now 0)" for name in ("adnet", "panet")
    ]
    assert made == ["adnet", "panet"] and not (tmp_path / "alpnet").exists()


def test_a_note_of_an_earlier_version_is_said_to_be_one(phantom_set: Path, tmp_path: Path, made: list[str]) -> None:
    several(phantom_set, tmp_path, "adnet", "panet")
    file = tmp_path / "panet" / "evaluation.json"
    note = json.loads(file.read_text(encoding="utf-8"))
    del note["asked"]["budget"]
    file.write_text(json.dumps(note))
    with pytest.raises(UsageError) as refused:
        several(phantom_set, tmp_path, "adnet", "panet")
    assert str(refused.value) == (
        f"{tmp_path / 'panet'}: holds another evaluation, or one of an earlier version: its evaluation.json says "
        "nothing of budget. Give another --output, or --overwrite to evaluate again."
    )


def test_the_rule_of_ep1_is_asked_for_and_the_definition_of_deviations_is_not(
    phantom_set: Path, tmp_path: Path, made: list[str]
) -> None:
    several(phantom_set, tmp_path, "adnet", "panet", protocol="ep1")
    for name in ("adnet", "panet"):  # notes of before there was a rule
        file = tmp_path / name / "evaluation.json"
        note = json.loads(file.read_text(encoding="utf-8"))
        assert note["asked"].pop("ep1_rule") == "shown" and "spread" not in note["asked"]
        file.write_text(json.dumps(note))
    several(phantom_set, tmp_path, "adnet", "panet", "crapnet", protocol="ep1", spread="patients")
    assert made == ["adnet", "panet", "crapnet"]
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert SPREADS["patients"] in text and SPREADS["folds"] not in text
    with pytest.raises(UsageError, match=r"holds another evaluation \(ep1_rule was shown, now range\)"):
        several(phantom_set, tmp_path, "adnet", "panet", "crapnet", protocol="ep1", ep1_rule="range")


def test_results_of_other_scans_are_refused_and_those_of_a_moved_data_set_are_not(
    phantom_set: Path, tmp_path: Path, made: list[str]
) -> None:
    shutil.copytree(phantom_set, tmp_path / "moved")
    several(phantom_set, tmp_path / "out", "adnet", "panet")
    several(tmp_path / "moved", tmp_path / "out", "adnet", "panet", "alpnet")
    assert made == ["adnet", "panet", "alpnet"]
    label = tmp_path / "moved" / "labels" / "case_03.nii.gz"
    mask: Any = nib.Nifti1Image.from_filename(label)
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj)[::-1], mask.affine), label)
    with pytest.raises(UsageError) as refused:
        several(tmp_path / "moved", tmp_path / "out", "adnet", "panet", "alpnet")
    assert refused.value.problems[0] == (
        f"{tmp_path / 'out' / 'adnet'}: is an evaluation of other scans or labels: labels/case_03.nii.gz (changed). "
        "Give another --output, or --overwrite to evaluate again."
    )
    assert len(refused.value.problems) == 3 and made == ["adnet", "panet", "alpnet"]


def test_a_note_that_does_not_say_what_the_scans_held_is_a_warning(
    phantom_set: Path, tmp_path: Path, made: list[str]
) -> None:
    several(phantom_set, tmp_path, "adnet", "panet")
    file = tmp_path / "panet" / "evaluation.json"
    note = json.loads(file.read_text(encoding="utf-8"))
    del note["files"]
    file.write_text(json.dumps(note))
    with pytest.warns(InputWarning, match="panet: its evaluation.json does not say what the scans held"):
        several(phantom_set, tmp_path, "adnet", "panet")
    assert made == ["adnet", "panet"]


@pytest.mark.parametrize(("budget", "early"), [("50", True), ("8min", False)])
def test_models_of_all_methods_are_checked_before_the_first_is_evaluated(
    budget: str, early: bool, phantom_set: Path, tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold_models, "train", None)
    folder = tmp_path / "m" / "panet" / "fold1_run0"
    folder.mkdir(parents=True)
    note = {"bundle": "panet", "recipe": None, "data": str(phantom_set), "cases": [], "settings": {}, "finished": True}
    (folder / "run.json").write_text(json.dumps({**note, "train_yaml_sha256": "0aff"}))
    (folder / "model.pt").write_bytes(b"weights")
    if not early:  # how many steps are asked for is not known before they are timed
        several(phantom_set, tmp_path, "adnet", "panet", budget=budget)
        assert made == ["adnet", "panet"]
        return
    with pytest.raises(UsageError, match="fold1_run0: was trained by another train.yaml of panet. Give another --mod"):
        several(phantom_set, tmp_path, "adnet", "panet", budget=budget)
    assert made == [] and not (tmp_path / "adnet").exists()


def test_methods_without_a_score_do_not_stop_the_others(phantom_set: Path, tmp_path: Path) -> None:
    several(phantom_set, tmp_path, "alpnet", "adnet")
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "- alpnet: has no score, left out" in text and (tmp_path / "dice.png").exists()
    several(phantom_set, tmp_path, "alpnet", "adnet", "panet")
    assert {entry.method for entry in read_results(tmp_path).entries} == {"adnet", "panet"}
    assert "## Mean Dice (%) against adnet" in (tmp_path / "results.md").read_text(encoding="utf-8")
    draw(read_results(tmp_path / "alpnet"), [], tmp_path / "alpnet")
    assert not (tmp_path / "alpnet" / "dice.png").exists()
