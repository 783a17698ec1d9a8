# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which scans a one-shot training learns from, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_fss.data import InputWarning, ScanError, check_one_labelled_scan, one_labelled_scan


@pytest.fixture
def folder(phantom_set: Path, tmp_path: Path) -> Path:
    """Three scans, of which the last two have a label; that of case_02 shows the liver alone."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for number in (1, 2, 3):
        shutil.copy(phantom_set / "images" / f"case_0{number}.nii.gz", tmp_path / "images")
    shutil.copy(phantom_set / "labels" / "case_03.nii.gz", tmp_path / "labels")
    label = nib.Nifti1Image.from_filename(phantom_set / "labels" / "case_02.nii.gz")
    liver = (np.asarray(label.dataobj) == 1).astype(np.uint8)
    nib.Nifti1Image(liver, label.affine).to_filename(tmp_path / "labels" / "case_02.nii.gz")
    return tmp_path


def test_the_first_label_is_learnt_from_and_others_validate(folder: Path) -> None:
    found = one_labelled_scan(folder, labels=[1, 4], val_queries=5)
    assert found.labelled.name == "case_02" and found.values == [1] and found.unshown == (4,)
    assert [item["case"] for item in found.items] == ["case_01", "case_03"]
    assert all("label" not in item for item in found.items)
    assert [item["case"] for item in found.val_items] == ["case_03"]
    assert found.item["label"] == str(folder / "labels" / "case_02.nii.gz")
    named = one_labelled_scan(folder, support="case_03", val_queries=1)
    assert named.labelled.name == "case_03" and 4 in named.values and named.unshown == ()
    assert [case.name for case in named.validation] == ["case_02"]
    assert str(named).startswith("the label of case_03 and 2 unlabelled scan(s), labels 1, ")
    with pytest.warns(InputWarning, match="labels: 4 is not learnt, as the labelled scan does not show it"):
        check_one_labelled_scan(folder, labels=[1, 4])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"support": "case_09"}, "support case_09: is not among the scans case_01, case_02, case_03"),
        ({"support": "case_01"}, "labels/case_01.nii.gz: does not exist. Label one scan in all its slices"),
        ({"support": "case_02", "labels": [4, 5]}, "case_02.nii.gz: shows none of 4, 5, but 1. Name labels"),
        ({"cases": ["case_02"]}, "has case_02 alone, and it learns from others too. Add scans"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    settings: dict, says: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ScanError) as refused:
        one_labelled_scan(folder, **settings)
    assert says in str(refused.value)
    with pytest.raises(SystemExit) as stop:
        check_one_labelled_scan(folder, **settings)
    assert stop.value.code == 2 and says in capsys.readouterr().err
