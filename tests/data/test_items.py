# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Data list items: which files, in which order, and how a changed file is told from a cached one."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_fss.data import (
    DatasetFolder,
    InputWarning,
    ScanError,
    case_item,
    query_items,
    scan_item,
    support_items,
    training_items,
    validation_items,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Cases 1, 2, 10 and 11; only 2, 10 and 11 are labelled. Nothing here reads a voxel, so the files hold none."""
    for part, cases in (("images", (1, 2, 10, 11)), ("labels", (2, 10, 11))):
        (tmp_path / part).mkdir()
        for case in cases:
            (tmp_path / part / f"case_{case}.nii.gz").write_bytes(b"x" * case)
    return tmp_path


def cases(items: list[dict[str, str]]) -> list[str]:
    return [Path(item["image"]).name.split(".")[0] for item in items]


def test_an_item_knows_when_its_file_changes(folder: Path) -> None:
    image, label = folder / "images" / "case_2.nii.gz", folder / "labels" / "case_2.nii.gz"
    item = scan_item(image, label)
    assert (item["image"], item["label"]) == (str(image), str(label))
    assert item == scan_item(str(image), str(label))
    assert "label" not in scan_item(image)
    os.utime(label, ns=(1, 1))
    touched = scan_item(image, label)
    assert touched["stamp"] != item["stamp"] and touched["image"] == item["image"]
    image.write_bytes(b"longer")
    os.utime(image, ns=(1, 1))
    assert scan_item(image)["stamp"].startswith("6,1,")


def test_an_item_knows_a_file_that_was_replaced_by_one_as_large_and_as_old(folder: Path, tmp_path: Path) -> None:
    image = folder / "images" / "case_2.nii.gz"
    stat, before = image.stat(), scan_item(image)
    image.write_bytes(b"yy")
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert scan_item(image)["stamp"] != before["stamp"]
    series = tmp_path / "series"
    series.mkdir()
    for number in (1, 2):
        (series / f"{number}.dcm").write_bytes(b"1")
    before = scan_item(series)
    (series / "2.dcm").write_bytes(b"22")  # in place: the folder keeps its time
    assert scan_item(series)["stamp"] != before["stamp"]


def test_no_key_begins_like_an_image_key_for_spacingd_would_update_it(folder: Path) -> None:
    item = case_item(DatasetFolder.read(folder).cases["case_10"])
    assert item.keys() == {"image", "label", "stamp", "truth", "case"}
    assert item["truth"] == item["label"] and item["case"] == "case_10"


def test_a_case_without_a_label_cannot_be_evaluated(folder: Path) -> None:
    with pytest.raises(ScanError, match=r"case_1\.nii\.gz: has no label\. Add labels/case_1\.nii\.gz to evaluate it"):
        case_item(DatasetFolder.read(folder).cases["case_1"])


def test_training_sees_images_alone_in_natural_order(folder: Path) -> None:
    items = training_items(folder)
    assert cases(items) == ["case_1", "case_2", "case_10", "case_11"]
    assert all("label" not in item for item in items)
    assert cases(training_items(folder, ["case_11", "case_1"])) == ["case_11", "case_1"]


def test_unknown_cases_and_an_unset_folder_are_refused(folder: Path) -> None:
    with pytest.raises(ScanError, match=r"has no case case_3, z\. There are case_1, case_2, case_10, case_11"):
        training_items(folder, ["case_1", "case_3", "z"])
    with pytest.raises(ScanError, match="dataset_dir: is not set. Name the folder that holds images/"):
        training_items("")


def test_validation_takes_the_first_labelled_scans(folder: Path) -> None:
    assert cases(validation_items(folder)) == ["case_2", "case_10", "case_11"]
    assert cases(validation_items(folder, queries=1)) == ["case_2", "case_10"]
    assert cases(validation_items(folder, ["case_11", "case_1", "case_2"])) == ["case_11", "case_2"]
    assert validation_items(folder, queries=0) == []
    assert validation_items(folder, ["case_1", "case_2"]) == []


def test_validation_in_setting_2_begins_with_a_scan_that_shows_another_class(tmp_path: Path) -> None:
    """The best network must not be chosen by the classes that it is tested on."""
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for number, values in enumerate(((), (2, 3), (2, 4), (3,))):
        array = np.zeros((4, 4, 4), np.int16)
        array.flat[: len(values)] = values
        for part, volume in (("labels", array), ("images", np.arange(64, dtype=np.int16).reshape(4, 4, 4))):
            nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / part / f"case_{number}.nii.gz")
    assert cases(validation_items(tmp_path)) == ["case_0", "case_1", "case_2", "case_3"]
    assert cases(validation_items(tmp_path, leave_out=[2])) == ["case_1", "case_2", "case_3"]
    assert cases(validation_items(tmp_path, leave_out=[3])) == ["case_1", "case_2"]
    for part in ("images", "labels"):
        (tmp_path / part / "case_1.nii.gz").replace(tmp_path / part / "case_3.nii.gz")
    assert cases(validation_items(tmp_path, leave_out=[4])) == ["case_2", "case_3"]
    with pytest.warns(InputWarning, match=r"1 labelled scan\(s\) show a class other than 2, 3, so .* not validated"):
        assert validation_items(tmp_path, leave_out=[2, 3]) == []
    with pytest.warns(InputWarning, match="0 labelled"):
        assert validation_items(tmp_path, leave_out=[2, 3, 4]) == []


def test_queries_of_a_folder_a_file_a_list_and_a_mapping(folder: Path) -> None:
    images = folder / "images"
    assert cases(query_items(images)) == ["case_1", "case_2", "case_10", "case_11"]
    one = images / "case_2.nii.gz"
    assert query_items(str(one)) == query_items([one]) == query_items({"case_2": one}) == [scan_item(one)]


def test_support_pairs_belong_together_in_order(folder: Path) -> None:
    names = ("case_10.nii.gz", "case_2.nii.gz")
    images, labels = ([str(folder / part / name) for name in names] for part in ("images", "labels"))
    items = support_items(images, labels)
    assert [(item["image"], item["label"]) for item in items] == list(zip(images, labels, strict=True))
    assert support_items(images[0], labels[0]) == items[:1]
    for wrong in ((images, labels[:1]), ("", ""), ([], [])):
        with pytest.raises(ScanError, match="Give one label for each image, and at least one pair"):
            support_items(*wrong)
