# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Every refusal: exit code 2, a message that names the file and the remedy, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_files import BAD_FILES, BAD_LABELS, good_image, good_label, save_nifti

from monai_fss.apps.cli import main

# A data set without these has no scan at all, which the test of the folder says.
NO_SCAN = ("missing", "other suffix", "no DICOM")
IMAGES = [name for name in BAD_FILES if name not in NO_SCAN]
LABELS = [name for name in BAD_LABELS if name != "missing"]


def tree(folder: Path) -> list[tuple[str, int, int]]:
    """Every path below a folder, with its size and time of change."""
    return [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*"))]


def refused(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused and change nothing; return what it said."""
    before = tree(folder)
    assert main(words) == 2
    assert tree(folder) == before
    out, err = capsys.readouterr()
    assert out == ""
    return err


def train_words(data: Path, output: Path) -> list[str]:
    return ["train", "--bundle", "adnet", "--data", str(data), "--output", str(output), "--device", "cpu"]


@pytest.mark.parametrize("command", ["check", "train"])
@pytest.mark.parametrize("name", IMAGES)
def test_bad_images(name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    bad = BAD_FILES[name](data / "images")
    save_nifti(data / "images" / "good.nii.gz", good_image())
    words = ["check", str(data)] if command == "check" else train_words(data, tmp_path / "run")
    said = refused(words, tmp_path, capsys)
    assert said.startswith(f"{bad.path}: ")
    assert all(text in said for text in bad.says)
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["check", "train"])
@pytest.mark.parametrize("name", LABELS)
def test_bad_labels(name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    save_nifti(data / "images" / "bad.nii.gz", good_image())
    (data / "labels").mkdir()
    bad = BAD_LABELS[name](data / "labels")
    words = ["check", str(data)] if command == "check" else train_words(data, tmp_path / "run")
    said = refused(words, tmp_path, capsys)
    assert said.startswith(f"{bad.path}: ")
    assert all(text in said for text in bad.says)


@pytest.mark.parametrize("name", NO_SCAN)
def test_folders_without_a_scan(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    BAD_FILES[name](tmp_path / "images")
    said = refused(["check", str(tmp_path)], tmp_path, capsys)
    assert said.startswith(f"{tmp_path / 'images'}: holds no scan")


def test_every_problem_of_a_folder_comes_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    for case, name in (("a", "NaN"), ("b", "constant"), ("c", "truncated .nii.gz")):
        bad = BAD_FILES[name](tmp_path / "images").path
        bad.rename(tmp_path / "images" / f"{case}.nii.gz")
    save_nifti(tmp_path / "images" / "d.nii.gz", good_image())
    save_nifti(tmp_path / "labels" / "d.nii.gz", good_label((8, 9, 11)))
    lines = refused(["check", str(tmp_path)], tmp_path, capsys).splitlines()
    assert [Path(line.split(": ")[0]).name for line in lines] == [f"{case}.nii.gz" for case in "abcd"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "stepz=3"], "--set stepz: no such setting of adnet's training. Did you mean steps?"),
        (["--set", "output_dir=x"], "--set output_dir: has an option of its own. Use --output."),
        (["--set", "steps=70", "steps_per_epoch=50"], "--set steps=70: is not a multiple of steps_per_epoch=50."),
        (["--set", "position_axes=[0, 1]"], "are 2 axes for 3 position_weights=[0.35, 0.3, 0.5]. Set both."),
        (["--set", "window=[275,-125]"], "--set window=[275,-125]: is not a list of 2 in brackets, each a number and "),
        (["--set", "size=[16,16]"], "--set size=[16,16]: is less than the 32 x 32 pixels of encoder=compact."),
        (["--bundle", "adnet:seed=-1"], "--bundle adnet:seed=-1: is not a whole number from 0 to"),
        (["--cases", "a,zz"], "data: has no case zz. There are a, b."),
        (["--cases", ","], "--cases: names no case."),
        (["--recipe", "quick"], "--recipe quick: adnet has no such recipe. It has "),
        (["--bundle", "adnett"], "--bundle adnett: no such bundle. Installed are adnet"),
        (["--resume"], "run: holds no checkpoint to resume from. Start the training without --resume."),
        (["--resume", "--overwrite"], "--resume, --overwrite: contradict each other."),
    ],
)
def test_train_refuses_wrong_options(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in "ab":
        save_nifti(tmp_path / "data" / "images" / f"{case}.nii.gz", good_image(ord(case)))
    said = refused(train_words(tmp_path / "data", tmp_path / "run") + words, tmp_path, capsys)
    assert says in said


def test_train_refuses_an_empty_label_that_validation_would_be_based_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in "ab":
        save_nifti(tmp_path / "data" / "images" / f"{case}.nii.gz", good_image(ord(case)))
        save_nifti(tmp_path / "data" / "labels" / f"{case}.nii.gz", good_label() * (case == "b"))
    said = refused(train_words(tmp_path / "data", tmp_path / "run"), tmp_path, capsys)
    assert "a.nii.gz: has no labelled voxel, but as the first label it is the support of the validation." in said


def test_train_refuses_an_output_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_nifti(tmp_path / "data" / "images" / "a.nii.gz", good_image())
    (tmp_path / "run").write_text("mine")
    said = refused(train_words(tmp_path / "data", tmp_path / "run"), tmp_path, capsys)
    assert (
        said == f"{tmp_path / 'run'}: cannot be an output folder: {tmp_path / 'run'} is a file. Give another folder.\n"
    )
