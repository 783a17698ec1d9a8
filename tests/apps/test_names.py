# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Names are names: of files, folders, cases, organs and values that MONAI's ConfigParser would run or replace."""

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
from bundle_command import run_here

from monai_fss.apps.cli import main
from monai_fss.data import read_model

RUN = "$open('EVALUATED','w')"
"""What the parser evaluates where it begins a text."""
NAMES = [RUN, "@output_dir", "%output_dir", "case #3", 'it\'s "4"', "e::f"]
ORGANS = {"$open('EVALUATED','w')": 1, "@labels": 2, "%names": 3, "organ #4": 4, "a::'e'": 5}
FAST = ["preset=fast", "starts=1", "spacing=[6,6,10]"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread", "registered_once")]


@pytest.fixture
def place(phantom_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a data set whose scans, organs and folder have such names; relative paths begin so."""
    root = tmp_path / "here"
    root.mkdir()
    monkeypatch.chdir(root)
    data = root / RUN
    for kind in ("images", "labels"):
        (data / kind).mkdir(parents=True)
        for number, name in enumerate(NAMES[:4], start=1):
            shutil.copy(phantom_set / kind / f"case_0{number}.nii.gz", data / kind / f"{name}.nii.gz")
    folds = [NAMES[:2], NAMES[2:4]]
    text = json.dumps({"name": "%data #1", "labels": ORGANS, "folds": folds})
    (data / "dataset.json").write_text(text, encoding="utf-8")
    return root


@pytest.fixture(autouse=True)
def nothing_runs(place: Path) -> Any:
    """Whatever a test does: no name was evaluated, and no folder of another name has appeared."""
    yield
    assert not list(place.rglob("EVALUATED"))
    strange = [
        p for p in place.iterdir() if p.name not in {*NAMES, "out", "split #1.json", "$scan.nii.gz", "%table.csv"}
    ]
    assert not strange


def names_of(table: Path) -> set[tuple[str, str]]:
    with table.open(newline="", encoding="utf-8") as stream:
        return {(row["case"], row["name"]) for row in csv.DictReader(stream)}


@pytest.mark.parametrize("output", NAMES)
def test_results_lie_where_they_were_asked_for(output: str, place: Path) -> None:
    support, query = RUN, NAMES[1 + NAMES.index(output) % 2]  # pairs that other tests register
    (place / "out").mkdir()
    shutil.copy(place / RUN / "images" / f"{query}.nii.gz", place / "out")
    words = ["segment", "--images", "out", "--output", output if output != RUN else "@output_dir", "--set", *FAST]
    words += ["--support-image", f"{RUN}/images/{support}.nii.gz"]
    words += ["--support-label", f"{RUN}/labels/{support}.nii.gz", "--no-quality", "--probabilities"]
    assert main(words) == 0
    folder = place / words[4]
    mask = np.asarray(nib.Nifti1Image.from_filename(folder / f"{query}.nii.gz").dataobj)
    truth = np.asarray(nib.Nifti1Image.from_filename(place / RUN / "labels" / f"{query}.nii.gz").dataobj)
    assert 2 * ((mask == 1) & (truth == 1)).sum() / ((mask == 1).sum() + (truth == 1).sum()) > 0.8
    assert (folder / "probabilities" / f"{query}.nii.gz").is_file()
    assert (folder / "overlays" / f"{query}.png").is_file()
    assert names_of(folder / "quality.csv") == {(query, organ) for organ in ORGANS}
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["segmented_now"] == [query]


def test_training_takes_names_for_names(place: Path, small: Callable[[str], dict[str, Any]]) -> None:
    settings = [f"{key}={json.dumps(value)}" for key, value in small("adnet").items()]
    words = ["train", "--data", RUN, "--output", "%output_dir", "--cases", ",".join(NAMES[:3]), "--set", *settings]
    assert main([*words, "cache_dir=case #3"]) == 0
    assert (place / "%output_dir" / "model.pt").is_file() and list((place / "case #3").glob("*.pt"))
    note = json.loads((place / "%output_dir" / "run.json").read_text(encoding="utf-8"))
    assert note["cases"] == NAMES[:3] and note["settings"]["cache_dir"] == "case #3"
    words = ["segment", "--model", "%output_dir/model.pt", "--images", f"{RUN}/images/{NAMES[3]}.nii.gz"]
    words += ["--support-image", f"{RUN}/images/{RUN}.nii.gz", "--support-label", f"{RUN}/labels/{RUN}.nii.gz"]
    assert main([*words, "--output", "@output_dir", "--no-quality"]) == 0
    assert (place / "@output_dir" / f"{NAMES[3]}.nii.gz").is_file()


def test_scribbles_and_names_of_organs_that_a_model_keeps(
    place: Path, small: Callable[[str], dict[str, Any]], phantom_set: Path
) -> None:
    shutil.copy(phantom_set / "labels" / "case_01.nii.gz", place / "$scan.nii.gz")
    settings = {**small("prnet"), "support": NAMES[0], "scribbles": "$scan.nii.gz", "background": 5, "labels": [1, 4]}
    pairs = [f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()]
    assert main(["train", "--bundle", "prnet", "--data", RUN, "--output", "e::f", "--set", *pairs]) == 0
    known = read_model(place / "e::f" / "model.pt")["settings"]["class_names"]
    assert known == ["$open('EVALUATED','w')", "organ #4"]
    words = ["segment", "--bundle", "prnet", "--model", "e::f/model.pt", "--output", NAMES[4]]
    assert main([*words, "--images", f"{RUN}/images/{NAMES[1]}.nii.gz"]) == 0
    assert names_of(place / NAMES[4] / "quality.csv") == {(NAMES[1], organ) for organ in known}


def test_an_evaluation_takes_names_for_names(place: Path) -> None:
    (place / "split #1.json").write_text(
        json.dumps({"folds": [{"train": [NAMES[1]], "support": NAMES[0], "queries": [NAMES[2]]}]}), encoding="utf-8"
    )
    words = ["evaluate", "--bundle", "atlas", "--data", RUN, "--split", "split #1.json", "--labels", "1,4"]
    words += ["--models", "%output_dir", "--output", "case #3", "--no-baselines", "--set", *FAST]
    assert main(words) == 0
    with (place / "case #3" / "results.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["case"], row["name"]) for row in rows} == {(NAMES[2], RUN), (NAMES[2], "organ #4")}
    assert all(float(row["dice"]) > 0.5 for row in rows if row["label"] == "1")
    assert list((place / "%output_dir" / "registrations").glob("*.pt"))
    assert main(["compare", "case #3", "case #3"]) in (0, 2)


def test_the_other_commands_take_names_for_names(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monai_fss.apps.suggest._distances", lambda cases, *_: 1 - np.eye(len(cases)))
    assert main(["check", RUN]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("%data #1", *NAMES[:4]))
    assert main(["suggest", RUN, "--labelled", NAMES[0], "--count", "1", "--output", "%table.csv"]) == 0
    assert (place / "%table.csv").is_file()


@pytest.mark.parametrize("value", ["window=$open('EVALUATED','w')", "names={1: {_target_: builtins.open}}"])
def test_a_value_is_never_run(value: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first is a text where a window is expected; the second would be a call."""
    words = ["segment", "--images", f"{RUN}/images/{NAMES[1]}.nii.gz", "--output", "@output_dir", "--no-quality"]
    words += ["--support-image", f"{RUN}/images/{RUN}.nii.gz", "--support-label", f"{RUN}/labels/{RUN}.nii.gz"]
    assert main([*words, "--set", *FAST, value]) != 0
    assert not list(place.rglob("EVALUATED"))


def test_through_monai_bundle_names_of_files_are_not_run(
    place: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scans of a folder; what stands on that command line itself, MONAI has read before a bundle sees it."""
    (place / "out").mkdir()
    for name in (RUN, NAMES[3]):
        shutil.copy(place / RUN / "images" / f"{name}.nii.gz", place / "out")
    support = place.parent / "support"
    shutil.copytree(place / RUN, support)
    config = repository / "bundles" / "atlas" / "configs" / "inference.yaml"
    command = ["run", "inference", "--config_file", str(config), "--device", "$torch.device('cpu')"]
    command += ["--dataset_dir", "out", "--support_image", str(support / "images" / f"{NAMES[1]}.nii.gz")]
    command += ["--support_label", str(support / "labels" / f"{NAMES[1]}.nii.gz"), "--cache_dir", "None"]
    command += ["--quality", "False", "--overlays", "False", "--preset", "fast", "--starts", "1"]
    command += ["--spacing", "[6,6,10]"]
    assert run_here([*command, "--output_dir", "out/masks"], place) == 0
    assert {p.name for p in (place / "out" / "masks").glob("*.nii.gz")} == {f"{RUN}.nii.gz", f"{NAMES[3]}.nii.gz"}
    assert run_here([*command, "--output_dir", "case #3"], place) == 2
    assert "is not what was typed (case #3)" in capsys.readouterr().err
