# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scribbles that cannot be propagated are refused in words, and doubtful ones named."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from bad_files import BAD_FILES, BAD_LABELS, good_image, save_nifti

from monai_fss.data import (
    InputWarning,
    ScanError,
    case_name,
    check_propagation,
    check_scribbles,
    phantom,
)
from monai_fss.transforms import scribbles_from_mask

SHAPE = (40, 40, 12)


def scan() -> np.ndarray:
    """A body of 28 x 28 voxels with a dark vessel in noisy air."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 10, SHAPE)
    image[6:34, 6:34] = rng.integers(400, 600, (28, 28, 12))
    image[18:22, 18:22] = 3
    return image.astype(np.int16)


def lines() -> np.ndarray:
    """Organs 1 (28 voxels) and 2 (16), background 9 (40)."""
    marks = np.zeros(SHAPE, np.uint8)
    marks[9, 8:22, [3, 7]] = 1
    marks[26, 10:18, [4, 5]] = 2
    marks[12, 10:30, [3, 7]] = 9
    return marks


def files(folder: Path, marks: np.ndarray) -> tuple[Path, Path]:
    return save_nifti(folder / "images" / "a.nii.gz", scan()), save_nifti(folder / "marks.nii.gz", marks)


def scribble_problems(image: Path, scribbles: Path, background: int | None = None) -> list[str]:
    try:
        check_scribbles(image, scribbles, background)
    except ScanError as error:
        return error.problems
    return []


def only(*values: int) -> np.ndarray:
    return np.where(np.isin(lines(), values), lines(), 0)


@pytest.fixture(autouse=True)
def _no_warning() -> None:
    warnings.simplefilter("error", InputWarning)


def test_good_scribbles(tmp_path: Path) -> None:
    image, marks = files(tmp_path, lines())
    found = check_scribbles(image, marks, background=9)
    assert found[0].shape == SHAPE and found[1].counts == {1: 28, 2: 16, 9: 40}
    assert scribble_problems(image, marks) == []
    assert scribble_problems(image, save_nifti(tmp_path / "one.nii.gz", only(1, 9)), background=9) == []
    assert scribble_problems(image, save_nifti(tmp_path / "two.nii.gz", only(1, 2))) == []
    check_propagation(tmp_path, image.name.removesuffix(".nii.gz"), marks, 9)


def test_simulated_scribbles_are_good(tmp_path: Path) -> None:
    for modality in ("MR", "CT"):
        made = phantom(0, modality=modality)
        marks = scribbles_from_mask(made.label, (2.5, 2.5, 7.7), background=9)
        image = save_nifti(tmp_path / "image.nii.gz", made.image, made.affine)
        assert scribble_problems(image, save_nifti(tmp_path / "marks.nii.gz", marks, made.affine), 9) == []


@pytest.mark.parametrize(
    ("marks", "background", "says"),
    [
        (only(), 9, "no voxel is marked (all are 0). Draw lines on each organ and around them, in a few slices."),
        (
            lines(),
            0,
            "background 0 cannot be marked: 0 is what is not marked, and no label is negative. Give the value of the "
            "background's scribbles; present are 1, 2, 9.",
        ),
        (
            lines(),
            -1,
            "background -1 cannot be marked: 0 is what is not marked, and no label is negative. Give the value of the "
            "background's scribbles; present are 1, 2, 9.",
        ),
        (
            only(1),
            9,
            "background 9 has no voxel; present are 1. Mark the background with 9, or give the value that marks it.",
        ),
        (only(9), 9, "only the background (9) is marked. Draw lines on at least one organ."),
        (
            only(2),
            None,
            "only class 2 is marked, so there is nothing to compare it with. Mark the background with a value of its "
            "own and give that as background, or mark a second organ.",
        ),
    ],
)
def test_what_growth_cannot_begin_with(tmp_path: Path, marks: np.ndarray, background: int | None, says: str) -> None:
    image, file = files(tmp_path, marks)
    assert scribble_problems(image, file, background) == [f"{file}: {says}"]


def test_scribbles_in_the_air(tmp_path: Path) -> None:
    marks = lines()
    marks[1, 2:8, 4] = 3  # in the air
    marks[19:21, 19:21, 5] = 4  # in the dark vessel
    image, file = files(tmp_path, marks)
    remedy = "Check that they were drawn on that scan, and"
    assert scribble_problems(image, file, 9) == [
        f"{file}: all 6 voxels of class 3 lie in the air of {image}. {remedy} draw them within the body."
    ]
    marks[30, 2:36, 4] = 3  # 28 in the body, 6 in the air
    with pytest.warns(InputWarning) as caught:
        check_scribbles(image, save_nifti(file, marks), 9)
    assert [str(w.message) for w in caught] == [
        f"{file}: 12 of the 40 voxels of class 3 lie in the air of {image}. {remedy} erase these."
    ]
    marks = only(1, 2)
    marks[10, 0:8, 3] = 9  # of the background some may
    assert scribble_problems(image, save_nifti(file, marks), 9) == []
    marks[10, 6:8, 3] = 0
    assert scribble_problems(image, save_nifti(file, marks), 9) == [
        f"{file}: all 6 voxels of the background (9) lie in the air of {image}. {remedy} draw them within the body."
    ]


def test_a_whole_mask_is_doubted(tmp_path: Path) -> None:
    marks = lines()
    marks[24:32, 20:32, 1:7] = 3
    image, file = files(tmp_path, marks)
    sentence = (
        "voxels in {} slices are of class 3, which looks like a whole mask. Scribbles are thin lines in a few slices: "
        "draw such, or make them of the mask with monai_fss.transforms.scribbles_from_mask."
    )
    with pytest.warns(InputWarning) as caught:
        check_scribbles(image, file, 9)
    assert [str(w.message) for w in caught] == [f"{file}: 576 {sentence.format(6)}"]
    marks[..., 6][marks[..., 6] == 3] = 0  # five slices alone
    marks[33, 8:32, 1:12] = 2  # a straight line in many slices
    assert scribble_problems(image, save_nifti(file, marks), 9) == []
    large = np.zeros((120, 120, 3), np.uint8)
    large[10:110, 10:110, :2] = 3
    large[10:110, 10, 2], large[10:110, 60, 2] = 3, 1
    image = save_nifti(tmp_path / "large.nii.gz", good_image(shape=large.shape) + 500)
    with pytest.warns(InputWarning) as caught:
        check_scribbles(image, save_nifti(file, large))
    assert [str(w.message) for w in caught] == [f"{file}: 20,100 {sentence.format(3)}"]
    assert scribble_problems(image, file, 3) == [], "the background's lines may be long"


@pytest.mark.parametrize("name", BAD_LABELS)
def test_files_that_do_not_fit(name: str, tmp_path: Path) -> None:
    image = save_nifti(tmp_path / "image.nii.gz", good_image())
    bad = BAD_LABELS[name](tmp_path)
    (problem,) = scribble_problems(image, bad.path)
    assert problem.startswith(f"{bad.path}: ") and all(text in problem for text in bad.says)


def test_every_problem_is_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, marks = files(tmp_path, only(9))
    bad = BAD_FILES["NaN"](tmp_path / "images").path
    with pytest.raises(SystemExit) as stop:
        check_propagation(tmp_path, case_name(bad), marks, 9)
    lines_ = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and [line.split(": ")[0] for line in lines_] == [str(bad), str(marks)]
    assert lines_[1] == f"{marks}: only the background (9) is marked. Draw lines on at least one organ."
    check_propagation(tmp_path, "a", save_nifti(marks, lines()), 9, cases=["a"])


def test_the_scan_must_be_there_and_among_those_of_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, marks = files(tmp_path, lines())
    shutil.copy(image, image.parent / "other.nii.gz")
    for support, cases, text in (
        ("nobody", None, f"{tmp_path}: has no case nobody."),
        (case_name(image), ["other"], f"cases: lack {case_name(image)}, which has the scribbles. Add it."),
        ("", None, f"{tmp_path}: has no case {case_name(marks)}."),
    ):
        with pytest.raises(SystemExit):
            check_propagation(tmp_path, support, marks, 9, cases=cases)
        assert text in capsys.readouterr().err
