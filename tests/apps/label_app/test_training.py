# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A training on the studies of a datastore: what it is given, its progress, and the model that comes of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_store import FakeStore

from monai_fss.apps import cli
from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app import training as module
from monai_fss.apps.label_app.answer import Workplace
from monai_fss.apps.label_app.command import app_files
from monai_fss.apps.label_app.studies import Study, studies_of
from monai_fss.apps.label_app.training import data_folder, progress, train_on_studies, training_options
from monai_fss.apps.methods.method import Method
from monai_fss.data import DatasetFolder, ScanError, write_json
from monai_fss.data.reading.volume import read_scan

SWAPPED = {"label_info": [{"name": "spleen", "idx": 1}, {"name": "liver", "idx": 2}]}
PLAIN = {"label_info": [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]}


def two_organs() -> np.ndarray:
    label = np.zeros((4, 4, 4), np.int16)
    label[0, 0, :2], label[1, 0, :3] = 1, 2
    return label


@pytest.fixture
def studies(tmp_path: Path) -> list[Study]:
    return studies_of(
        FakeStore(tmp_path / "store", {"a": (two_organs(), PLAIN), "b": (two_organs(), SWAPPED), "c": (None, {})})
    )


def test_studies_become_a_data_set(studies: list[Study], tmp_path: Path) -> None:
    folder = data_folder(tmp_path / "data", studies, Workplace(tmp_path / "cache", modality="MR"))
    data = DatasetFolder.read(folder)
    assert list(data.cases) == ["a", "b", "c"] and [case.name for case in data.labelled] == ["a", "b"]
    assert data.labels == {"liver": 1, "spleen": 2} and data.modality == "MR"
    counts = [np.bincount(read_scan(case.label)[0].ravel().astype(int))[1:].tolist() for case in data.labelled]
    assert counts == [[2, 3], [3, 2]], "the second label is numbered as the first"
    assert data_folder(tmp_path / "data", studies[:1], Workplace(tmp_path / "cache")) == folder
    assert list(DatasetFolder.read(folder).cases) == ["a"]


