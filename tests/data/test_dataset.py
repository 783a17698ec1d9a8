# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Data set folders: pairing, dataset.json, the check of everything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_files import BAD_FILES, BAD_LABELS, good_image, good_label, save_nifti

from monai_fss.data import Case, DatasetFolder, InputWarning, ScanError, make_folds, write_json

NAMES = [f"case_{i}" for i in (1, 2, 3, 10)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "mini"
    for seed, name in enumerate(NAMES):
        save_nifti(root / "images" / f"{name}.nii.gz", good_image(seed))
        save_nifti(root / "labels" / f"{name}.nii.gz", good_label())
    return root


def _say(folder: Path, **content: Any) -> Path:
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_a_missing_label_shifts_nothing(folder: Path) -> None:
    (folder / "labels" / "case_2.nii.gz").unlink()
    data = DatasetFolder.read(folder)
    assert list(data.cases) == NAMES
    for name in NAMES:
        label = None if name == "case_2" else folder / "labels" / f"{name}.nii.gz"
        assert data.cases[name] == Case(name, folder / "images" / f"{name}.nii.gz", label)
    assert [case.name for case in data.labelled] == ["case_1", "case_3", "case_10"]


def test_without_dataset_json_and_without_labels(folder: Path) -> None:
    data = DatasetFolder.read(folder)
    assert (data.name, data.modality, data.labels, data.folds) == ("mini", "", {}, ())
    assert data.names_for([2, 1, 2]) == {"label_1": 1, "label_2": 2}
    for label in (folder / "labels").iterdir():
        label.unlink()
    assert DatasetFolder.read(folder).labelled == []
    (folder / "labels").rmdir()
    assert [s.label for s in DatasetFolder.read(folder).check()] == [None] * 4


def test_dataset_json_is_read_as_written(folder: Path) -> None:
    content = {
        "name": "Mini",
        "modality": "MR",
        "description": "noise",
        "labels": {"liver": 1, "spleen": 2},
        "folds": [["case_1", "case_2"], ["case_3", "case_10"]],
        "cases": ["case_10", "case_3", "case_2", "case_1"],
    }
    write_json(folder / "dataset.json", content)
    data = DatasetFolder.read(folder)
    assert (data.name, data.modality, data.description) == ("Mini", "MR", "noise")
    assert data.labels == {"liver": 1, "spleen": 2} and data.names_for([2, 5]) == {"spleen": 2, "label_5": 5}
    assert data.folds == (("case_1", "case_2"), ("case_3", "case_10"))
    assert list(data.cases) == ["case_10", "case_3", "case_2", "case_1"]
    assert make_folds("within", list(data.cases), data.folds)[0].train == ("case_3", "case_10")


def test_check_summarises_every_case(folder: Path) -> None:
    only_one = good_label()
    only_one[only_one == 2] = 0
    save_nifti(folder / "labels" / "case_3.nii.gz", only_one)
    (folder / "labels" / "case_10.nii.gz").unlink()
    rows = DatasetFolder.read(_say(folder, labels={"liver": 1, "spleen": 2})).check()
    assert [row.name for row in rows] == NAMES
    assert [row.label.counts if row.label else None for row in rows] == [{1: 12, 2: 8}, {1: 12, 2: 8}, {1: 12}, None]
    assert [row.absent for row in rows] == [(), (), ("spleen",), ()]
    assert rows[0].scan.shape == (8, 9, 10) and rows[0].scan.spacing == pytest.approx((1.25, 1.5, 7.7))


def test_check_collects_every_problem(folder: Path) -> None:
    BAD_FILES["NaN"](folder).path.replace(folder / "images" / "case_1.nii.gz")
    BAD_LABELS["negative"](folder).path.replace(folder / "labels" / "case_2.nii.gz")
    BAD_LABELS["shape"](folder).path.replace(folder / "labels" / "case_3.nii.gz")
    with pytest.raises(ScanError) as caught:
        DatasetFolder.read(_say(folder, labels={"liver": 1})).check()
    problems = caught.value.problems
    assert [p.split(":")[0].removeprefix(f"{folder}/") for p in problems] == [
        "images/case_1.nii.gz",
        "labels/case_2.nii.gz",
        "labels/case_3.nii.gz",
        "labels/case_10.nii.gz",
    ]
    assert problems[3].endswith(
        "has label values 2 that dataset.json does not name (it names 1 (liver)). Name them there or correct the label."
    )


def test_layout_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match=r"has no folder images/. A data set holds images/<case>.nii.gz, labels/<case>"):
        DatasetFolder.read(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(ScanError, match="images: holds no scan"):
        DatasetFolder.read(tmp_path)


def test_files_that_do_not_pair_are_all_named(folder: Path) -> None:
    (folder / "images" / "case_2.nii.gz").unlink()
    save_nifti(folder / "images" / "case_3.nii", good_image())
    _say(folder, folds=[["case_1", "case_2"]], name=3)
    with pytest.raises(ScanError) as caught:
        DatasetFolder.read(folder)
    text = str(caught.value)
    assert "case 'case_3' is there twice, as case_3.nii and case_3.nii.gz. Remove one of them." in text
    (folder / "images" / "case_3.nii").unlink()
    with pytest.raises(ScanError) as caught:
        DatasetFolder.read(folder)
    assert caught.value.problems == [
        f"{folder}/labels/case_2.nii.gz: label has no image {folder}/images/case_2.*. Add it or remove the label.",
        f"{folder}/dataset.json: 'name' is 3, not a text. Put it in quotes.",
        f"{folder}/dataset.json: fold 0 names case_2, of which there is no image. Add the image or correct it.",
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "is not JSON"),
        ("[]", "holds a list, not an object"),
        ('{"modality": null}', "'modality' is None, not a text"),
        ('{"labels": ["liver"]}', "'labels' is ['liver']"),
        ('{"labels": {"liver": "1"}}', "name to value, 1 or more, each value once"),
        ('{"labels": {"liver": true}}', "'labels' is {'liver': True}"),
        ('{"labels": {"a": 1, "b": 1}}', "'labels' is {'a': 1, 'b': 1}"),
        ('{"folds": {"a": 1}}', "'folds' is {'a': 1}, not a list"),
        ('{"folds": ["case_1"]}', "fold 0 is 'case_1', not a list of case names"),
        ('{"folds": [["case_1", 2]]}', "fold 0 is ['case_1', 2], not a list of case names"),
        ('{"folds": [["case_1"], ["case_1"]]}', "case 'case_1' is in fold 0 and in fold 1"),
        ('{"folds": [["case_1", "case_9"]]}', "fold 0 names case_9, of which there is no image"),
        ('{"cases": ["case_1", "case_1"]}', "'cases' names case_1 more than once"),
        ('{"cases": ["case_1", "case_9"]}', "cases names case_9, of which there is no image"),
    ],
)
@pytest.mark.filterwarnings("ignore::monai_fss.data.InputWarning")
def test_bad_dataset_json_is_refused(content: str, text: str, folder: Path) -> None:
    (folder / "dataset.json").write_text(content)
    with pytest.raises(ScanError) as caught:
        DatasetFolder.read(folder)
    assert text in str(caught.value) and str(caught.value).startswith(f"{folder / 'dataset.json'}: ")


