# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss review`: what is measured, in which order, what is drawn again, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from review_scene import change_mask, halved, note_of, page_content_of, save, without, write_report, write_scans
from segment_scene import tree

from monai_fss.apps.cli import main
from monai_fss.data import start_run

CASES = [f"case_{number}" for number in range(1, 7)]
QUALITY = {("case_2", 4): 0.0, ("case_3", 1): 0.31, ("case_4", 5): None, ("case_5", 5): 0.55}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of masks with its page: case_2 has no spleen, of case_3's liver there is a part. Do not change it."""
    root = tmp_path_factory.mktemp("review")
    write_scans(root, CASES)
    change_mask(root / "out" / "case_2.nii.gz", without(4))
    change_mask(root / "out" / "case_3.nii.gz", halved(1))
    write_report(root, CASES, QUALITY, {("case_2", 4): "nothing found"}, {"case_9": "case_9.nii.gz: file is empty."})
    assert main(["review", str(root / "out")]) == 0
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    write_report(copy, CASES, QUALITY)
    return copy


def page(root: Path) -> Path:
    return root / "out" / "review" / "index.html"


def test_the_worst_come_first_with_what_is_odd_about_them(made: Path) -> None:
    content = page_content_of(page(made))
    items = [(content["cases"][i["case"]]["name"], i["label"], i["quality"]) for i in content["items"]]
    assert items[:3] == [("case_2", 4, 0.0), ("case_3", 1, 0.31), ("case_5", 5, 0.55)]
    assert items[-1] == ("case_4", 5, None) and len(items) == 30
    spleen, liver = content["items"][:2]
    assert spleen["volume"] == 0 and spleen["pieces"] == 0 and spleen["note"] == "nothing found"
    assert liver["pieces"] == 2 and liver["expected"] == [1, 1] and liver["z"] < -1
    mask, label = (nib.Nifti1Image.from_filename(f) for f in (made / "out" / "case_3.nii.gz", made / "label.nii.gz"))
    voxels, usual = ((np.asarray(own.dataobj) == 1).sum() for own in (mask, label))
    assert liver["volume"] == pytest.approx(voxels * 8 * 8 * 15 / 1000)
    assert liver["ratio"] == pytest.approx(voxels / usual, abs=1e-3)
    assert content["failed"] == [{"case": "case_9", "reason": "case_9.nii.gz: file is empty."}]


def test_volumes_are_scored_among_the_masks_that_are_not_empty(made: Path) -> None:
    own = [item for item in page_content_of(page(made))["items"] if item["label"] == 4]
    volumes = np.array([item["volume"] for item in own])
    usual = volumes[volumes > 0]
    deviation = 1.4826 * np.median(np.abs(usual - np.median(usual)))
    expected = (volumes - np.median(usual)) / deviation
    assert len(usual) == 5 and [item["z"] for item in own] == pytest.approx(expected, abs=0.01)


def test_only_what_has_changed_is_drawn_again(root: Path) -> None:
    before = tree(root / "out" / "review" / "images")
    first = page_content_of(page(root))
    change_mask(root / "out" / "case_1.nii.gz", without(1))
    (root / "out" / "review" / "images" / "case_4" / "2.svg").unlink()
    assert main(["review", str(root / "out"), "--images", str(root / "in")]) == 0
    after = tree(root / "out" / "review" / "images")
    changed = {name.split("/")[0] for name in after if after[name] != before.get(name)}
    assert changed == {"case_1", "case_4"} and after.keys() == before.keys()
    second = page_content_of(page(root))
    marks = [{(i["case"], i["label"]): i["mask"] for i in content["items"]} for content in (first, second)]
    assert [key for key in marks[0] if marks[0][key] != marks[1][key]] == [(0, 1)], "of the organ alone"


def test_scans_that_were_moved_are_found_or_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move(root / "in", root / "moved")
    shutil.rmtree(root / "out" / "review")
    (root / "label.nii.gz").unlink()
    assert main(["review", str(root / "out")]) == 2
    assert "the scans are no longer there. Say where they are by --images." in capsys.readouterr().err
    assert not (root / "out" / "review").exists()
    (root / "moved" / "case_6.nii.gz").unlink()
    assert main(["review", str(root / "out"), "--images", str(root / "moved")]) == 1
    assert "1 scan(s) not found, such as case_6" in capsys.readouterr().err
    content = page_content_of(page(root))
    lost = [item for item in content["items"] if item["case"] == 5]
    assert all(item["mm"] is None and item["volume"] > 0 and item["ratio"] is None for item in lost)
    assert len(content["notes"]) == 1 and "label.nii.gz: the label is no longer there" in content["notes"][0]


def test_a_scan_that_has_changed_and_a_mask_of_another_grid_are_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_mask(root / "in" / "case_1.nii.gz", lambda image: image + 1)
    mask = nib.Nifti1Image.from_filename(root / "out" / "case_2.nii.gz")
    save(np.asarray(mask.dataobj)[1:], mask.affine, root / "out" / "case_2.nii.gz")
    report = json.loads((root / "out" / "report.json").read_text())
    report["inputs"]["queries"] = note_of(root, CASES)["queries"] | {"case_1": {"sha256": "0", "state": []}}
    (root / "out" / "report.json").write_text(json.dumps(report))
    assert main(["review", str(root / "out")]) == 1
    assert "case_2.nii.gz: label has shape (39, 40, 16)" in capsys.readouterr().err
    cases = page_content_of(page(root))["cases"]
    assert [case["name"] for case in cases if case["changed"]] == ["case_1"]
    assert [case["name"] for case in cases if case["problem"]] == ["case_2"]


def test_an_interrupted_run_is_reviewed_and_keeps_its_number(root: Path) -> None:
    before = page_content_of(page(root))["run"]
    (root / "out" / "report.json").unlink()
    start_run(root / "out", note_of(root, CASES))
    assert main(["review", str(root / "out")]) == 2
    assert main(["review", str(root / "out"), "--images", str(root / "in")]) == 0
    assert page_content_of(page(root))["run"] == before
    start_run(root / "out", note_of(root, CASES, preset="fast"))
    assert main(["review", str(root / "out"), "--images", str(root / "in")]) == 0
    content = page_content_of(page(root))
    assert content["run"] != before and content["earlier"] == [before]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("report.json", None, "has no report.json. Give the folder that"),
        ("report.json", "{", "report.json: cannot be read"),
        ("quality.csv", "case,label,name,volume_ml,quality,note\ncase_1,1,liver,1,good,\n", "line 2 is damaged"),
        ("quality.csv", "case,label,name,volume_ml,quality,note\ncase_1,1,liver,1,nan,\n", "line 2 is damaged"),
        ("quality.csv", "case,label,name,volume_ml,quality,note\n", "has no mask yet"),
        ("quality.csv", "case,label,name,volume_ml,quality,note\nx,1,liver,1,1,\n", "has no <case>.nii.gz"),
    ],
)
def test_what_is_no_folder_of_masks_is_refused(
    name: str, text: str | None, says: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(root / "out" / "review")
    (root / "out" / name).unlink()
    if text is not None:
        (root / "out" / name).write_text(text)
    assert main(["review", str(root / "out")]) == 2
    assert says in capsys.readouterr().err and not (root / "out" / "review").exists()
