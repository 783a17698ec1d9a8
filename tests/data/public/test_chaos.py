# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""CHAOS: every PNG lands on its own slice, whichever way the series runs, or is refused in words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_series import oblique_affine
from PIL import Image
from public_downloads import SHAPE, chaos_case

from monai_fss.data import DatasetFolder, InputWarning, ScanError, make_folds, prepare_chaos

pytestmark = pytest.mark.filterwarnings("ignore::monai_fss.data.InputWarning")
DOWNWARDS = oblique_affine() @ np.diag((1.0, 1.0, -1.0, 1.0))
WAYS: dict[str, dict[str, Any]] = {
    "upwards": {},
    "downwards": {"affine": DOWNWARDS},
    "oblique": {"affine": oblique_affine(degrees=(20.0, 35.0))},
    "nearly sagittal, downwards": {"affine": oblique_affine(degrees=(80.0, 35.0)) @ np.diag((1.0, 1.0, -1.0, 1.0))},
    "with a slope": {"slope": 2.5, "intercept": 0.0},
    "instance numbers reversed": {"numbers": [5, 4, 3, 2, 1]},
    "PNG files counted otherwise": {"names": lambda k: f"liver_{k}"},
    "PNG files counted otherwise, downwards": {"names": lambda k: f"{k + 7}", "affine": DOWNWARDS},
}


def at_places(path: Path, affine: np.ndarray) -> np.ndarray:
    """The values of a file at the voxels of another grid, found through millimetres."""
    image = nib.Nifti1Image.from_filename(path)
    grid = np.vstack([np.indices(SHAPE).reshape(3, -1), np.ones(np.prod(SHAPE))])
    own = (np.linalg.inv(image.affine) @ affine @ grid)[:3]
    np.testing.assert_allclose(own, np.rint(own), atol=1e-3)
    assert image.shape == SHAPE
    i, j, k = np.rint(own).astype(int)
    return np.asarray(image.dataobj)[i, j, k].reshape(SHAPE)


@pytest.mark.parametrize("way", WAYS)
def test_image_and_label_voxel_by_voxel(way: str, tmp_path: Path) -> None:
    stored, label, affine = chaos_case(tmp_path / "MR" / "3", seed=3, **WAYS[way])
    prepare_chaos(tmp_path, tmp_path / "out", folds=1)
    image = at_places(tmp_path / "out" / "images" / "case_03.nii.gz", affine)
    np.testing.assert_array_equal(image, stored * WAYS[way].get("slope", 1))
    np.testing.assert_array_equal(at_places(tmp_path / "out" / "labels" / "case_03.nii.gz", affine), label)
    assert nib.Nifti1Image.from_filename(tmp_path / "out" / "labels" / "case_03.nii.gz").get_data_dtype() == np.uint8