def test_steps_epochs_and_settings_are_handed_on(
    studies: list[Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was interrupted goes on; what was finished, or is of other settings, begins anew."""
    calls: list[dict[str, Any]] = []

    def train(method: Method, data: Path, run: Path, **more: Any) -> int:
        calls.append(more)
        if more.get("resume") and more["settings"].get("steps") != 100:
            raise UsageError("the training was started with other settings")
        run.mkdir(parents=True, exist_ok=True)
        (run / "model.pt").write_bytes(b"weights")
        return 7

    monkeypatch.setattr(module, "train", train)
    method, folder, place = Method("adnet"), tmp_path / "adnet", Workplace(tmp_path / "cache")
    told = train_on_studies(method, studies, folder, place, {"max_epochs": 2, "device": "cpu", "set": "kappa=0.1"})
    assert calls[0] == {"overwrite": True, "settings": {"kappa": 0.1, "steps": 100}, "device": "cpu"}
    assert (folder / "model.pt").read_bytes() == b"weights" and told["steps"] == 7
    assert told["studies"] == ["a", "b", "c"] and told["passed_over"] == []
    write_json(folder / "training" / "run.json", {"bundle": "adnet", "settings": {}, "finished": False})
    (folder / "training" / "checkpoints").mkdir()
    (folder / "training" / "checkpoints" / "checkpoint_50.pt").touch()
    train_on_studies(method, studies, folder, place, {"steps": 100})
    assert calls[1] == {"resume": True, "settings": {"steps": 100}, "device": None} and len(calls) == 2
    train_on_studies(method, studies, folder, place, {"steps": 150})
    assert [sorted(call)[1] for call in calls[2:]] == ["resume", "overwrite"]


def test_the_scribbles_of_a_study_train_prnet(
    studies: list[Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def train(method: Method, data: Path, run: Path, **more: Any) -> int:
        given.update(more["settings"])
        run.mkdir(parents=True)
        (run / "model.pt").touch()
        return 1

    monkeypatch.setattr(module, "train", train)
    marked = [Study("b", studies[1].image, tmp_path / "b.nii.gz"), Study("c", studies[2].image)]
    train_on_studies(Method("prnet"), studies, tmp_path / "prnet", Workplace(tmp_path), {}, marked)
    assert given == {"support": "b", "scribbles": str(tmp_path / "b.nii.gz"), "background": 255}
    assert "support" in training_options(Method("prnet")) and "support" not in training_options(Method("adnet"))


def test_what_cannot_be_trained_on_is_passed_over_or_refused(studies: list[Study], tmp_path: Path) -> None:
    studies[2].image.write_bytes(b"no scan")
    with pytest.raises(ScanError, match="c.nii.gz"):
        train_on_studies(Method("adnet"), studies[2:], tmp_path / "adnet", Workplace(tmp_path), {})
    for request, told in (
        ({"steps": "many"}, "are no numbers of 0 or more"),
        ({"steps": 5, "set": "steps=6"}, "steps: is given twice"),
        ({"set": "stepz=6"}, "Did you mean steps"),
        ({"device": "tpu"}, "device 'tpu': is not known"),
    ):
        with pytest.raises(UsageError, match=told):
            train_on_studies(Method("adnet"), studies, tmp_path / "adnet", Workplace(tmp_path), request)
    assert not (tmp_path / "adnet" / "training").exists()


def test_progress_is_read_from_the_folder(tmp_path: Path) -> None:
    assert progress(tmp_path) == {}
    run = tmp_path / "training"
    (run / "checkpoints" / "best").mkdir(parents=True)
    note = {"bundle": "adnet", "recipe": None, "settings": {"steps": 200, "steps_per_epoch": 50}, "finished": False}
    write_json(run / "run.json", note)
    for name in ("checkpoint_50.pt", "checkpoint_100.pt", "best/best_model_dice=0.7312.pt"):
        (run / "checkpoints" / name).touch()
    told = progress(tmp_path)
    assert (told["epoch"], told["total_epochs"], told["best_metric"]) == (2, 4, 0.7312) and "total_time" not in told
    write_json(run / "run.json", {**note, "finished": True, "steps": 200})
    write_json(tmp_path / "trained.json", {"seconds": 12.5})
    assert progress(tmp_path)["epoch"] == 4 and progress(tmp_path)["total_time"] == 12.5


@pytest.mark.slow
def test_a_training_and_its_progress_are_real(phantom_set: Path, tmp_path: Path, small: Any, one_thread: None) -> None:
    images = sorted((phantom_set / "images").glob("*.nii.gz"))
    studies = [Study(file.name.split(".")[0], file) for file in images]
    setting = ",".join(f"{key}={json.dumps(value)}" for key, value in (small("adnet") | {"val_queries": 0}).items())
    setting = setting.replace("steps=2,", "").replace('"', "")
    told = train_on_studies(
        Method("adnet"), studies, tmp_path / "adnet", Workplace(tmp_path), {"steps": 2, "device": "cpu", "set": setting}
    )
    assert told["steps"] == 2 and Path(told["model"]).is_file()
    assert (progress(tmp_path / "adnet")["epoch"], progress(tmp_path / "adnet")["total_epochs"]) == (2, 2)


def test_the_command_writes_the_app_and_replaces_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "app"
    assert cli.main(["label-app", str(folder)]) == 0
    assert f"monailabel start_server --app {folder}" in capsys.readouterr().out
    assert {file.name: file.read_text() for file in folder.iterdir() if file.is_file()} == app_files()
    compile(app_files()["main.py"], "main.py", "exec")
    (folder / "model" / "mine.pt").touch()
    (folder / "main.py").write_text("# changed")
    assert cli.main(["label-app", str(folder)]) == 2
    assert "main.py: exists already" in capsys.readouterr().err
    assert cli.main(["label-app", str(folder), "--overwrite"]) == 0 and (folder / "model" / "mine.pt").exists()
    assert (folder / "main.py").read_text() == app_files()["main.py"]
    shutil.rmtree(folder)
