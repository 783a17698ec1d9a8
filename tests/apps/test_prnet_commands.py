# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PRNet by the commands: trained on the scribbles of one scan, stage by stage, and used without a support."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_fss.__main__ import main
from monai_fss.apps.train.workflow import train
from monai_fss.data import read_model
from monai_fss.engines.stages import stage_folder
from monai_fss.results.files import read_results

Small = Callable[[str], dict[str, Any]]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]


@pytest.fixture(scope="module")
def run(trained_once: Callable[[str], Path]) -> Path:
    return trained_once("prnet")


def stages(run: Path) -> dict[str, Path]:
    return {path.name.split("-")[0]: path for path in (run / "cache").glob("*-*")}


def test_every_stage_leaves_what_the_next_one_needs(run: Path, phantom_set: Path) -> None:
    found = stages(run)
    assert sorted(found) == ["coarse", "fine", "propagate"]
    assert all((folder / "stage.json").is_file() for folder in found.values())
    assert sorted(path.name for path in found["propagate"].glob("*.nii.gz")) == [
        f"case_0{i}.nii.gz" for i in (1, 2, 3, 4)
    ]
    pictures = sorted(path.name for path in (found["propagate"] / "pictures").glob("*.png"))
    assert pictures == [f"case_0{i}.png" for i in (1, 3, 4)], "the scan with the scribbles has no way to show"
    rows = list(csv.DictReader((found["propagate"] / "propagation.csv").open(encoding="utf-8")))
    assert {(row["case"], row["label"]) for row in rows} == {
        (f"case_0{case}", label) for case in (1, 2, 3, 4) for label in ("1", "4", "255")
    }
    assert all(row["kept"] == row["points"] for row in rows), "tau is below every similarity"
    settings = read_model(run / "model.pt")["settings"]
    assert settings["values"] == [1, 4] and settings["class_names"] == ["liver", "spleen"]
    assert settings["pieces"] == [1, 1]
    assert settings["background"] == 255


def test_stages_that_are_done_are_found_again(
    run: Path, phantom_set: Path, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run / "cache").rglob("*") if path.is_file()}
    other = small("prnet") | {"cache_dir": str(run / "cache"), "correct": False, "learning_rate": 0.01}
    train("prnet", phantom_set, tmp_path / "other", settings=other, device="cpu")
    assert "running" not in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (run / "cache").rglob("*") if path.is_file()} == before
    one, two = (read_model(folder / "model.pt")["model"] for folder in (run, tmp_path / "other"))
    same = {key: bool((one[key] == two[key]).all()) for key in one}
    assert all(same[key] for key in one if key.startswith(("coarse.", "fine.", "point_")))
    assert not all(same[key] for key in one if key.startswith("segmenter."))


def test_a_stage_is_named_by_what_it_depends_on(phantom_set: Path, tmp_path: Path) -> None:
    bundle = Path(__file__).resolve().parents[2] / "bundles" / "prnet"
    copy = shutil.copytree(phantom_set, tmp_path / "copy")

    def name(data: Path = phantom_set, cases: list[str] | None = None, **settings: Any) -> str:
        plain = {"dataset_dir": str(data), "cases": cases, "level": "fine", **settings}
        return stage_folder(bundle, "pretrain", tmp_path, plain).name

    assert name() == name(copy) and name().startswith("fine-"), "where the scans lie does not count"
    assert name() != name(seed=1) and name() != name(cases=["case_01", "case_02"])
    image = copy / "images" / "case_01.nii.gz"
    os.utime(image)
    assert name() == name(copy), "a scan that was written anew and holds the same is the same"
    shutil.copy2(copy / "images" / "case_02.nii.gz", image)
    assert name() != name(copy)


def test_segment_needs_no_labelled_scan(run: Path, phantom_set: Path, tmp_path: Path) -> None:
    command = ["segment", "--bundle", "prnet", "--model", str(run / "model.pt"), "--output", str(tmp_path / "out")]
    assert main([*command, "--images", str(phantom_set / "images" / "case_03.nii.gz")]) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "quality.csv").open(encoding="utf-8")))
    assert [(row["case"], row["name"]) for row in rows] == [("case_03", "liver"), ("case_03", "spleen")]
    assert all(0 <= float(row["quality"]) <= 1 for row in rows)
    assert (tmp_path / "out" / "case_03.nii.gz").is_file() and (tmp_path / "out" / "overlays" / "case_03.png").is_file()


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (
            ["--support-image", "a.nii.gz", "--support-label", "b.nii.gz"],
            "--support-image, --support-label: prnet has learnt",
        ),
        (["--labels", "1,9"], "--labels 9: "),
        (["--prior", "atlas"], "--prior atlas: registers a labelled scan, and prnet takes none."),
    ],
)
def test_segment_refuses_what_does_not_fit(
    extra: list[str], text: str, run: Path, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["segment", "--bundle", "prnet", "--model", str(run / "model.pt"), "--output", str(tmp_path / "out")]
    assert main([*command, "--images", str(phantom_set / "images"), *extra]) == 2
    assert text in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_other_methods_still_need_a_labelled_scan(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", "--images", str(phantom_set / "images"), "--output", str(tmp_path / "out")]) == 2
    assert (
        "--support-image, --support-label: are needed, as atlas segments by a labelled scan." in capsys.readouterr().err
    )


def test_evaluate_trains_on_the_folds_and_on_the_scribbles_of_its_support(
    phantom_set: Path, small: Small, tmp_path: Path
) -> None:
    settings = [
        f"{key}={value}" for key, value in small("prnet").items() if key not in ("support", "labels", "val_queries")
    ]
    command = ["evaluate", "--bundle", "prnet", "--data", str(phantom_set), "--fold", "0", "--labels", "1,4"]
    settings = [text.replace("None", "null") for text in settings]
    assert main([*command, "--output", str(tmp_path / "out"), "--device", "cpu", "--set", *settings]) == 0
    results = read_results(tmp_path / "out")
    methods = {entry.method for entry in results.entries}
    assert methods == {"prnet", "mask paste"}, "an untrained network has no points to look around"
    assert {(entry.case, entry.name) for entry in results.entries} == {("case_01", "liver"), ("case_01", "spleen")}
    assert all(np.isfinite(entry.dice) for entry in results.entries)


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (["--protocol", "ep1"], "--protocol ep1: tells slices, and prnet segments whole scans."),
        (["--setting", "2"], "--setting 2: trains without the classes that prnet learns."),
        (["--supports", "2"], "--supports 2: prnet learns from one scan alone."),
        (["--quality"], "--quality, --prior: need a labelled scan beside the model, and prnet takes none."),
    ],
)
def test_evaluate_refuses_what_does_not_fit(
    extra: list[str], text: str, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--bundle", "prnet", "--data", str(phantom_set), "--output", str(tmp_path / "out")]
    assert main([*command, *extra]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.usefixtures("run")
def test_training_is_refused_without_scribbles(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        train("prnet", phantom_set, tmp_path / "run", device="cpu")
    assert stop.value.code == 2
    assert "support: is not set. Name the case that has the scribbles" in capsys.readouterr().err
