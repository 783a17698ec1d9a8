# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss segment --learn`: one labelled scan and a folder in, masks out; scans lie on one another as they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_fss.apps.cli import main
from monai_fss.apps.segment.learn import expected_time
from monai_fss.data import read_model
from monai_fss.metrics import strict_dice

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unregistered", "undrawn")]
TRAINED = {"support", "labels", "val_queries", "tensorboard", "cases"}
"""Settings of a small training that the command says itself."""


@pytest.fixture
def words(phantom_set: Path, small: Callable[[str], dict[str, Any]], tmp_path: Path) -> Callable[..., list[str]]:
    """The command for a folder of scans, the labelled one lying elsewhere unless it is said."""

    def of(images: Path, image: Path | None = None) -> list[str]:
        settings = {key: value for key, value in small("self_training").items() if key not in TRAINED}
        settings |= {"intermediates": 1, "small_ml": 1}
        pair = [str(image or phantom_set / "images" / "case_01.nii.gz"), str(phantom_set / "labels" / "case_01.nii.gz")]
        return [
            *("segment", "--learn", "--support-image", pair[0], "--support-label", pair[1], "--labels", "1,4"),
            *("--images", str(images), "--output", str(tmp_path / "out"), "--device", "cpu", "--set"),
            *(f"{key}={value}".replace("None", "null") for key, value in settings.items()),
        ]

    return of


def test_how_long_it_takes_is_said_beforehand() -> None:
    """17 CTs of 40 litres, 3,000 steps by default: (17 x 40 x 3.3 s + 3000 x 0.56 s) / 60."""
    assert expected_time(17 * 40.0, {}).startswith("about 65 minute(s) of one core")
    assert expected_time(17 * 40.0, {"steps": 1500, "rounds": 2}).startswith("about 65 minute(s)")
    assert expected_time(17 * 40.0, {"steps": 1500}).startswith("about 51 minute(s)")


def test_the_folder_is_learnt_from_and_segmented(
    words: Callable[..., list[str]], phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The labelled scan is one of the folder; a broken scan stops neither; what is done is not done again."""
    images = tmp_path / "scans"
    (tmp_path / "out" / ".data-killed" / "images").mkdir(parents=True)
    (tmp_path / "out" / ".data-killed" / "images" / "case_01.nii.gz").symlink_to(
        phantom_set / "images" / "case_01.nii.gz"
    )
    shutil.copytree(phantom_set / "images", images)
    (images / "broken.nii.gz").write_bytes((images / "case_02.nii.gz").read_bytes()[:2000])
    command = words(images, images / "case_01.nii.gz")
    assert main(command) == 1, "a scan could not be segmented"
    said = capsys.readouterr()
    assert "learning from the label of case_01.nii.gz and 3 scan(s): about 3 minute(s) of one core" in said.out
    assert "broken.nii.gz" in said.err
    out = tmp_path / "out"
    assert {file.name for file in out.glob("*.nii.gz")} == {f"case_0{number}.nii.gz" for number in range(1, 5)}
    assert not list(out.glob(".data-*"))
    student = next((out / "cache").glob("student-*"))
    taught = next((out / "cache").glob("teach-*"))
    assert {file.stem for file in taught.glob("*.pt")} == {f"case_0{number}" for number in range(1, 5)}
    assert {file.stem for file in (taught / "direct").glob("*.pt")} == {"case_02", "case_03", "case_04"}
    assert read_model(student / "model.pt")["settings"]["class_names"] == ["liver", "spleen"]
    # Two steps teach nothing: the atlas, by the scans as they lie, decides.
    mask, truth = (
        np.asarray(nib.Nifti1Image.from_filename(file).dataobj)
        for file in (out / "case_01.nii.gz", phantom_set / "labels" / "case_01.nii.gz")
    )
    assert strict_dice(mask == 1, truth == 1) > 0.8
    before = (student / "model.pt").stat().st_mtime_ns
    (out / "case_03.nii.gz").unlink()
    assert main(command) == 1 and (out / "case_03.nii.gz").exists()
    assert (student / "model.pt").stat().st_mtime_ns == before
    assert len(list((out / "cache").glob("student-*"))) == 1
    assert json.loads((out / "report.json").read_text())["segmented_now"] == ["case_03"]


def test_a_labelled_scan_of_the_same_name_as_one_of_the_folder(
    words: Callable[..., list[str]], phantom_set: Path, tmp_path: Path
) -> None:
    images, own = tmp_path / "scans", tmp_path / "own" / "case_03.nii.gz"
    own.parent.mkdir()
    images.mkdir()
    for case in ("case_02", "case_03"):
        shutil.copyfile(phantom_set / "images" / f"{case}.nii.gz", images / f"{case}.nii.gz")
    shutil.copyfile(phantom_set / "images" / "case_01.nii.gz", own)
    assert main(words(images, own)) == 0
    taught = next((tmp_path / "out" / "cache").glob("teach-*"))
    assert {file.stem for file in taught.glob("*.pt")} == {"case_02", "case_03", "labelled_case_03"}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--model", "model.pt"], "--learn: trains a model of self_training"),
        (["--bundle", "atlas"], "--learn: trains a model of self_training"),
        (["--num-parts", "2", "--part-id", "0"], "--learn: trains a model of self_training"),
        (["--set", "support=case_02"], "--support-image"),
        (["--set", "stepz=3"], "stepz"),
        (["--labels", "1,99"], "99"),
    ],
)
def test_what_does_not_go_with_it_is_refused(
    more: list[str],
    text: str,
    words: Callable[..., list[str]],
    phantom_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*words(phantom_set / "images"), *more]) == 2
    assert text in capsys.readouterr().err and not (tmp_path / "out" / "cache").exists()


def test_masks_of_another_method_are_not_replaced(
    words: Callable[..., list[str]], phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text(json.dumps({"inputs": {"bundle": "atlas"}}))
    assert main(words(phantom_set / "images")) == 2
    assert "holds masks of atlas. Give another --output, or --overwrite" in capsys.readouterr().err
    assert not (tmp_path / "out" / "cache").exists()


def test_one_labelled_scan_and_others_are_needed(
    words: Callable[..., list[str]], phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = words(phantom_set / "images" / "case_01.nii.gz")
    assert main(command) == 2 and "holds no scan besides the labelled one" in capsys.readouterr().err
    place = command.index("--support-image")
    assert main([*command[:place], *command[place + 4 :]]) == 2
    assert "--learn: learns from one labelled scan; 0 --support-image" in capsys.readouterr().err
