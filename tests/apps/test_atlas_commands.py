# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss segment` and `evaluate` by the atlas, which needs no model."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from segment_scene import CASES, Scene, make_scene, tree

from monai_fss.apps.cli import main
from monai_fss.data import read_model
from monai_fss.handlers.segment_report import read_quality
from monai_fss.results.files import read_results

FAST = ["preset=fast", "spacing=[6,6,10]", "starts=1"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn", "one_thread", "registered_once")]


@pytest.fixture
def scene(phantom_set: Path, trained: Path, tmp_path: Path) -> Scene:
    return make_scene(tmp_path, phantom_set, trained)


def words(scene: Scene, *more: str) -> list[str]:
    """As a user without a model types it."""
    command = ["segment", "--support-image", str(scene.support), "--support-label", str(scene.label)]
    return [*command, "--images", str(scene.images), "--output", str(scene.root / "out"), *more]


def read(path: Path) -> np.ndarray:
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj)


def test_without_a_model_a_scan_is_segmented_by_registration(scene: Scene, phantom_set: Path) -> None:
    assert main(words(scene, "--labels", "1,2", "--set", *FAST)) == 0
    out = scene.root / "out"
    for case in CASES:
        mask, truth = read(out / f"{case}.nii.gz"), read(phantom_set / "labels" / f"{case}.nii.gz")
        assert mask.shape == truth.shape and set(np.unique(mask)) == {0, 1, 2}
        liver, known = mask == 1, truth == 1
        assert 2 * (liver & known).sum() / (liver.sum() + known.sum()) > 0.8
        assert (out / "overlays" / f"{case}.png").is_file()
    rows = read_quality(out / "quality.csv")
    assert [(row["case"], row["label"]) for row in rows] == [(case, label) for case in CASES for label in "12"]
    assert all(0 < float(row["quality"]) <= 1 for row in rows)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["inputs"]["bundle"] == "atlas" and report["inputs"]["model"] is None

    # Another organ: the registrations are known, so the cache does not grow.
    before = {p.name for p in (out / "cache").iterdir()}
    assert len(before) == 3 * len(CASES), "there and back, and the sides, for each query"
    assert main(words(scene, "--labels", "3", "--overwrite", "--set", *FAST)) == 0
    assert set(np.unique(read(out / f"{CASES[0]}.nii.gz"))) == {0, 3}
    assert {p.name for p in (out / "cache").iterdir()} == before
    again = words(scene, "--labels", "3", "--cache-size", "0", "--set", *FAST)
    again[again.index(str(out))] = str(scene.root / "none_kept")
    assert main(again) == 0
    assert not (scene.root / "none_kept" / "cache").exists()
    for case in CASES:
        np.testing.assert_array_equal(read(scene.root / "none_kept" / f"{case}.nii.gz"), read(out / f"{case}.nii.gz"))


@pytest.mark.usefixtures("unregistered")
def test_what_the_query_does_not_show_is_left_out_in_words(
    scene: Scene, phantom_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One query ends where an organ of the labelled scan begins; another shows everything."""
    cut, whole = CASES
    known = read(scene.label)
    end = max(int(np.flatnonzero((known == v).any((0, 1)))[0]) for v in (1, 2, 3, 4)) - 1
    file = scene.images / f"{cut}.nii.gz"
    lower = nib.Nifti1Image.from_filename(file).slicer[..., :end]
    nib.Nifti1Image(np.asarray(lower.dataobj), nib.Nifti1Image.from_filename(scene.support).affine).to_filename(file)
    missing = [v for v in (1, 2, 3, 4) if not (known[..., :end] == v).any()]
    assert main(words(scene, "--set", *FAST)) == 0
    said = capsys.readouterr()
    values = ", ".join(map(str, missing))
    assert f"warning: {cut}: label value(s) {values} left out: the organ lies outside the scan" in said.err
    assert f"{len(missing)} organ(s) in 1 scan(s) are empty: the notes in" in said.out
    rows = read_quality(scene.root / "out" / "quality.csv")
    for row in rows:
        empty = row["case"] == cut and int(row["label"]) in missing
        assert ("lies outside the scan" in row["note"]) == empty == (float(row["volume_ml"]) == 0)
        assert float(row["quality"]) == 0 if empty else row["note"] == ""
    assert {row["case"] for row in rows} == {cut, whole}
    assert not np.isin(read(scene.root / "out" / f"{cut}.nii.gz"), missing).any()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--support-slices", "3"), "--support-slices 3: atlas uses all slices of a labelled scan. Leave it out."),
        (("--bundle", "adnet"), "--bundle adnet: needs a trained model. Give --model RUN_DIR/model.pt"),
        (("--bundle", "atlas", "--model", "m.pt"), "--model m.pt: atlas is not trained and takes none."),
        (("--format", "dicom-seg"), "DICOM"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    scene: Scene, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(scene.root)
    assert main(words(scene, *more)) == 2
    assert said in capsys.readouterr().err
    assert tree(scene.root) == before


def test_a_model_alone_means_the_method_it_is_of(scene: Scene) -> None:
    assert read_model(scene.model)["settings"]["encoder"] == "compact"
    assert main(words(scene, "--model", str(scene.model), "--no-quality", "--no-overlays")) == 0
    assert json.loads((scene.root / "out" / "report.json").read_text(encoding="utf-8"))["inputs"]["bundle"] == "adnet"


@pytest.mark.usefixtures("unregistered")
def test_evaluation_with_several_supports_and_quality(phantom_set: Path, tmp_path: Path) -> None:
    command = ["evaluate", "--bundle", "atlas", "--data", str(phantom_set), "--ways", "compete", "--fold", "0"]
    command += ["--split", "corrected", "--supports", "2", "--quality", "--set", *FAST, "fusion=majority"]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    results = read_results(tmp_path / "out")
    assert results.settings["labelled_scans"] == "2" and len(results.settings["support"][0].split(", ")) == 2
    own = [entry for entry in results.entries if entry.method == "atlas"]
    assert own and all(0 <= entry.quality <= 1 and entry.volume_ml >= 0 for entry in own)
    assert "organ volume" in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "quality.png").is_file()


def test_evaluation_says_that_all_slices_were_labelled(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--bundle", "atlas", "--data", str(phantom_set), "--ways", "compete", "--fold", "0"]
    assert main([*command, "--output", str(tmp_path / "out"), "--set", *FAST]) == 0
    results = read_results(tmp_path / "out")
    assert {entry.method for entry in results.entries} == {"atlas", "mask paste"}
    assert results.settings["labelled_slices"] == "all" and results.settings["model"] == "none: not trained"
    scores = {m: np.mean([e.dice for e in results.entries if e.method == m]) for m in ("atlas", "mask paste")}
    assert scores["atlas"] > scores["mask paste"] + 0.1
    capsys.readouterr()
    for wrong, said in ((["--runs", "3"], "the same masks each time"), (["--model", "m.pt"], "takes none")):
        assert main([*command, "--output", str(tmp_path / "no"), *wrong]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
