# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss train` by labelled organs, and for no steps at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from monai_fss.apps.cli import main
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.untrained import starting_network
from monai_fss.apps.methods.method import Method
from monai_fss.apps.train.contents import training_contents
from monai_fss.apps.train.workflow import train as train_in_python
from monai_fss.data import DatasetFolder, read_model

SMALL = ["steps_per_epoch=1", "batch_size=1", "size=[64, 64]", "pixdim=5", "min_area=100", "tensorboard=false"]


def train(bundle: str, data: Path, output: Path, *settings: str) -> int:
    words = ["train", "--bundle", bundle, "--data", str(data), "--output", str(output), "--device", "cpu"]
    return main([*words, "--set", *SMALL, *settings])


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_it_trains_by_labelled_organs_says_which_and_validates_on_others_than_the_tested(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        train(
            "alpnet:episodes=labels", phantom_set, tmp_path / "run", "steps=1", "val_interval=1", "test_classes=[2,3]"
        )
        == 0
    )
    assert "episodes of labels 1, 4, 5 of 4 labelled scans; without labels 2, 3\n" in capsys.readouterr().out
    assert (tmp_path / "run" / "model_best.pt").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["episodes=organs"], "episodes=organs: is not one of pseudo_labels, labels"),
        (
            ["episodes=labels", "test_classes=[1,2,3,4,5]"],
            "4 labelled training scans show no organ but 1, 2, 3, 4, 5, which are tested",
        ),
        (["episodes=labels", "setting=2"], "setting=2: leaves nothing out without test classes."),
        (["test_classes=[2]"], "would be ignored in setting 1"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(
    settings: list[str], says: str, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("panet", phantom_set, tmp_path / "run", "steps=1", *settings) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_scans_without_a_label_are_passed_over_and_the_labels_belong_to_the_training(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_fss.apps.train.workflow._run_workflow", lambda files, overrides: 0)
    data = tmp_path / "data"
    shutil.copytree(phantom_set, data)
    (data / "labels" / "case_03.nii.gz").unlink()
    assert train("panet", data, tmp_path / "run", "steps=1", "episodes=labels", "val_queries=0") == 0
    assert "episodes of labels 1, 2, 3, 4, 5 of 3 labelled scans\n" in capsys.readouterr().out
    method, folder = Method("panet"), DatasetFolder.read(data)
    read = training_contents(method, folder, None, {**method.known, "episodes": "labels", "val_queries": 0})
    assert {name for name in read if name.startswith("labels/")} == {
        f"labels/case_0{n}.nii.gz" for n in (1, 2, 4) if (data / "labels" / f"case_0{n}.nii.gz").exists()
    }


@pytest.mark.usefixtures("one_thread")
def test_without_a_step_the_model_has_the_weights_of_the_untrained_baseline(phantom_set: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"val_queries": 0, "tensorboard": False, "seed": 3}
    assert train_in_python("alpnet:init", phantom_set, tmp_path / "run", settings=settings, device="cpu") == 0
    weights = read_model(tmp_path / "run" / "model.pt")["model"]
    known = starting_network(Evaluation(Method("alpnet"), str(phantom_set), seed=3)).state_dict()
    shared = weights.keys() & known.keys()
    assert any("encoder" in key for key in shared) and all(torch.equal(weights[key], known[key]) for key in shared)


def test_a_method_that_learns_what_to_segment_takes_steps(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--bundle", "unet_3d", "--data", str(phantom_set), "--output", str(tmp_path / "run")]
    assert main([*words, "--set", "steps=0"]) == 2
    assert "--set steps=0: trains nothing, and this method learns what to segment" in capsys.readouterr().err
