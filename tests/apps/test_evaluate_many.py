# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Several methods on the same folds: one table, tests against the first, and going on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monai_fss.apps import evaluate_many as many
from monai_fss.apps.cli import main
from monai_fss.apps.results import Entry, Results, read_results

SETTINGS = ["steps_per_epoch=1", "batch_size=1", "size=[64, 64]", "pixdim=5", "adnet.supervoxel_ml=40", "min_area=100"]
pytestmark = pytest.mark.usefixtures("one_thread")


def words(data: Path, output: Path, *more: str) -> list[str]:
    command = [
        "evaluate",
        "--data",
        str(data),
        "--output",
        str(output),
        "--device",
        "cpu",
        "--bundle",
        "adnet",
        "crapnet",
    ]
    return [*command, "--budget", "2", *more, "--set", *SETTINGS, "tensorboard=false"]


@pytest.fixture(scope="module")
def table(phantom_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on one fold in setting 1, two organs. Do not change it."""
    folder = tmp_path_factory.mktemp("many") / "out"
    assert main(words(phantom_set, folder, "--fold", "0", "--labels", "1,2")) == 0
    return folder


def test_one_table_has_all_methods_and_the_floors_of_the_first(table: Path) -> None:
    results = read_results(table)
    assert [*dict.fromkeys(entry.method for entry in results.entries)] == [
        "adnet",
        "untrained network",
        "mask paste",
        "crapnet",
    ]
    assert {entry.label for entry in results.entries} == {1, 2}
    settings = results.settings
    assert settings["bundle"] == "adnet, crapnet" and settings["setting"] == 1 and settings["labelled_slices"] == 1
    assert settings["training_settings"]["adnet"]["steps"] == settings["training_settings"]["crapnet"]["steps"] == 2
    assert settings["training_settings"]["adnet"]["supervoxel_ml"] == 40
    assert "supervoxel_ml" not in settings["training_settings"]["crapnet"]
    for name in ("adnet", "crapnet"):
        own = [entry for entry in read_results(table / name).entries if entry.method == name]
        assert own == [entry for entry in results.entries if entry.method == name]
        note = json.loads((table / "models" / name / "fold0_run0" / "run.json").read_text())
        assert note["bundle"] == name and note["steps"] == 2
    assert (table / "dice.png").read_bytes()[:4] == b"\x89PNG"
    assert "## Mean Dice (%) against adnet" in (table / "results.md").read_text(encoding="utf-8")


def test_after_an_interruption_what_is_done_is_kept(
    table: Path, phantom_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in (table / "adnet").rglob("*") if p.is_file()}
    before |= {p: p.stat().st_mtime_ns for p in (table / "models").rglob("*") if p.is_file()}
    assert main(words(phantom_set, table, "--fold", "0", "--labels", "1,2")) == 2
    assert "results.json: exists already." in capsys.readouterr().err
    expected = (table / "results.csv").read_text()
    for file in table.glob("results.*"):
        file.unlink()
    note = table / "crapnet" / "evaluation.json"  # as if cut short while crapnet was scored
    note.write_text(json.dumps({**json.loads(note.read_text()), "finished": False}))
    assert main(words(phantom_set, table, "--fold", "0", "--labels", "1,2")) == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert (table / "results.csv").read_text() == expected
    for file in table.glob("results.*"):
        file.unlink()
    assert main(words(phantom_set, table, "--fold", "0", "--labels", "1")) == 2
    assert "holds another evaluation" in capsys.readouterr().err
    note.unlink()  # somebody else's result
    assert main(words(phantom_set, table, "--fold", "0", "--labels", "1,2")) == 2
    assert "crapnet: holds another evaluation" in capsys.readouterr().err
    assert main([*words(phantom_set, table, "--fold", "0", "--labels", "1,2", "--overwrite")]) == 0


def test_setting_2_trains_once_for_each_group_without_its_slices(phantom_set: Path, tmp_path: Path) -> None:
    more = ("--fold", "0", "--setting", "2", "--labels", "2,3", "--groups", "2", "3")
    assert main([*words(phantom_set, tmp_path / "out", *more), "crapnet.self_supervision=supervoxels"]) == 0
    results = read_results(tmp_path / "out")
    assert results.settings["setting"] == 2 and {entry.label for entry in results.entries} == {2, 3}
    for value in (2, 3):
        note = json.loads((tmp_path / f"out/models/adnet/fold0_run0_without{value}/run.json").read_text())
        assert note["settings"]["setting"] == 2 and note["settings"]["test_classes"] == [value]


@pytest.mark.parametrize("bundle", ["panet", "alpnet", "adnet_3d"])
def test_every_other_bundle_is_evaluated(
    bundle: str, phantom_set: Path, tmp_path: Path, small: Callable[[str], dict[str, Any]]
) -> None:
    settings = [f"{key}={value}" for key, value in small(bundle).items() if key not in ("steps", "val_queries")]
    command = ["evaluate", "--data", str(phantom_set), "--output", str(tmp_path / "out"), "--device", "cpu"]
    more = ["--bundle", bundle, "--fold", "0", "--labels", "1", "--protocol", "ep1", "--budget", "1"]
    assert main([*command, *more, "--set", *settings]) == 0
    found = read_results(tmp_path / "out")
    assert {entry.method for entry in found.entries} == {bundle, "untrained network", "mask paste"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--bundle", "adnet", "adnet"], "--bundle adnet: is given twice."),
        (["--budget", "soon"], "--budget soon: is no number of steps, nor of minutes. Write 800, or 8min."),
        (["--budget", "2", "--set", "steps=4"], "--budget 2, --set steps: contradict each other."),
        (["--set", "stepz=4"], "--set stepz: no such setting of adnet's training. Did you mean steps?"),
        (["--set", "crapnet.stepz=4"], "--set stepz: no such setting of crapnet's training."),
        (["--groups", "1,2"], "--groups: is of setting 2."),
        (["--setting", "2", "--groups", "1,x"], "--groups 1,x: is not a list of label values."),
        (["--setting", "2"], "in no group. Name the groups"),
        (["--labels", "1,77"], "--labels [77]: occur in no label of"),
    ],
)
def test_what_contradicts_itself_is_refused(
    more: list[str], says: str, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--data", str(phantom_set), "--output", str(tmp_path / "out")]
    assert main([*command, "--bundle", "adnet", "crapnet", *more]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def results(bundle: str, scores: list[float]) -> Results:
    entries = [Entry(0, 0, f"case_{i}", 1, "liver", bundle, x, 1.0, 1.0, "scored") for i, x in enumerate(scores)]
    settings = {"dataset": "d", "split": "within", "protocol": "ep2", "ways": "compete", "runs": 1}
    return Results({"bundle": bundle, **settings, "labelled_slices": 1, "notes": []}, entries)


def test_p_values_are_those_of_wilcoxon_corrected_over_the_methods() -> None:
    from scipy.stats import wilcoxon

    base = [0.5, 0.52, 0.55, 0.6, 0.61, 0.63, 0.7, 0.72]
    steps = [0.01, 0.03, 0.02, 0.05, 0.04, 0.07, 0.06, 0.08]
    better = [x + y for x, y in zip(base, steps, strict=True)]
    mixed = [x + y * (-1) ** i for i, (x, y) in enumerate(zip(base, steps, strict=True))]
    text = many.against_first([results("adnet", base), results("one", better), results("two", mixed)])
    first, second = (wilcoxon(other, base, alternative="greater").pvalue for other in (better, mixed))
    rows = {line.split("|")[1].strip(): [x.strip() for x in line.split("|")[2:-1]] for line in text.splitlines()[2:5]}
    rows |= {line.split("|")[1].strip(): [x.strip() for x in line.split("|")[2:-1]] for line in text.splitlines()[5:6]}
    assert rows["one"][1:5] == ["+4.50", "8", f"{first:.4f}", f"{min(1, 2 * first):.4f}"]
    assert rows["two"][3:5] == [f"{second:.4f}", f"{max(second, 2 * first):.4f}"]
