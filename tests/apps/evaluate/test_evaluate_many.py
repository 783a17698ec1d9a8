# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Several methods on the same folds: one table, tests against the first, and going on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed_bundles import FEW_SHOT
from monai.data import MetaTensor

from monai_fss.apps.cli import main
from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate import several as many
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.methods.method import Method
from monai_fss.data import ScanError, read_model
from monai_fss.registration import DisplacementField, Grid
from monai_fss.results.entries import Entry, Results
from monai_fss.results.files import read_results, write_results

SETTINGS = ["steps_per_epoch=1", "batch_size=1", "size=[64, 64]", "pixdim=5", "adnet.supervoxel_ml=40", "min_area=100"]
QUICK = ["crapnet.blocks=1", "crapnet.cell_mm=20"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn", "one_thread")]


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
    return [*command, "--budget", "2", *more, "--set", *SETTINGS, *QUICK, "tensorboard=false"]


@pytest.fixture(scope="module")
def table(phantom_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on one fold in setting 1, two organs. Do not change it."""
    folder = tmp_path_factory.mktemp("many") / "out"
    assert main(words(phantom_set, folder, "--fold", "0", "--labels", "1,2")) == 0
    return folder


def test_one_table_has_all_methods_and_baselines_by_their_names(table: Path) -> None:
    results = read_results(table)
    assert [*dict.fromkeys(entry.method for entry in results.entries)] == [
        "adnet",
        "crapnet",
        "untrained adnet",
        "mask paste",
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
        note = json.loads((table / "models" / name / "fold0_run0" / "run.json").read_text(encoding="utf-8"))
        assert note["bundle"] == name and note["steps"] == 2
        assert Path(note["settings"]["cache_dir"]) == table / "models" / "cache"  # stages that are the same are found
    assert (table / "dice.png").read_bytes()[:4] == b"\x89PNG"
    text = (table / "results.md").read_text(encoding="utf-8")
    assert "## Mean Dice (%) against adnet" in text and "## Training" in text
    assert "The trainings differ in self-supervision (supervoxels, superpixels): a difference" in text


def test_after_an_interruption_what_is_done_is_kept(
    table: Path, phantom_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in (table / "adnet").rglob("*") if p.is_file()}
    before |= {p: p.stat().st_mtime_ns for p in (table / "models").rglob("*") if p.is_file()}
    expected = {name: (table / name).read_text(encoding="utf-8") for name in ("results.csv", "results.md")}
    for file in table.glob("results.*"):
        file.unlink()
    note = table / "crapnet" / "evaluation.json"  # as if cut short while crapnet was scored
    note.write_text(json.dumps({**json.loads(note.read_text(encoding="utf-8")), "finished": False}))
    assert main(words(phantom_set, table, "--fold", "0", "--labels", "1,2")) == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert (table / "results.csv").read_text(encoding="utf-8") == expected["results.csv"]
    (table / "results.csv").unlink()  # as if cut short between the files of all
    (table / "results.md").write_text("half")
    assert main(words(phantom_set, table, "--fold", "0", "--labels", "1,2")) == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    tables = [
        text[text.index("## Dice") :]
        for text in (expected["results.md"], (table / "results.md").read_text(encoding="utf-8"))
    ]
    assert tables[0] == tables[1] and (table / "results.csv").read_text(encoding="utf-8") == expected["results.csv"]
    assert main(words(phantom_set, table, "--fold", "0", "--labels", "1")) == 2
    says = "holds another evaluation (labels was [1, 2], now [1]). Give another --output, or --overwrite"
    err = capsys.readouterr().err
    assert f"{table / 'adnet'}: {says}" in err and f"{table / 'crapnet'}: {says}" in err
    note.unlink()  # somebody else's result
    assert main(words(phantom_set, table, "--fold", "0", "--labels", "1,2")) == 2
    assert "crapnet: holds another evaluation: it has results but no evaluation.json." in capsys.readouterr().err
    assert main([*words(phantom_set, table, "--fold", "0", "--labels", "1,2", "--overwrite")]) == 0


def test_setting_2_trains_once_for_each_group_without_its_slices(phantom_set: Path, tmp_path: Path) -> None:
    more = ("--fold", "0", "--setting", "2", "--labels", "2,3", "--groups", "2", "3")
    assert main([*words(phantom_set, tmp_path / "out", *more), "crapnet.self_supervision=supervoxels"]) == 0
    results = read_results(tmp_path / "out")
    assert results.settings["setting"] == 2 and {entry.label for entry in results.entries} == {2, 3}
    for value in (2, 3):
        note = json.loads(
            (tmp_path / f"out/models/adnet/fold0_run0_without{value}/run.json").read_text(encoding="utf-8")
        )
        assert note["settings"]["setting"] == 2 and note["settings"]["test_classes"] == [value]


@pytest.mark.parametrize("bundle", sorted({*FEW_SHOT} - {"adnet", "crapnet"}))  # those two: above
def test_every_other_bundle_is_evaluated(
    bundle: str, phantom_set: Path, tmp_path: Path, small: Callable[[str], dict[str, Any]]
) -> None:
    settings = [f"{key}={value}" for key, value in small(bundle).items() if key not in ("steps", "val_queries")]
    command = ["evaluate", "--data", str(phantom_set), "--output", str(tmp_path / "out"), "--device", "cpu"]
    more = ["--bundle", bundle, "--fold", "0", "--labels", "1", "--protocol", "ep1", "--budget", "1"]
    assert main([*command, *more, "--set", *settings]) == 0
    found = read_results(tmp_path / "out")
    assert {entry.method for entry in found.entries} == {bundle, "untrained network", "mask paste"}
    if bundle == "panet":  # baselines are the same for all
        models = ["--models", str(tmp_path / "out/models"), "--no-baselines", "--overwrite"]
        assert main([*command, *more, *models, "--set", *settings]) == 0
        alone = read_results(tmp_path / "out").entries
        assert alone == [entry for entry in found.entries if entry.method == bundle]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--bundle", "adnet", "adnet"], "--bundle adnet: is given twice."),
        (["--bundle", "adnet:"], "--bundle adnet: is given twice."),
        (["--budget", "soon"], "--budget soon: is no number of steps, nor of minutes. Write 800, or 8min."),
        (["--budget", "2", "--set", "steps=4"], "--budget 2, --set steps: contradict each other."),
        (["--set", "stepz=4"], "--set stepz: no such setting of adnet's training. Did you mean steps?"),
        (["--set", "crapnet.stepz=4"], "--set stepz: no such setting of crapnet's training."),
        (["--groups", "1,2"], "--groups: is of setting 2, or of episodes=labels."),
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


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is evaluated: each method is noted and has perfect masks in two organs; pictures are not drawn."""
    seen: list[dict[str, Any]] = []

    def evaluate(
        evaluation: Evaluation, output: Path, models: Path, overwrite: bool, budget: str | None, registrations: Path
    ) -> Results:
        places = {"models": models, "registrations": registrations}
        seen.append({"name": evaluation.name, "baselines": evaluation.baselines, **places})
        names = [evaluation.name, "mask paste"] + ([] if evaluation.method.bundle == "atlas" else ["untrained network"])
        entries = [Entry(0, 0, "case_01", 1, "liver", name, 0.5, 1.0, 1.0, "scored") for name in names]
        settings = {"bundle": evaluation.name, "dataset": "d", "split": "within", "protocol": "ep2", "ways": "compete"}
        settings |= {"runs": 1, "labelled_slices": 1, "model": "m", "training_settings": evaluation.settings}
        found = Results({**settings, "versions": {}, "command": "before", "notes": []}, entries)
        write_results(output, found)
        return found

    monkeypatch.setattr(many, "evaluate", evaluate)
    return seen


def test_baselines_are_measured_once(phantom_set: Path, tmp_path: Path, made: list[dict[str, Any]]) -> None:
    several(phantom_set, tmp_path / "a", "atlas", "adnet", "crapnet")
    assert [one["baselines"] for one in made] == [True, True, False], "of the first, and of the first that is trained"
    several(phantom_set, tmp_path / "b", "adnet", "atlas", "panet", baselines=False)
    assert [one["baselines"] for one in made[3:]] == [False] * 3
    with pytest.raises(UsageError, match="baselines"):
        several(phantom_set, tmp_path / "b", "adnet", "atlas", "panet")


def several(data: Path, output: Path, *names: str, **more: Any) -> Results:
    asked = [Evaluation(Method.parse(name), str(data), **more) for name in names]
    return many.evaluate_many([replace(one, command=f"{len(names)} methods") for one in asked], output, output / "m")


def test_a_table_grows_by_one_method(phantom_set: Path, tmp_path: Path, made: list[dict[str, Any]]) -> None:
    several(phantom_set, tmp_path, "adnet", "crapnet:blocks=7")
    grown = several(phantom_set, tmp_path, "adnet", "crapnet:blocks=7", "atlas")
    assert [one["name"] for one in made] == ["adnet", "crapnet:blocks=7", "atlas"]
    assert read_results(tmp_path).settings["bundle"] == "adnet, crapnet:blocks=7, atlas"
    assert grown.settings["command"] == "3 methods"
    assert {one["registrations"] for one in made} == {tmp_path / "m" / "registrations"}
    assert [one["models"].name for one in made] == ["adnet", "crapnet-blocks=7", "atlas"]


@pytest.mark.parametrize("bundle", ["adnet", "adnet, panet", "panet, alpnet"])
def test_results_of_something_else_are_refused(
    bundle: str, phantom_set: Path, tmp_path: Path, made: list[dict[str, Any]]
) -> None:
    several(phantom_set, tmp_path, "adnet", "crapnet")
    file = tmp_path / "results.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["settings"]["bundle"] = bundle  # of one method, or of methods that are not in this folder
    file.write_text(json.dumps(content))
    before = file.read_text(encoding="utf-8")
    with pytest.raises(ScanError, match="results.json: exists already. Give another output folder, or --overwrite."):
        several(phantom_set, tmp_path, "adnet", "crapnet")
    assert file.read_text(encoding="utf-8") == before and len(made) == 2


def test_a_table_of_another_evaluation_is_refused(
    phantom_set: Path, tmp_path: Path, made: list[dict[str, Any]]
) -> None:
    several(phantom_set, tmp_path, "adnet", "crapnet")
    with pytest.raises(ScanError, match="results.json: exists already."):
        several(phantom_set, tmp_path, "panet", "alpnet", protocol="ep1")
    assert len(made) == 2


def test_registrations_are_made_once_for_all_methods(
    phantom_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def register(fixed: MetaTensor, moving: MetaTensor, **settings: Any) -> DisplacementField:
        calls.append(fixed.shape)
        return DisplacementField.from_affine(np.eye(4), Grid.of(fixed))

    monkeypatch.setattr("monai_fss.inferers.atlas.register", register)
    monkeypatch.setattr("monai_fss.inferers.atlas.side_ratio", lambda query, scan: 1.0)
    command = words(phantom_set, tmp_path / "out", "--fold", "0", "--labels", "1", "--prior", "atlas")
    assert main(["panet" if word == "crapnet" else word for word in command if word not in QUICK]) == 0
    assert {entry.method for entry in read_results(tmp_path / "out").entries} == {
        "adnet + atlas",
        "panet + atlas",
        "untrained adnet + atlas",
        "mask paste",
    }
    assert len(calls) == 1, "fold 0 has one query"
    assert not list((tmp_path / "out").rglob("threshold.png")), "a threshold of the network alone decides nothing here"
    models = tmp_path / "out" / "models"
    assert len(list((models / "registrations").glob("register*"))) == 1
    assert not (models / "adnet" / "registrations").exists() and not (models / "panet" / "registrations").exists()


def test_a_value_in_the_name_is_trained_and_tested(phantom_set: Path, tmp_path: Path) -> None:
    command = ["evaluate", "--data", str(phantom_set), "--output", str(tmp_path / "out"), "--device", "cpu"]
    more = ["--bundle", "crapnet:blocks=1", "--fold", "0", "--labels", "1", "--budget", "1"]
    settings = ["steps_per_epoch=1", "batch_size=1", "size=[64, 64]", "pixdim=5", "cell_mm=20", "tensorboard=false"]
    assert main([*command, *more, "--set", *settings]) == 0
    found = read_results(tmp_path / "out")
    assert {entry.method for entry in found.entries} == {"crapnet:blocks=1", "untrained network", "mask paste"}
    run = tmp_path / "out" / "models" / "fold0_run0"
    note = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert (note["bundle"], note["recipe"], note["settings"]["blocks"]) == ("crapnet", None, 1)
    assert read_model(run / "model.pt")["settings"]["blocks"] == 1
