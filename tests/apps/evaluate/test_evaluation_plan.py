# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which model is trained on what, and which classes it is tested on. Trainings and tests are noted, not made."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate import models as fold_models
from monai_fss.apps.evaluate import one as evaluating
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.methods.method import Method
from monai_fss.results.entries import Entry, Results
from monai_fss.results.files import read_results

# Phantoms: 1 liver, 2 right kidney, 3 left kidney, 4 spleen, 5 aorta. Fold 0 has the cases 1 and 2, its support is 2.


class Noted:
    """What was trained and tested: folder to settings of a training, and (folder of the model, label values)."""

    def __init__(self) -> None:
        self.trained: dict[str, dict[str, Any]] = {}
        self.tested: list[tuple[str, tuple[int, ...]]] = []

    def train(self, method: Method, data: Path, output: Path, *, settings: dict[str, Any], **more: Any) -> int:
        """In place of a training."""
        self.trained[output.name] = {key: settings[key] for key in ("setting", "test_classes") if key in settings}
        return 0

    def trial(self, evaluation: Evaluation, files: Any, names: dict[int, str], model: Any, *more: Any) -> Any:
        """In place of a test."""
        self.tested.append((model.parent.name if model else "", tuple(names)))
        return Trial(files.cases, names)


class Trial:
    """A test in which each mask is perfect."""

    def __init__(self, queries: tuple[str, ...], names: dict[int, str]) -> None:
        self.queries, self.names = queries, names

    def entries(self, fold: int, run: int) -> list[Entry]:
        """One for each query and class."""
        found = [(case, value, name) for case in self.queries for value, name in self.names.items()]
        return [Entry(fold, run, case, value, name, "m", 1.0, 0.0, 0.0, "scored") for case, value, name in found]

    def curve(self) -> list[Any]:
        """None."""
        return []


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    notes = Noted()
    monkeypatch.setattr(fold_models, "train", notes.train)
    monkeypatch.setattr(evaluating, "FoldTrial", notes.trial)
    return notes


def run(data: Path, output: Path, bundle: str = "adnet", **more: Any) -> Results:
    evaluation = Evaluation(Method(bundle), data=str(data), **{"setting": 2, "labels": (1, 2, 3, 4), **more})
    return evaluating.evaluate(evaluation, output)


def without(phantoms: Path, folder: Path, cases: tuple[str, ...], values: tuple[int, ...]) -> Path:
    """The phantoms, without some classes in the labels of some cases."""
    shutil.copytree(phantoms, folder)
    for case in cases:
        file = folder / "labels" / f"{case}.nii.gz"
        label = nib.Nifti1Image.from_filename(file)
        array = np.asarray(label.dataobj)
        nib.save(nib.Nifti1Image(np.where(np.isin(array, values), 0, array), label.affine), file)
    return folder


def test_each_group_is_tested_with_the_model_that_did_not_see_it(
    phantom_set: Path, tmp_path: Path, noted: Noted
) -> None:
    results = run(phantom_set, tmp_path / "out")
    assert noted.tested == [
        (f"fold{fold}_run0_without{a}_without{b}", (a, b)) for fold in (0, 1) for a, b in ((2, 3), (1, 4))
    ]
    assert noted.trained == {name: {"setting": 2, "test_classes": list(values)} for name, values in noted.tested}
    assert results.settings["groups"] == [["right_kidney", "left_kidney"], ["liver", "spleen"]]
    assert results.settings["labels"] == {"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4}
    assert results.settings["notes"] == []
    assert read_results(tmp_path / "out").settings["labels"] == results.settings["labels"]


def test_setting_1_is_one_training_of_a_fold(phantom_set: Path, tmp_path: Path, noted: Noted) -> None:
    results = run(phantom_set, tmp_path / "out", setting=1, labels=(5, 1))
    assert noted.tested == [("fold0_run0", (1, 5)), ("fold1_run0", (1, 5))]
    assert noted.trained == {"fold0_run0": {}, "fold1_run0": {}}
    assert results.settings["groups"] == "none" and results.settings["labels"] == {"liver": 1, "aorta": 5}


def test_a_group_is_left_out_whole_though_one_of_it_is_scored(phantom_set: Path, tmp_path: Path, noted: Noted) -> None:
    results = run(phantom_set, tmp_path / "out", labels=(1,), fold=0)
    assert noted.tested == [("fold0_run0_without1_without4", (1,))]
    assert noted.trained == {"fold0_run0_without1_without4": {"setting": 2, "test_classes": [1, 4]}}
    assert results.settings["groups"] == [["liver", "spleen"]] and results.settings["labels"] == {"liver": 1}


def test_a_group_that_the_support_does_not_show_is_not_trained(phantom_set: Path, tmp_path: Path, noted: Noted) -> None:
    data = without(phantom_set, tmp_path / "data", ("case_02",), (1, 4))
    results = run(data, tmp_path / "out")
    assert noted.tested[0] == ("fold0_run0_without2_without3", (2, 3))
    assert [name for name, _ in noted.tested] == list(noted.trained) and len(noted.trained) == 3
    assert "fold0_run0_without1_without4" not in noted.trained
    said = "fold 0: none of liver, spleen is in its support; not trained"
    assert results.settings["notes"] == [said] and said in (tmp_path / "out" / "results.md").read_text(encoding="utf-8")
    atlas = run(data, tmp_path / "atlas", bundle="atlas", setting=1, labels=(1,), support_slices="all")
    assert atlas.settings["notes"] == ["fold 0: liver is not in its support; not tested"]


def test_nothing_is_done_where_no_support_shows_what_is_tested(phantom_set: Path, tmp_path: Path, noted: Noted) -> None:
    data = without(phantom_set, tmp_path / "data", ("case_02", "case_04"), (1, 4))
    for setting in (1, 2):
        with pytest.raises(
            UsageError, match="--split within: no support of a fold shows liver, spleen. Choose another"
        ):
            run(data, tmp_path / "out", setting=setting, labels=(1, 4))
    assert noted.trained == {} and not (tmp_path / "out").exists()


def test_classes_that_no_training_scan_shows_leave_nothing_out(phantom_set: Path, tmp_path: Path, noted: Noted) -> None:
    data = without(phantom_set, tmp_path / "data", ("case_03", "case_04"), (4,))
    results = run(data, tmp_path / "out", fold=0, labels=(1, 4))
    assert noted.tested == [("fold0_run0_without1", (1, 4))]
    assert noted.trained == {"fold0_run0_without1": {"setting": 2, "test_classes": [1]}}
    assert results.settings["notes"] == []
    data = without(phantom_set, tmp_path / "more", ("case_03", "case_04"), (1, 4))
    results = run(data, tmp_path / "again", fold=0, labels=(1, 4))
    assert noted.tested[1:] == [("fold0_run0", (1, 4))] and noted.trained["fold0_run0"] == {}
    assert results.settings["notes"] == ["fold 0: no training scan shows liver, spleen; trained as in setting 1"]
