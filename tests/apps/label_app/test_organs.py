# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Organs are told by their names: studies of a datastore that number them each in its own way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from label_store import FakeStore, write_volume

from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.organs import (
    common_values,
    declared_organs,
    listed_names,
    numbered_alike,
    organs_of,
)
from monai_fss.apps.label_app.studies import Study, label_problems, named_study, same_scan, studies_of

LIVER_FIRST = {"label_info": [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 2}]}
SPLEEN_FIRST = {"label_info": [{"name": "spleen", "idx": 1}, {"name": "liver", "idx": 2}]}


def store(folder: Path, infos: dict[str, Any]) -> FakeStore:
    """Two voxels of 1, three of 2 in each label."""
    label = np.zeros((4, 4, 4), np.int16)
    label[0, 0, :2], label[1, 0, :3] = 1, 2
    return FakeStore(folder, {name: (label if info is not None else None, info or {}) for name, info in infos.items()})


def test_studies_come_in_natural_order_with_their_final_labels(tmp_path: Path) -> None:
    studies = studies_of(store(tmp_path, {"case_10": None, "case_2": LIVER_FIRST}))
    assert [(study.name, study.label is not None) for study in studies] == [("case_2", True), ("case_10", False)]
    assert studies[0].info == LIVER_FIRST and studies[1].info == {}
    with pytest.raises(UsageError, match="study 'case_3': is not in the datastore, which holds case_2, case_10"):
        named_study(studies, "case_3")


def test_scans_of_a_server_are_fetched_when_they_are_asked_for(tmp_path: Path) -> None:
    """Labels that were submitted here are asked of the files here, not of the server."""
    fetched: list[str] = []

    class Remote(FakeStore):
        def get_image_uri(self, image_id: str) -> str:
            fetched.append(image_id)
            return super().get_image_uri(image_id)

        def get_label_uri(self, label_id: str, label_tag: str) -> str:
            raise AssertionError("the server knows labels by ids of their own")

    label = np.ones((4, 4, 4), np.int16)
    remote = Remote(tmp_path, {"a": (label, LIVER_FIRST), "b": (None, {})})
    first, _ = studies_of(remote, local=FakeStore)
    assert first.label is not None and first.info == LIVER_FIRST and fetched == []
    assert first.image == first.image == tmp_path / "a.nii.gz" and fetched == ["a"]


def test_a_scan_is_told_by_its_content_too(tmp_path: Path) -> None:
    study, other = studies_of(store(tmp_path, {"a": None, "b": None}))
    copy = tmp_path / "copy.nii.gz"
    copy.write_bytes(study.image.read_bytes())
    assert same_scan(study, copy) and same_scan(study, study.image) and not same_scan(other, copy)


@pytest.mark.parametrize(
    ("listed", "values", "names"),
    [
        (LIVER_FIRST, [1, 2], {1: "liver", 2: "spleen"}),
        ({"label_info": [{"name": "liver", "id": 4}]}, [4], {4: "liver"}),
        # 3D Slicer left a first segment out of the file, and counted it in idx.
        (
            {"label_info": [{"name": "liver", "idx": 2}, {"name": "spleen", "idx": 3}]},
            [1, 2],
            {1: "liver", 2: "spleen"},
        ),
        ({"label_info": [{"idx": 1}, "liver"]}, [1], {}),
        ({}, [1], {}),
    ],
)
def test_names_by_number_or_by_order(listed: dict[str, Any], values: list[int], names: dict[int, str]) -> None:
    assert listed_names(listed, values) == names


def test_a_list_of_some_organs_names_these_alone() -> None:
    """By its order 2 would be the spleen."""
    listed = {"label_info": [{"name": "liver", "idx": 1}, {"name": "spleen", "idx": 4}]}
    assert listed_names(listed, [1, 2, 3, 4, 5]) == {1: "liver", 4: "spleen"}
    assert listed_names(listed, [1, 2]) == {1: "liver", 2: "spleen"}, "as 3D Slicer counts where it leaves segments out"


def test_a_name_keeps_the_value_of_the_first_label(tmp_path: Path) -> None:
    three = {"label_info": [{"name": "aorta", "idx": 1}, {"name": "liver", "idx": 2}]}
    studies = studies_of(store(tmp_path, {"a": LIVER_FIRST, "b": SPLEEN_FIRST, "c": three, "d": {}}))
    organs = organs_of(studies)
    assert organs == {"liver": 1, "spleen": 2, "aorta": 3}
    assert organs_of(studies, {"aorta": 7}) == {"liver": 1, "spleen": 2, "aorta": 7}
    assert [common_values(study, organs) for study in studies] == [[1, 2], [1, 2], [1, 3], [1, 2]]


def test_a_value_without_a_name_gets_one(tmp_path: Path) -> None:
    assert organs_of(studies_of(store(tmp_path, {"a": {}}))) == {"label_1": 1, "label_2": 2}


def test_labels_that_are_numbered_otherwise_are_read_from_a_copy(tmp_path: Path) -> None:
    first, second = studies_of(store(tmp_path, {"a": LIVER_FIRST, "b": SPLEEN_FIRST}))
    organs, folder = organs_of([first, second]), tmp_path / "copies"
    assert numbered_alike(first, organs, folder) == first.label and not folder.exists()
    copy = numbered_alike(second, organs, folder)
    written = copy.stat().st_mtime_ns
    image = nib.Nifti1Image.from_filename(copy)
    values = np.asarray(image.dataobj)
    assert [int((values == value).sum()) for value in (1, 2)] == [3, 2]
    np.testing.assert_array_equal(image.affine, nib.Nifti1Image.from_filename(second.image).affine)
    assert numbered_alike(second, organs, folder) == copy and copy.stat().st_mtime_ns == written


def test_background_and_scribbles_are_no_organs(tmp_path: Path) -> None:
    info = {"label_info": [{"name": "background", "idx": 1}, {"name": "liver", "idx": 2}]}
    (study,) = studies_of(store(tmp_path, {"a": info}))
    organs = organs_of([study])
    assert organs == {"liver": 2}
    values = np.asarray(nib.Nifti1Image.from_filename(numbered_alike(study, organs, tmp_path)).dataobj)
    assert set(np.unique(values)) == {0, 2}


def test_a_label_that_cannot_be_read_names_nothing_and_is_told(tmp_path: Path) -> None:
    good = studies_of(store(tmp_path, {"a": LIVER_FIRST}))[0]
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"not a scan")
    study = Study("b", good.image, broken)
    assert organs_of([good, study]) == {"liver": 1, "spleen": 2} and common_values(study, {}) == []
    assert label_problems(study) and str(broken) in label_problems(study)[0]
    write_volume(broken, np.zeros((4, 4, 4), np.int16))
    assert "no labelled voxel" in label_problems(study)[0] and label_problems(good) == []


def test_organs_that_a_server_is_started_with() -> None:
    assert declared_organs("") == {} and declared_organs("liver, spleen") == {"liver": 1, "spleen": 2}
    assert declared_organs("liver=1,spleen=4") == {"liver": 1, "spleen": 4}
    for text in ("liver,liver", "liver=0", "liver=x", "=1", "liver=2,spleen"):
        with pytest.raises(UsageError, match="is not understood"):
            declared_organs(text)