def test_names_lead_where_they_do_not_follow_the_body(tmp_path: Path) -> None:
    """DICOM files of the same names as the PNG files, in no order: each PNG goes to its own file's place."""
    order = [3, 0, 4, 1, 2]
    names = [f"IMG-{n}" for n in order]
    _, label, affine = chaos_case(tmp_path / "1", seed=0, names=names.__getitem__)
    series = tmp_path / "1" / "T2SPIR" / "DICOM_anon"
    for k, name in enumerate(names):
        (series / f"IMG-0004-{k + 1:05d}.dcm").rename(series / f"{name}.dcm")
    prepare_chaos(tmp_path, tmp_path / "out", folds=1)
    np.testing.assert_array_equal(at_places(tmp_path / "out" / "labels" / "case_01.nii.gz", affine), label)
    ground = tmp_path / "1" / "T2SPIR" / "Ground"
    (ground / "IMG-0.png").rename(ground / "IMG-00.png")
    with pytest.raises(ScanError, match="named otherwise than those of .*DICOM_anon, whose names do not follow"):
        prepare_chaos(tmp_path, tmp_path / "out_2", folds=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty cases with gaps in their numbers, two test cases without labels beside them. Do not change it."""
    folder = tmp_path_factory.mktemp("chaos")
    for seed, number in enumerate((1, 2, 3, 5, 8, 10, 13, 15, 19, *range(20, 23), *range(31, 39))):
        chaos_case(folder / "Train_Sets" / "MR" / str(number), seed)
    for number in (4, 6):
        chaos_case(folder / "Test_Sets" / "MR" / str(number), number)
        shutil.rmtree(folder / "Test_Sets" / "MR" / str(number) / "T2SPIR" / "Ground")
    return folder


def test_the_whole_set(whole: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    (tmp_path / "out").mkdir()
    assert prepare_chaos(whole, tmp_path / "out") == tmp_path / "out"
    assert not [w for w in recwarn if issubclass(w.category, InputWarning) and "instead of" in str(w.message)]
    data = DatasetFolder.read(tmp_path / "out")
    assert data.name == "chaos_t2" and data.modality == "MR"
    assert data.labels == {"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4}
    assert data.folds[0] == ("case_01", "case_02", "case_03", "case_05") and [len(f) for f in data.folds] == [4] * 5
    assert [summary.label is not None for summary in data.check()] == [True] * 20
    assert len(make_folds("paper", list(data.cases))) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_organs_that_are_left_out_are_background(tmp_path: Path) -> None:
    _, label, affine = chaos_case(tmp_path / "1", seed=0)
    for hidden in ("DICOM_anon/._IMG-0004-00001.dcm", "Ground/._IMG-0004-00001.png"):
        (tmp_path / "1" / "T2SPIR" / hidden).write_bytes(b"of a file system")
    prepare_chaos(tmp_path, tmp_path / "out", organs=["spleen", "liver"], folds=1)
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"] == {"liver": 1, "spleen": 4}
    made = at_places(tmp_path / "out" / "labels" / "case_01.nii.gz", affine)
    np.testing.assert_array_equal(made, np.where(np.isin(label, (1, 4)), label, 0))
    with pytest.raises(ValueError, match="has no heart. Choose from liver,"):
        prepare_chaos(tmp_path, tmp_path / "out_2", organs=["heart"])


def repaint(ground: Path) -> None:
    pixels = np.array(Image.open(ground / "IMG-0004-00002.png"))
    pixels[0, 0] = 64
    Image.fromarray(pixels).save(ground / "IMG-0004-00002.png")


def crop(ground: Path) -> None:
    Image.open(ground / "IMG-0004-00002.png").crop((0, 0, 7, 9)).save(ground / "IMG-0004-00002.png")


def colour(ground: Path) -> None:
    Image.open(ground / "IMG-0004-00002.png").convert("RGB").save(ground / "IMG-0004-00002.png")


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "grey value": (repaint, r"IMG-0004-00002.png: has the value\(s\) 64; expected are 0 and 63, 126, 189, 252"),
    "size": (crop, r"IMG-0004-00002.png: has shape \(9, 7\); the slices of its scan have 7 rows, 9 columns"),
    "colour": (colour, r"IMG-0004-00002.png: has shape \(7, 9, 3\)"),
    "no PNG": (lambda ground: (ground / "IMG-0004-00002.png").write_text("text"), "00002.png: cannot be read"),
    "one missing": (lambda g: (g / "IMG-0004-00005.png").unlink(), "Ground: holds 4 PNG files for 5 slices in"),
    "one slice missing": (
        lambda g: (g.parent / "DICOM_anon" / "IMG-0004-00005.dcm").unlink(),
        "Ground: holds 5 PNG files for 4 slices in",
    ),
    "a gap": (lambda g: (g.parent / "DICOM_anon" / "IMG-0004-00003.dcm").unlink(), "DICOM_anon: gap of 8 mm"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_refused_and_nothing_is_left(what: str, tmp_path: Path) -> None:
    change, problem = BAD[what]
    for number in (1, 2, 3):
        chaos_case(tmp_path / "MR" / str(number), number)
    for number in (2, 3):
        change(tmp_path / "MR" / str(number) / "T2SPIR" / "Ground")
    with pytest.raises(ScanError, match=problem) as refused:
        prepare_chaos(tmp_path / "MR", tmp_path / "out", folds=1)
    assert {f"/{number}/" in str(refused.value) for number in (2, 3)} == {True}, "every bad case is named"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["MR"]


def test_downloads_that_are_not_there(tmp_path: Path) -> None:
    chaos_case(tmp_path / "MR" / "1", 1)
    with pytest.raises(ScanError, match="holds no labelled case.*Train_Sets/MR/<number>/T2SPIR/DICOM_anon"):
        prepare_chaos(tmp_path / "MR" / "1", tmp_path / "out")
    with pytest.raises(ScanError, match="chaos_t2: 1 case.s. for 5 folds. Give the whole download"):
        prepare_chaos(tmp_path, tmp_path / "out")
    with pytest.warns(InputWarning, match="1 labelled cases instead of 20. The folds are not the papers'"):
        prepare_chaos(tmp_path, tmp_path / "out", folds=1)
    with pytest.raises(ScanError, match="out: is not empty. Give another folder"):
        prepare_chaos(tmp_path, tmp_path / "out", folds=1)
    shutil.copytree(tmp_path / "MR", tmp_path / "copy")
    with pytest.raises(ScanError, match="number 1 is there twice"):
        prepare_chaos(tmp_path, tmp_path / "out_2", folds=1)
    shutil.rmtree(tmp_path / "copy")
    shutil.rmtree(tmp_path / "MR" / "1" / "T2SPIR" / "DICOM_anon")
    with pytest.raises(ScanError, match="Ground has no image of the same number. The download is CHAOS_Train_Sets"):
        prepare_chaos(tmp_path, tmp_path / "out_2", folds=1)
