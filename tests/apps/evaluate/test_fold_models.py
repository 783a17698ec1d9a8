# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Models of folds: trained, gone on with, found again, or refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate import models as fold_models
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.plan import Plan
from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.apps.methods.method import Method
from monai_fss.apps.train.contents import training_contents
from monai_fss.apps.train.workflow import train
from monai_fss.data import DatasetFolder, Fold, InputWarning

FOLD = Fold(train=("case_03", "case_04"), support=("case_02",), queries=("case_01",))
NO_POSITION: dict[str, Any] = {"position_axes": [], "position_weights": []}
DATA = DatasetFolder(root=Path("sets/phantoms"), name="phantom", modality="CT")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the training is called with, instead of it."""
    seen: list[dict[str, Any]] = []

    def train(method: Method, data: Path, output: Path, **more: Any) -> int:
        seen.append({"method": method.name, "data": data, "output": output, **more})
        return 0

    monkeypatch.setattr(fold_models, "train", train)
    return seen


def digest(bundle: str) -> str:
    return hashlib.sha256((bundle_path(bundle) / "configs" / "train.yaml").read_bytes()).hexdigest()


def finished(models: Path, **changes: Any) -> Path:
    """A finished training of fold 1, run 2, as `train` leaves it."""
    folder = models / "fold1_run2"
    folder.mkdir(parents=True)
    settings = {"steps": 50, "seed": 7, "val_queries": 0, "cache_dir": "/elsewhere/cache", "window": [-125, 275]}
    settings |= changes.pop("settings", {})
    note = {"bundle": "adnet", "data": "/elsewhere/phantoms", "cases": list(FOLD.train), "finished": True}
    note |= {"train_yaml_sha256": digest(changes.get("bundle", "adnet")), "files": {}}
    note = {key: value for key, value in ({**note, "settings": settings} | changes).items() if value != "not said"}
    (folder / "run.json").write_text(json.dumps(note))
    (folder / "model.pt").write_bytes(b"weights")
    return folder


def ask(models: Path, **changes: Any) -> Path:
    method = Method(changes.pop("bundle", "adnet"), changes.pop("recipe", None))
    evaluation = Evaluation(method, **{"data": "x", "seed": 5, "settings": {"steps": 50}, **changes})
    return fold_models.fold_model(evaluation, DATA, FOLD, 1, 2, models)


def test_a_given_model_is_taken_as_it_is(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    assert ask(tmp_path, model="given.pt") == Path("given.pt") and calls == []


def test_a_fold_is_trained_on_its_cases_with_the_seed_of_the_run(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    assert ask(tmp_path) == tmp_path / "fold1_run2" / "model.pt"
    settings = {"steps": 50, "seed": 7, "val_queries": 0, "cache_dir": str(tmp_path / "cache")}
    expected = {"cases": list(FOLD.train), "settings": settings, "device": None, "resume": False}
    assert calls == [{"method": "adnet", "data": DATA.root, "output": tmp_path / "fold1_run2", **expected}]


def test_an_interrupted_training_goes_on(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    folder = finished(tmp_path, finished=False)
    ask(tmp_path)
    assert not calls[0]["resume"], "there is no checkpoint yet"
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "checkpoint_1.pt").touch()
    ask(tmp_path)
    assert calls[1]["resume"]


def test_a_finished_one_is_found_again_wherever_it_was_made(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    folder = finished(tmp_path)
    assert ask(tmp_path) == folder / "model.pt"
    assert calls == []


@pytest.mark.parametrize(
    ("note", "asked", "says"),
    [
        ({}, {"settings": {"steps": 100}}, "trained with other settings or cases .*'steps': 50.*'steps': 100"),
        ({}, {"seed": 6}, "trained with other settings or cases .*'seed': 7.*'seed': 8"),
        ({}, {"settings": {}}, "trained with other settings or cases"),
        ({"cases": ["case_04"]}, {}, r"other settings or cases .*\['case_04'\].*\['case_03', 'case_04'\]"),
        ({"settings": {"window": [0, 100]}}, {}, r"other settings or cases .*'window': \[0, 100\].*\[-125, 275\]"),
        ({}, {"settings": {"steps": 50, "window": [0, 100]}}, r"other settings .*\[-125, 275\].*\[0, 100\]"),
        ({"bundle": "alpnet"}, {}, "trained with alpnet, not with adnet"),
        (
            {"data": "/elsewhere/chaos", "files": "not said"},
            {},
            "trained with adnet on chaos, not with adnet on phantoms",
        ),
    ],
)
def test_another_training_is_refused(
    note: dict[str, Any], asked: dict[str, Any], says: str, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    folder = finished(tmp_path, **note)
    with pytest.raises(UsageError, match=says) as refused:
        ask(tmp_path, **asked)
    assert str(refused.value).startswith(f"{folder}: ") and "Give another --models, or remove it." in str(refused.value)
    assert calls == []


def test_a_recipe_whose_file_has_changed_is_another_training(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    recipe = {"bundle": "crapnet", "recipe": "no_position"}
    folder = finished(tmp_path, **recipe, recipe_content={"position_axes": [9]})
    with pytest.raises(
        UsageError, match=r"no_position.yaml was \{'position_axes': \[9\]\}; now it is \{'position_axes': \[\], .*Give "
    ):
        ask(tmp_path, **recipe)
    note = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps({**note, "recipe_content": NO_POSITION}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ask(tmp_path, **recipe) == folder / "model.pt"
    del note["recipe_content"]  # a note from before
    (folder / "run.json").write_text(json.dumps(note))
    with pytest.warns(InputWarning, match="its note does not say what no_position.yaml held"):
        assert ask(tmp_path, **recipe) == folder / "model.pt"
    assert calls == []


@pytest.mark.parametrize("done", [True, False])
def test_another_train_yaml_is_another_training(done: bool, tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    folder = finished(tmp_path, bundle="crapnet", train_yaml_sha256="0aff", finished=done)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "checkpoint_1.pt").touch()
    with pytest.raises(UsageError) as refused:
        ask(tmp_path, bundle="crapnet")
    says = "was trained by another train.yaml of crapnet. Give another --models, or remove it."
    assert str(refused.value) == f"{folder}: {says}" and calls == []


def test_a_note_without_the_digest_is_a_warning(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    folder = finished(tmp_path)
    note = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    del note["train_yaml_sha256"]
    (folder / "run.json").write_text(json.dumps(note))
    with pytest.warns(InputWarning, match="its note does not say what train.yaml of adnet held"):
        assert ask(tmp_path) == folder / "model.pt"
    assert calls == []


def files_of(data: DatasetFolder) -> dict[str, Any]:
    return training_contents(Method("adnet"), data, FOLD.train, {"val_queries": 0})


def fold_of(data: DatasetFolder, models: Path) -> Path:
    evaluation = Evaluation(Method("adnet"), data="x", seed=5, settings={"steps": 50})
    return fold_models.fold_model(evaluation, data, FOLD, 1, 2, models)


def test_a_model_of_other_scans_is_refused_by_their_names(
    phantom_set: Path, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    root = tmp_path / "data"
    shutil.copytree(phantom_set, root)
    data = DatasetFolder.read(root)
    folder = finished(tmp_path, files=files_of(data), settings={"window": "not said"}, data="/elsewhere/other_name")
    note = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    del note["settings"]["window"]
    (folder / "run.json").write_text(json.dumps(note))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fold_of(data, tmp_path) == folder / "model.pt", "the folder has another name, the scans are the same"
        for case in (
            "images/case_01",
            "labels/case_01",
            "labels/case_03",
        ):  # of the query, and a label that is not read
            shutil.copy(phantom_set / "labels" / "case_04.nii.gz", root / f"{case}.nii.gz")
        assert fold_of(data, tmp_path) == folder / "model.pt"
    image = root / "images" / "case_03.nii.gz"
    stat = image.stat()
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as large and as old as it was
    with pytest.raises(UsageError) as refused:
        fold_of(data, tmp_path)
    says = "was trained on other scans: images/case_03.nii.gz (changed). Give another --models, or remove it."
    assert str(refused.value) == f"{folder}: {says}" and calls == []


def test_a_note_that_does_not_say_what_the_scans_held_is_a_warning(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    folder = finished(tmp_path, files="not said")
    with pytest.warns(InputWarning, match="its note does not say what the scans held"):
        assert ask(tmp_path) == folder / "model.pt"
    assert calls == []


def test_settings_that_cannot_change_the_weights_do_not_count(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    folder = finished(tmp_path, settings={"num_workers": 2})
    assert ask(tmp_path, settings={"steps": 50, "save_interval": 7, "cache_num": 1}) == folder / "model.pt"
    assert calls == []


def test_models_of_all_folds_are_checked_at_once(tmp_path: Path) -> None:
    finished(tmp_path, settings={"seed": 6})
    folds = [(0, FOLD), (1, FOLD)]
    plan = Plan(DATA, {1: "liver"}, {1: "liver"}, [()], folds, {name: frozenset({1}) for name in FOLD.support})
    evaluation = Evaluation(Method("adnet"), data="x", seed=5, runs=3, settings={"steps": 50})
    with pytest.raises(UsageError, match="fold1_run2: was trained with other settings .*'seed': 6.*'seed': 7"):
        fold_models.check_models(evaluation, plan, tmp_path)
    fold_models.check_models(replace(evaluation, runs=2), plan, tmp_path)  # that model is not asked for
    fold_models.check_models(replace(evaluation, model="given.pt"), plan, tmp_path)


def test_a_training_notes_what_its_recipe_held(
    phantom_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_fss.apps.train.workflow._run_workflow", lambda files, overrides: 0)
    train("crapnet:no_position", phantom_set, tmp_path / "a", device="cpu")
    assert json.loads((tmp_path / "a" / "run.json").read_text(encoding="utf-8"))["recipe_content"] == NO_POSITION
    train("crapnet", phantom_set, tmp_path / "b", device="cpu")
    note = json.loads((tmp_path / "b" / "run.json").read_text(encoding="utf-8"))
    assert note["recipe_content"] is None and note["train_yaml_sha256"] == digest("crapnet")
