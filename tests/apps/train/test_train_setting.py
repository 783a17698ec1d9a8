# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss train` in setting 2."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from monai_fss.apps.cli import main
from monai_fss.apps.train.workflow import train as train_in_python

SMALL = ["steps=2", "steps_per_epoch=1", "batch_size=1", "size=[64, 64]", "pixdim=5", "tensorboard=false"]


def train(data: Path, output: Path, *settings: str) -> int:
    words = ["train", "--bundle", "adnet", "--data", str(data), "--output", str(output), "--device", "cpu"]
    return main([*words, "--set", *SMALL, "supervoxel_ml=40", *settings])


@pytest.mark.usefixtures("one_thread")
def test_it_trains_on_runs_of_slices_and_says_how_many(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    assert train(phantom_set, output, "setting=2", "test_classes=[2,3]", "val_queries=1", "val_interval=2") == 0
    out = capsys.readouterr().out
    assert "setting 2: " in out and " slices without a test class, in " in out and " runs of 4 scans\n" in out
    runs = int(out.split("test class, in ")[1].split()[0])
    assert runs > 4 and len(list((output / "cache").glob("*.pt"))) == runs
    assert (output / "model_best.pt").exists()  # validated on whole scans, test classes and all


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["setting=3"], "--set setting=3: is unknown. Give 1, or 2 to leave out slices that show test classes."),
        (["setting=2"], "--set setting=2: leaves nothing out without test classes."),
        (["test_classes=[2, 3]"], "--set test_classes=[2, 3]: would be ignored in setting 1. Give setting=2"),
        (["setting=2", "test_classes=[kidney]"], "--set test_classes=['kidney']: kidney is no label value."),
        (["setting=2", "test_classes=[9]"], "no training scan shows 9; they show 1, 2, 3, 4, 5. Correct test_classes."),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_anything_is_written(
    settings: list[str], says: str, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(phantom_set, tmp_path / "run", *settings) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_every_training_scan_needs_its_label(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_fss.apps.train.workflow._run_workflow", lambda files, overrides: 0)
    data = tmp_path / "data"
    shutil.copytree(phantom_set, data)
    (data / "labels" / "case_03.nii.gz").unlink()
    assert train(data, tmp_path / "run", "setting=2", "test_classes=[2]") == 2
    assert "case_03.nii.gz: has no label, so slices that show test classes cannot be left" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert train(data, tmp_path / "run") == 0


@pytest.mark.parametrize(("bundle", "runs"), [("adnet", 5), ("panet", 7), ("panet:self_supervision=supervoxels", 5)])
def test_superpixels_keep_single_slices_and_supervoxels_do_not(
    bundle: str, runs: int, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr("monai_fss.apps.train.workflow._run_workflow", lambda files, overrides: 0)
    settings = {"setting": 2, "test_classes": [2, 3], "val_queries": 0}
    train_in_python(bundle, phantom_set, tmp_path / "run", settings=settings, device="cpu")
    assert f"in {runs} runs of 4 scans\n" in capsys.readouterr().out