def test_left_out_images_and_unknown_keys_warn(folder: Path) -> None:
    with pytest.warns(InputWarning, match="'cases' leaves out case_2, case_10. They are not used"):
        data = DatasetFolder.read(_say(folder, cases=["case_3", "case_1"]))
    assert list(data.cases) == ["case_3", "case_1"]
    with pytest.warns(InputWarning, match="keys 'fold' are not read. Known keys are name, description"):
        DatasetFolder.read(_say(folder, fold=[]))


def test_checking_does_not_load_torch() -> None:
    code = "import sys, monai_fss.data; print('torch' in sys.modules, 'monai' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


@pytest.mark.real
@pytest.mark.parametrize("name", ["chaos_t2", "cmr_bssfp"])
def test_real_scans_are_acceptable(name: str, real_data: Callable[[str], Path]) -> None:
    data = DatasetFolder.read(real_data(name))
    rows = data.check()
    assert len(rows) == len(data.cases) == sum(len(fold) for fold in data.folds)
    assert all(row.label is not None and np.prod(row.scan.shape) > sum(row.label.counts.values()) for row in rows)


@pytest.mark.parametrize(
    ("content", "modality"),
    [
        ({"labels": {"background": 0, "liver": 1, "kidney": 2}, "channel_names": {"0": "CT"}, "numTraining": 3}, "CT"),
        ({"labels": {"0": "background", "1": "liver", "2": "kidney"}, "modality": {"0": "MRI"}}, "MRI"),
        ({"labels": {"liver": 1, "kidney": 2}, "file_ending": ".nii.gz", "modality": {"0": "T1", "1": "T2"}}, "T1, T2"),
    ],
)
@pytest.mark.filterwarnings("error::monai_fss.data.InputWarning")
def test_dataset_json_of_nnu_net_and_the_decathlon_is_read(content: dict, modality: str, folder: Path) -> None:
    data = DatasetFolder.read(_say(folder, **content))
    assert data.labels == {"liver": 1, "kidney": 2} and data.modality == modality


@pytest.mark.parametrize("labels", [{"whole": [1, 2], "core": 2}, {"1": "liver", "liver": 2}, {"liver": -1}])
def test_labels_that_mean_nothing_here_are_refused(labels: dict, folder: Path) -> None:
    with pytest.raises(ScanError, match="'labels' is .* Write .*name to value, 1 or more, each value once"):
        DatasetFolder.read(_say(folder, labels=labels))
