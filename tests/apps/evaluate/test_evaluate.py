# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss evaluate` from end to end on phantoms, and `compare` on what it wrote."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_fss.apps.cli import main
from monai_fss.results import SPREADS
from monai_fss.results.entries import Entry, Results
from monai_fss.results.files import read_results

SETTINGS = ["steps=2", "steps_per_epoch=1", "batch_size=1", "size=[64, 64]", "pixdim=5", "supervoxel_ml=40"]
ORGANS = 5
METHODS = {"adnet", "mask paste", "untrained network"}
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def words(data: Path, output: Path, *more: str, train: bool = True) -> list[str]:
    command = ["evaluate", "--data", str(data), "--output", str(output), "--device", "cpu", *more]
    return [*command, "--set", *SETTINGS, "tensorboard=false"] if train else command


@pytest.fixture(scope="module")
def both(phantom_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EP1 in ``ep1``, then EP2 in ``ep2`` with the models of EP1, which lie in ``models``. Do not change it."""
    folder = tmp_path_factory.mktemp("evaluate")
    for protocol in ("ep1", "ep2"):
        more = ("--protocol", protocol, "--models", str(folder / "models"))
        before = stamps(folder / "models")
        assert main(words(phantom_set, folder / protocol, *more)) == 0
        assert protocol == "ep1" or stamps(folder / "models") == before
    return folder


def stamps(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def of(results: Results, method: str) -> dict[tuple[str, int], Entry]:
    return {(entry.case, entry.label): entry for entry in results.entries if entry.method == method}


def test_a_model_is_trained_for_each_fold_on_its_cases_without_validation(both: Path) -> None:
    assert sorted(p.name for p in (both / "models").iterdir()) == ["cache", "fold0_run0", "fold1_run0"]
    for number, cases in enumerate((["case_03", "case_04"], ["case_01", "case_02"])):
        note = json.loads((both / "models" / f"fold{number}_run0" / "run.json").read_text(encoding="utf-8"))
        assert note["cases"] == cases and note["finished"] and note["steps"] == 2
        assert not (both / "models" / f"fold{number}_run0" / "model_best.pt").exists()


@pytest.mark.parametrize("protocol", ["ep1", "ep2"])
def test_every_query_and_class_is_scored_by_the_method_and_both_baselines(both: Path, protocol: str) -> None:
    results = read_results(both / protocol)
    assert {entry.method for entry in results.entries} == METHODS
    for method in METHODS:
        keys = set(of(results, method))
        assert keys == {(case, label) for case in ("case_01", "case_03") for label in range(1, ORGANS + 1)}
    assert len(results.entries) == len(METHODS) * 2 * ORGANS
    assert {(entry.fold, entry.case) for entry in results.entries} == {(0, "case_01"), (1, "case_03")}
    scores = [entry.dice for entry in results.entries]
    assert all(0 <= dice <= 1 for dice in scores) and max(scores) > 0
    assert {entry.name for entry in results.entries} >= {"liver", "spleen"}


@pytest.mark.parametrize(("protocol", "slices"), [("ep1", 3), ("ep2", 1)])
def test_results_name_how_they_were_made(both: Path, protocol: str, slices: int) -> None:
    settings = read_results(both / protocol).settings
    expected: dict[str, Any] = {
        "bundle": "adnet",
        "dataset": "phantom_mr",
        "split": "within",
        "protocol": protocol,
        "ways": "independent",
        "runs": 1,
        "labelled_slices": slices,
        "folds": [0, 1],
        "support": ["case_02", "case_04"],
        "seed": 0,
        "untrained_network": "random",
    }
    assert {key: settings[key] for key in expected} == expected
    assert settings["training_settings"]["steps"] == 2
    assert settings["command"].startswith("monai-fss")
    assert "torch" in settings["versions"]
    text = (both / protocol / "results.md").read_text(encoding="utf-8")
    assert all(method in text for method in METHODS)
    with (both / protocol / "results.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(METHODS) * 2 * ORGANS
    assert (both / protocol / "threshold.png").read_bytes()[:4] == b"\x89PNG"


def canonical(path: Path) -> np.ndarray:
    return np.asarray(nib.as_closest_canonical(nib.Nifti1Image.from_filename(path)).dataobj)


def paste(support: np.ndarray, query: np.ndarray, parts: int, rule: str = "shown") -> np.ndarray:
    """The middle slice of each part of the support, on every query slice of that part (EP1; EP2: on all slices)."""
    mask = np.zeros(query.shape, bool)
    shown = [z for z in range(support.shape[2]) if support[..., z].any()]
    wanted = [z for z in range(query.shape[2]) if query[..., z].any()]
    if parts == 1:
        return np.repeat(support[..., shown[len(shown) // 2], None], query.shape[2], axis=2)
    for part in range(parts):
        source = support[..., shown[(2 * part + 1) * len(shown) // (2 * parts)]]
        if rule == "range":
            first, last = wanted[0], wanted[-1]
            own = [z for z in range(first, last + 1) if min(int((z - first) // ((last - first) / parts)), 2) == part]
            mask[..., own] = source[..., None]
            continue
        for place, z in enumerate(wanted):
            if int(part * len(wanted) / parts) <= place < int((part + 1) * len(wanted) / parts):
                mask[..., z] = source
    return mask


@pytest.mark.parametrize(("protocol", "parts"), [("ep1", 3), ("ep2", 1)])
def test_mask_paste_is_what_pasting_by_hand_gives(both: Path, phantom_set: Path, protocol: str, parts: int) -> None:
    found = of(read_results(both / protocol), "mask paste")
    for support_case, case in (("case_02", "case_01"), ("case_04", "case_03")):
        support, query = (canonical(phantom_set / "labels" / f"{name}.nii.gz") for name in (support_case, case))
        for value in range(1, ORGANS + 1):
            truth = query == value
            mask = paste(support == value, truth, parts)
            dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
            assert found[case, value].dice == pytest.approx(dice, abs=1e-9), (case, value)


def test_alpnets_rule_of_ep1_and_deviations_over_patients(both: Path, phantom_set: Path, tmp_path: Path) -> None:
    more = ("--protocol", "ep1", "--ep1-rule", "range", "--models", str(both / "models"), "--spread", "patients")
    assert main(words(phantom_set, tmp_path / "out", *more, "--tolerances", "100")) == 0
    results = read_results(tmp_path / "out")
    assert results.settings["ep1_rule"] == "range" and read_results(both / "ep1").settings["ep1_rule"] == "shown"
    assert "ep1_rule" not in read_results(both / "ep2").settings
    assert SPREADS["patients"] in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    assert results.settings["tolerances"] == {"": 100.0}
    close = [entry.nsd for entry in results.entries if entry.hd95 <= 100]  # mm: of either mask 95 % are as near
    assert close and min(close) >= 0.95
    assert min(entry.nsd for entry in read_results(both / "ep1").entries if entry.hd95 <= 100) < 0.95
    found, differing = of(results, "mask paste"), 0
    for support_case, case in (("case_02", "case_01"), ("case_04", "case_03")):
        support, query = (canonical(phantom_set / "labels" / f"{name}.nii.gz") for name in (support_case, case))
        for value in range(1, ORGANS + 1):
            truth = query == value
            mask = paste(support == value, truth, 3, "range")
            dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
            assert found[case, value].dice == pytest.approx(dice, abs=1e-9), (case, value)
            differing += not np.array_equal(mask, paste(support == value, truth, 3))
    assert differing > 0, "the rules are told apart"


def test_a_finished_evaluation_is_not_overwritten(
    both: Path, phantom_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stamps(both)
    assert main(words(phantom_set, both / "ep1", "--protocol", "ep1", "--models", str(both / "models"))) == 2
    assert "results.json: exists already. Give another output folder, or --overwrite." in capsys.readouterr().err
    assert stamps(both) == before


def test_one_fold_with_the_models_there_are_gives_the_same_scores(
    both: Path, phantom_set: Path, tmp_path: Path
) -> None:
    before = stamps(both / "models")
    more = ("--fold", "1", "--models", str(both / "models"), "--ways", "independent")
    assert main(words(phantom_set, tmp_path / "out", *more)) == 0
    assert stamps(both / "models") == before
    results = read_results(tmp_path / "out")
    assert results.settings["folds"] == [1]
    for method in ("adnet", "mask paste"):
        again, first = of(results, method), of(read_results(both / "ep2"), method)
        assert {key: entry.dice for key, entry in again.items()} == {key: first[key].dice for key in again}
        assert {case for case, _ in again} == {"case_03"}


def test_models_of_other_settings_are_refused(
    both: Path, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = stamps(both)
    assert main([*words(phantom_set, tmp_path / "out", "--models", str(both / "models")), "min_area=100"]) == 2
    said = capsys.readouterr().err
    assert "fold0_run0: was trained with other settings" in said and "Give another --models, or remove it." in said
    assert stamps(both) == before and not (tmp_path / "out").exists()


def test_ways_that_compete_and_a_given_model(
    both: Path, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = both / "models" / "fold0_run0" / "model.pt"
    more = ("--model", str(model), "--ways", "compete", "--fold", "0", "--split", "corrected")
    assert main(words(phantom_set, tmp_path / "out", *more, train=False)) == 0
    results = read_results(tmp_path / "out")
    assert results.settings["model"] == str(model) and results.settings["ways"] == "compete"
    assert {entry.case for entry in results.entries} == {"case_01", "case_02"}
    assert results.settings["support"] == ["case_03"]
    assert not (tmp_path / "out" / "models").exists()
    assert main(words(phantom_set, tmp_path / "no", "--model", str(tmp_path / "none.pt"), train=False)) == 2
    assert "none.pt: no such file" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_bad_data_and_folds_are_refused_before_anything_is_trained(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(phantom_set, tmp_path / "out", "--fold", "2")) == 2
    assert "--fold 2: the split has folds 0 to 1." in capsys.readouterr().err
    assert main(words(phantom_set, tmp_path / "out", "--split", "paper")) == 2
    assert "20" in capsys.readouterr().err
    shutil.copytree(phantom_set, tmp_path / "data")
    (tmp_path / "data" / "images" / "case_02.nii.gz").write_bytes(b"x")
    assert main(words(tmp_path / "data", tmp_path / "out")) == 2
    assert f"{tmp_path / 'data' / 'images' / 'case_02.nii.gz'}: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--runs", "0"], "--runs 0: is less than 1."),
        (["--seed", "-1"], "--seed -1: is negative."),
        (["--model", "m.pt", "--runs", "3"], "--runs 3: repeats trainings, but --model is given."),
        (["--model", "m.pt", "--set", "steps=50"], "--set: changes a training, but --model is given."),
        (["--model", "m.pt", "--models", "m"], "--model, --models: contradict each other."),
        (
            ["--ep1-rule", "range"],
            "--ep1-rule range: divides the slices that ep1 is told. Leave it out, or give --prot",
        ),
        (["--protocol", "ep1", "--support-slices", "3"], "--support-slices: is of ep2; ep1 uses three slices."),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    more: list[str], says: str, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(phantom_set, tmp_path / "out", *more, train=False)) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_support_without_a_label_is_refused_before_anything_is_trained(
    phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(phantom_set, tmp_path / "data")
    file = tmp_path / "data" / "labels" / "case_04.nii.gz"
    label = nib.Nifti1Image.from_filename(file)
    nib.save(nib.Nifti1Image(np.zeros(label.shape, np.uint8), label.affine), file)
    assert main(words(tmp_path / "data", tmp_path / "out")) == 2
    assert f"{file}: has no labelled voxel, but is the support of a fold." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_models_of_another_data_set_are_refused(
    both: Path, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(phantom_set, tmp_path / "others")
    image = tmp_path / "others" / "images" / "case_02.nii.gz"
    scan: Any = nib.Nifti1Image.from_filename(image)
    nib.save(nib.Nifti1Image(np.asarray(scan.dataobj)[::-1], scan.affine), image)
    assert main(words(tmp_path / "others", tmp_path / "out", "--models", str(both / "models"))) == 2
    said = capsys.readouterr().err
    assert "fold1_run0: was trained on other scans: images/case_02.nii.gz (changed). Give another --models" in said
    assert not (tmp_path / "out").exists()


def test_two_results_are_compared(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(both / "ep1"), str(both / "ep1"), "--method-b", "mask paste"]) == 0
    out = capsys.readouterr().out
    assert "adnet" in out and "mask paste" in out
    assert main(["compare", str(both / "ep1"), str(both / "none")]) == 2
