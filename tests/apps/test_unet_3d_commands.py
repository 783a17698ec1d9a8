# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The supervised U-Net by the commands: trained on labels or pseudo-labels, used and evaluated without a support."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_fss.__main__ import main
from monai_fss.apps.methods.method import Method
from monai_fss.apps.train.contents import training_contents
from monai_fss.data import DatasetFolder, read_model
from monai_fss.results.files import read_results

Small = Callable[[str], dict[str, Any]]
CASES = ["case_01", "case_02", "case_03", "case_04"]


@pytest.fixture
def words(small: Small) -> Callable[..., list[str]]:
    """``--set`` of a tiny training, with changes."""

    def pairs(**changes: Any) -> list[str]:
        settings = {key: value for key, value in (small("unet_3d") | changes).items() if value is not None}
        return [
            "--set",
            *(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()),
        ]

    return pairs


@pytest.fixture
def pseudo(phantom_set: Path, tmp_path: Path) -> Path:
    """Pseudo-labels of the scans 2 to 4."""
    folder = tmp_path / "pseudo"
    folder.mkdir()
    for case in CASES[1:]:
        shutil.copy(phantom_set / "labels" / f"{case}.nii.gz", folder)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "one_thread")
def test_from_pseudo_labels_to_masks(
    phantom_set: Path, pseudo: Path, words: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = tmp_path / "run", ["--data", str(phantom_set), "--output", str(tmp_path / "run"), "--device", "cpu"]
    command = ["train", "--bundle", "unet_3d", *data]
    asked = words(label_dir=str(pseudo), scans=1, seed=1)
    assert main([*command, *asked]) == 0
    said = capsys.readouterr().out
    assert "learns from 1 of 3 labelled scans (case_0" in said and "labels 1, 4; validation on case_01" in said
    assert f"next: monai-fss segment --model {run / 'model.pt'} --images DIR --output DIR" in said
    note = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert [name for name in note["files"] if "label" in name] == [
        "labels/case_01.nii.gz",
        *(f"label_dir/{case}.nii.gz" for case in CASES[1:]),
    ]
    assert read_model(run / "model.pt")["settings"]["class_names"] == ["liver", "spleen"]
    images = ["--images", str(phantom_set / "images" / "case_02.nii.gz"), "--output", str(tmp_path / "out")]
    assert main(["segment", "--model", str(run / "model.pt"), *images, "--labels", "4", "--device", "cpu"]) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "quality.csv").open(encoding="utf-8")))
    assert [(row["case"], row["label"], row["name"]) for row in rows] == [
        ("case_02", "1", "liver"),
        ("case_02", "4", "spleen"),
    ]
    for row in rows:
        assert (0 if row["note"] else 1 / 3) <= float(row["quality"]) <= 1
    mask = np.asarray(nib.Nifti1Image.from_filename(tmp_path / "out" / "case_02.nii.gz").dataobj)
    assert mask.shape == (64, 64, 12) and set(np.unique(mask)) <= {0, 4}


def test_a_note_says_what_was_learnt_from(phantom_set: Path, pseudo: Path) -> None:
    method, data = Method("unet_3d"), DatasetFolder.read(phantom_set)
    own = training_contents(method, data, CASES[:2], {"val_queries": 0})
    assert sorted(own) == [f"{folder}/{case}.nii.gz" for folder in ("images", "labels") for case in CASES[:2]]
    other = training_contents(method, data, CASES[:2], {"val_queries": 0, "label_dir": str(pseudo)})
    assert sorted(other) == ["images/case_01.nii.gz", "images/case_02.nii.gz", "label_dir/case_02.nii.gz"]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "one_thread")
def test_a_training_of_other_pseudo_labels_does_not_go_on(
    phantom_set: Path, pseudo: Path, words: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(phantom_set), "--output", str(tmp_path / "run"), "--device", "cpu"]
    command = ["train", "--bundle", "unet_3d", *data, *words(label_dir=str(pseudo), val_queries=0)]
    assert main(command) == 0
    note = tmp_path / "run" / "run.json"
    note.write_text(note.read_text(encoding="utf-8").replace('"finished": true', '"finished": false'), encoding="utf-8")
    moved = shutil.move(pseudo, tmp_path / "moved")
    command = [word.replace(str(pseudo), str(moved)) for word in command]
    assert main([*command, "--resume"]) == 0, "where they lie does not count"
    note.write_text(note.read_text(encoding="utf-8").replace('"finished": true', '"finished": false'), encoding="utf-8")
    file = Path(moved) / "case_02.nii.gz"
    label = nib.Nifti1Image.from_filename(file)
    nib.Nifti1Image(np.where(np.asarray(label.dataobj) == 1, 4, 1).astype(np.uint8), label.affine).to_filename(file)
    capsys.readouterr()
    assert main([*command, "--resume"]) == 2
    assert "was trained on other scans: label_dir/case_02.nii.gz (changed)" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "one_thread")
def test_a_fold_is_learnt_from_the_labels_of_its_training_cases(
    phantom_set: Path, words: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--bundle", "unet_3d", "--data", str(phantom_set), "--fold", "0", "--labels", "1,4"]
    command.append("--quality")
    asked = words(labels=None, val_queries=None)
    assert main([*command, "--output", str(tmp_path / "out"), "--device", "cpu", *asked]) == 0
    assert (
        "learns from 2 of 2 labelled scans (case_03, case_04), labels 1, 4; validation on none"
        in capsys.readouterr().out
    )
    note = json.loads((tmp_path / "out" / "models" / "fold0_run0" / "run.json").read_text(encoding="utf-8"))
    assert note["cases"] == ["case_03", "case_04"] and "support" not in note["settings"]
    results = read_results(tmp_path / "out")
    assert results.settings["labelled_slices"] == "all"
    assert {entry.method for entry in results.entries} == {"unet_3d", "mask paste"}
    assert {(entry.case, entry.name) for entry in results.entries} == {("case_01", "liver"), ("case_01", "spleen")}
    assert all(np.isfinite(entry.dice) for entry in results.entries)
    assert all(0 <= entry.quality <= 1 for entry in results.entries if entry.method == "unet_3d")


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (["--protocol", "ep1"], "--protocol ep1: tells slices, and unet_3d segments whole scans."),
        (["--setting", "2"], "--setting 2: trains without the classes that unet_3d learns."),
        (["--support-slices", "all"], "--support-slices all: unet_3d learns from labels. Leave it out."),
        (["--prior", "atlas"], "--quality, --prior: need a labelled scan beside the model, and unet_3d takes none."),
        (["--set", "labels=[1]"], "--set labels: those that are scored are learnt. Give --labels."),
    ],
)
def test_evaluate_refuses_what_does_not_fit(
    extra: list[str], text: str, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--bundle", "unet_3d", "--data", str(phantom_set), "--output", str(tmp_path / "out")]
    assert main([*command, *extra]) == 2
    assert text in capsys.readouterr().err


def test_training_is_refused_before_anything_is_written(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--bundle", "unet_3d", "--data", str(phantom_set), "--output", str(tmp_path / "run")]
    assert main([*command, "--set", "labels=[9]"]) == 2
    assert "labels: 9 is in no label; they show 1, 2, 3, 4, 5. Choose from these." in capsys.readouterr().err
    assert main([*command, "--set", "roi_size=[96,80,40]"]) == 2
    assert "roi_size=[96,80,40]: are no multiples of 16" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_learns_from_labels_is_told_by_its_configuration() -> None:
    assert [name for name in ("adnet", "atlas", "prnet", "unet_3d") if Method(name).is_supervised] == ["unet_3d"]
