# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where scribbles come from, and which pseudo-masks are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_fss.data import (
    InputWarning,
    ScanError,
    class_names,
    drawn_pieces,
    is_written,
    part_name,
    pseudo_items,
    scribble_item,
    scribble_values,
    unwritten_items,
    write_json,
)
from monai_fss.data.scan_table import ScanTable, join_tables


def save(path: Path, array: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.asarray(array), np.eye(4)).to_filename(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Scans a, b and c; a has a label of 1, 2 and 5."""
    for name in "abc":
        save(tmp_path / "data" / "images" / f"{name}.nii.gz", np.arange(64, dtype=np.int16).reshape(4, 4, 4))
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[0, 0, :3] = 1, 2, 5
    save(tmp_path / "data" / "labels" / "a.nii.gz", mask)
    return tmp_path / "data"


def test_scribbles_are_simulated_where_there_is_no_file(data: Path) -> None:
    image, label = str(data / "images" / "a.nii.gz"), str(data / "labels" / "a.nii.gz")
    assert scribble_item(data, "a") == {"image": image, "scribbles": label, "case": "a", "simulated": True}


def test_the_case_is_that_of_the_file(data: Path) -> None:
    file = str(data / "b.nii.gz")
    expected = {"image": str(data / "images" / "b.nii.gz"), "scribbles": file, "case": "b", "simulated": False}
    assert scribble_item(data, "", file) == expected
    assert scribble_item(data, "b", file) == expected


def test_what_is_missing_is_said(data: Path) -> None:
    with pytest.raises(ScanError, match="support: is not set. Name the case that has the scribbles"):
        scribble_item(data, "")
    with pytest.raises(ScanError, match="b.nii.gz: has neither scribbles nor a label. Give scribbles=FILE"):
        scribble_item(data, "b")
    with pytest.raises(ScanError, match="has no case d"):
        scribble_item(data, "d")


def test_values(data: Path) -> None:
    item = scribble_item(data, "a")
    assert scribble_values(item) == [1, 2, 5]
    assert scribble_values(item, background=5) == [1, 2]
    assert scribble_values(item, labels=[5, 1]) == [1, 5]
    with pytest.raises(ScanError, match=r"a.nii.gz: does not mark \[3\], but \[1, 2, 5\]. Name labels that it marks"):
        scribble_values(item, labels=[1, 3])


def test_names_of_classes(data: Path) -> None:
    assert class_names(data, [2, 1]) == ["label_2", "label_1"]
    write_json(data / "dataset.json", {"name": "x", "labels": {"liver": 1}})
    assert class_names(data, [2, 1]) == ["label_2", "liver"]


def test_scans_without_a_class_are_left_out(data: Path, tmp_path: Path) -> None:
    masks = {"a": [1, 2], "b": [2], "c": [2, 1]}
    for name, values in masks.items():
        mask = np.zeros((4, 4, 4), np.int16)
        mask[0, 0, : len(values)] = values
        save(tmp_path / "pseudo" / f"{name}.nii.gz", mask)
    with pytest.warns(InputWarning, match="left out of the training, as their pseudo-masks lack a class: b."):
        items = pseudo_items(data, None, tmp_path / "pseudo", [1, 2])
    assert [item["case"] for item in items] == ["a", "c"]
    assert items[0]["pseudo"] == str(tmp_path / "pseudo" / "a.nii.gz")
    assert [item["case"] for item in pseudo_items(data, ["b"], tmp_path / "pseudo", [2])] == ["b"]
    with pytest.raises(ScanError, match="no pseudo-mask shows 2, 3: all propagated points .* Lower tau"):
        pseudo_items(data, None, tmp_path / "pseudo", [3, 2])


def test_scans_whose_points_look_unlike_are_left_out(data: Path, tmp_path: Path) -> None:
    mask = np.zeros((4, 4, 4), np.int16)
    mask[0, 0, :2] = [1, 2]
    for name in "abc":
        save(tmp_path / "pseudo" / f"{name}.nii.gz", mask)
    rows = [("a", 1, 1.0), ("a", 2, 1.0), ("b", 1, 0.9), ("b", 2, 0.39), ("c", 1, 0.4), ("c", 2, 0.8)]
    lines = ["case,label,points,kept,similarity", *(f"{case},{label},10,5,{mean}" for case, label, mean in rows)]
    (tmp_path / "pseudo" / "propagation.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.warns(InputWarning, match="the points of a class have a mean similarity below 0.4: b."):
        items = pseudo_items(data, None, tmp_path / "pseudo", [1, 2], 0.4)
    assert [item["case"] for item in items] == ["a", "c"]
    assert len(pseudo_items(data, None, tmp_path / "pseudo", [1], 0.4)) == 3, "class 2 is not asked for"
    with pytest.raises(ScanError, match="had a mean similarity below 0.4. Lower tau or least_similarity"):
        pseudo_items(data, ["b"], tmp_path / "pseudo", [1, 2], 0.4)


def test_a_pseudo_mask_is_done_with_its_rows(tmp_path: Path) -> None:
    assert not is_written(tmp_path / "a.nii.gz", tmp_path / "out")
    save(tmp_path / "out" / "a.nii.gz", np.zeros((2, 2, 2), np.int16))
    assert not is_written(tmp_path / "a.nii.gz", tmp_path / "out")
    (tmp_path / "out" / "propagation.csv").write_text("case,label\nb,1\n", encoding="utf-8")
    assert not is_written(tmp_path / "a.nii.gz", tmp_path / "out")
    (tmp_path / "out" / "propagation.csv").write_text("case,label\nb,1\na,1\n", encoding="utf-8")
    assert is_written(tmp_path / "a.nii.gz", tmp_path / "out")


def test_a_part_of_the_scans_that_have_no_pseudo_mask(tmp_path: Path) -> None:
    items = [{"image": str(tmp_path / f"{case}.nii.gz")} for case in "abcdef"]
    for case in "abd":
        save(tmp_path / f"{case}.nii.gz", np.zeros((2, 2, 2), np.int16))
    tables = [ScanTable(tmp_path / part_name("propagation.csv", number, 2), ("case", "label")) for number in (0, 1)]
    for table, case in zip(tables, "db", strict=True):
        table.append(case, [{"case": case, "label": "1"}])
    left = [[Path(item["image"]).name[0] for item in unwritten_items(items, tmp_path, n, 2)] for n in (0, 1)]
    assert left == [["a", "c", "e"], ["d", "f"]], "a has no row, and the row of d is the other part's"
    assert join_tables(tmp_path, "propagation.csv", 2).read_text(encoding="utf-8") == "case,label\nb,1\nd,1\n"
    left = [[Path(item["image"]).name[0] for item in unwritten_items(items, tmp_path, n, 2)] for n in (0, 1)]
    assert left == [["a", "c", "e"], ["f"]]


def test_pieces_are_those_that_grew_from_the_scribbles(tmp_path: Path) -> None:
    """Both kidneys under one value, an organ with a speck beside it, and a class of which nothing grew."""
    grown = np.zeros((20, 10, 6), np.uint8)
    grown[1:4, 2:8, 1:5] = grown[15:18, 2:7, 1:5] = 1
    grown[8:12, 2:8, 1:5], grown[6, 9, 0] = 2, 2
    save(tmp_path / "case_01.nii.gz", grown)
    assert drawn_pieces(tmp_path, "case_01", [1, 2, 3]) == [2, 1, 1]
