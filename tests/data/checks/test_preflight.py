# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a bundle checks before it builds anything: every problem on a line, exit code 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_files import BAD_FILES, good_image, good_label, save_nifti
from torch import nn

from monai_fss.data import (
    check_inference,
    check_places,
    check_training,
    inference_problems,
    save_model,
    training_problems,
)


@pytest.fixture
def scene(tmp_path: Path) -> tuple[str, str, Path]:
    """Support image and label, and a folder with one good query."""
    image = save_nifti(tmp_path / "support.nii.gz", good_image())
    label = save_nifti(tmp_path / "label.nii.gz", good_label())
    save_nifti(tmp_path / "queries" / "good.nii.gz", good_image(1))
    return str(image), str(label), tmp_path / "queries"


def test_good_input_has_no_problem(scene: tuple[str, str, Path], tmp_path: Path) -> None:
    image, label, queries = scene
    assert inference_problems(image, label, [1, 2], queries) == []
    network = nn.Linear(2, 1)
    save_model(tmp_path / "model.pt", network, {})
    weight = network.weight.detach().clone()
    nn.init.zeros_(network.weight)
    check_inference(tmp_path / "model.pt", network, image, label, None, queries)
    assert network.weight.equal(weight), "the model has been loaded"
    save_nifti(tmp_path / "data" / "images" / "a.nii.gz", good_image())
    check_training(tmp_path / "data")


def test_of_several_labelled_scans_one_must_show_what_is_wanted(scene: tuple[str, str, Path], tmp_path: Path) -> None:
    """An organ may be missing in one of them, as a gallbladder that was taken out."""
    image, label, queries = scene
    without = str(save_nifti(tmp_path / "without.nii.gz", np.where(good_label() == 2, 0, good_label())))
    assert inference_problems([image, image], [label, without], [1, 2], queries) == []
    assert inference_problems([image, image], [without, without], [1, 2, 7], queries) == [
        "label(s) 2, 7: no labelled scan has a voxel of it; present are 1. "
        "Ask for one of these, or label it in one of them."
    ]
    assert "label 2 has no voxel; present are 1" in inference_problems(image, without, [1, 2], queries)[0]


def test_every_problem_of_an_inference_is_printed(
    scene: tuple[str, str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, label, queries = scene
    nan = BAD_FILES["NaN"](queries).path
    with pytest.raises(SystemExit) as stop:
        check_inference(tmp_path / "none.pt", nn.Linear(2, 1), image, label, [3], queries)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert [line.split(": ")[0] for line in lines] == [label, str(nan), str(tmp_path / "none.pt")]
    assert "label 3 has no voxel; present are 1, 2" in lines[0]


def test_a_model_of_other_settings_is_refused(
    scene: tuple[str, str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = nn.Linear(2, 1)
    save_model(tmp_path / "model.pt", network, {"pixdim": 2.5, "window": [-125, 275], "zscore": False})
    image, label, queries = scene
    good = {"pixdim": 2.5, "window": [-125, 275], "zscore": False, "encoder": "compact"}
    check_inference(tmp_path / "model.pt", network, image, label, None, queries, good)
    with pytest.raises(SystemExit) as stop:
        check_inference(tmp_path / "model.pt", network, image, label, None, queries, {**good, "window": None})
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        f"{tmp_path / 'model.pt'}: was trained with window [-125, 275], but the configuration has window None. "
        'Give the model\'s values, such as --window "[-125, 275]".\n'
    )


def test_two_bad_supports_and_a_bad_query(scene: tuple[str, str, Path], tmp_path: Path) -> None:
    image, label, queries = scene
    BAD_FILES["constant"](queries)
    none = str(tmp_path / "none.nii.gz")
    problems = inference_problems([none, image], [label, none], None, queries)
    assert [p.split(": ")[0] for p in problems] == [none, none, str(queries / "bad.nii.gz")]
    assert inference_problems([image], [], None, queries)[0].startswith("support: 1 image(s) and 0 label(s) were given")
    assert inference_problems(image, label, None, tmp_path / "nowhere")[0].endswith("does not exist. Check the path.")


def test_every_problem_of_a_training_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    bad = BAD_FILES["truncated .nii.gz"](tmp_path / "images")
    constant = save_nifti(tmp_path / "images" / "constant.nii.gz", good_image() * 0)
    save_nifti(tmp_path / "images" / "good.nii.gz", good_image())
    with pytest.raises(SystemExit) as stop:
        check_training(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert [line.split(": ")[0] for line in lines] == [str(bad.path), str(constant)]
    assert training_problems(tmp_path, ["good"]) == []
    assert training_problems(tmp_path, ["nobody"]) == [
        f"{tmp_path}: has no case nobody. There are bad, constant, good."
    ]
    assert training_problems("") == [
        "dataset_dir: is not set. Name the folder that holds images/, with --dataset_dir DIR."
    ]


@pytest.mark.parametrize(
    ("command", "words", "place", "refused"),
    [
        ("monai/bundle/__main__.py", ["--output_dir", "case #3"], "case", True),
        ("monai/bundle/__main__.py", ["--output_dir", "case #3"], "case ::3", True),
        ("monai/bundle/__main__.py", ["--output_dir=a#b"], "a::b", True),
        ("monai/bundle/__main__.py", ["--output_dir", "case #3"], "other", False),
        ("monai/bundle/__main__.py", ["--dataset_dir", "#1"], "", False),
        ("bin/monai-fss", ["train", "--data", "/d/study", "--output", "/d/study #2"], "/d/study", False),
    ],
)
def test_a_path_that_monai_has_changed_is_refused(
    command: str, words: list[str], place: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [f"/x/{command}", "run", *words])
    if not refused:
        check_places(place, [place])
        return
    with pytest.raises(SystemExit) as stop:
        check_places("fine", place)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--stepz", "4"], "--stepz: the configuration has no stepz. Did you mean steps?"),
        (["--stepz=4"], "--stepz: the configuration has no stepz. Did you mean steps?"),
        (["--elastc::rotate", "1"], "--elastc::rotate: the configuration has no elastc. Did you mean elastic?"),
        (["--qqq", "1"], "--qqq: the configuration has no qqq. Its settings stand at the top of the file."),
        (["--steps", "4", "--elastic#rotate", "1", "--save-interval", "2"], ""),
        (["--+initialize", "[]", "--meta_file", "m.json", "--_meta_::version", "2"], ""),
    ],
)
@pytest.mark.parametrize("files", ["{own}", "['{own}','{other}']"])
def test_a_mistyped_setting_is_refused_with_the_nearest(
    files: str,
    words: list[str],
    says: str,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configs = repository / "bundles" / "adnet" / "configs"
    text = files.format(own=configs / "train.yaml", other=configs / "multi_gpu_train.yaml")
    monkeypatch.setattr("sys.argv", ["/x/monai/bundle/__main__.py", "run", "training", "--config_file", text, *words])
    if not says:
        check_places("a", "b")
        return
    with pytest.raises(SystemExit) as stop:
        check_places("a", "b")
    assert stop.value.code == 2 and capsys.readouterr().err == says + "\n"
