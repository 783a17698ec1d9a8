# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss segment`: one scan that cannot be done does not stop the others, and nothing is passed over unsaid."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_series import write_series
from segment_scene import CASES, Scene, tree

from monai_fss.apps.cli import main
from monai_fss.handlers.segment_report import read_quality
from monai_fss.networks.nets import ADNet

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ("--no-quality", "--no-overlays")


def voxels(file: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.Nifti1Image.from_filename(file)
    return np.asarray(image.dataobj), np.asarray(image.affine)


def save(file: Path, array: np.ndarray, affine: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(array, affine), file)


def report(scene: Scene) -> dict[str, Any]:
    return json.loads((scene.root / "out" / "report.json").read_text(encoding="utf-8"))


def masks(scene: Scene) -> set[str]:
    return {file.name.removesuffix(".nii.gz") for file in (scene.root / "out").glob("*.nii.gz")}


@pytest.mark.slow
def test_twenty_scans_of_which_five_are_unusable(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    image, affine = voxels(scene.images / "case_02.nii.gz")
    shutil.rmtree(scene.images)
    scene.images.mkdir()
    for number in range(11):
        save(scene.images / f"good_{number:02d}.nii.gz", image + np.int16(number), affine)
    thin = {"one": image[..., 5:6], "two": image[..., 5:7], "four": image[..., 5:9]}
    thin["five_axes"] = (image + np.int16(20))[..., None, None]
    for name, array in thin.items():
        save(scene.images / f"{name}.nii.gz", array, affine)
    holes = image.astype(np.float32)
    holes[3, 4, 5] = np.nan
    save(scene.images / "bad_nan.nii.gz", holes, affine)
    save(scene.images / "bad_series.nii.gz", np.stack([image, image], -1), affine)
    save(scene.images / "bad_constant.nii.gz", np.full_like(image, 7), affine)
    (scene.images / "bad_cut.nii.gz").write_bytes((scene.images / "good_00.nii.gz").read_bytes()[:2000])
    shutil.copy(scene.support, scene.images / "bad_support.nii.gz")
    assert main(scene.words(*QUICK)) == 1
    printed = capsys.readouterr()
    assert "15 scan(s) segmented" in printed.out and "5 scan(s) could not be segmented" in printed.err
    assert masks(scene) == {*(f"good_{number:02d}" for number in range(11)), *thin}
    says = {
        "bad_constant": "image is constant",
        "bad_cut": "",
        "bad_nan": "NaN",
        "bad_series": "One 3-D volume per file is needed",
        "bad_support": "has the same voxels as the support",
    }
    assert report(scene)["failed"].keys() == says.keys()
    for case, text in says.items():
        assert str(scene.images / case) in report(scene)["failed"][case] and text in report(scene)["failed"][case]
        assert [line for line in printed.err.splitlines() if f"{case}.nii.gz: " in line and text in line]
    for name, array in thin.items():
        mask, there = voxels(scene.root / "out" / f"{name}.nii.gz")
        assert mask.shape == array.shape[:3]
        np.testing.assert_allclose(there, affine, atol=1e-5)
    assert voxels(scene.root / "out" / "four.nii.gz")[0].any()


def test_a_scan_that_fails_on_the_way_is_named_and_done_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, calls = ADNet.segment, []

    def segment(self: ADNet, *args: Any, **more: Any) -> torch.Tensor:
        calls.append(args)
        if len(calls) == 1:
            raise RuntimeError("kernel size\nand much more")
        return real(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(ADNet, "segment", segment)
        assert main(scene.words(*QUICK)) == 1
    file = scene.images / "case_02.nii.gz"
    assert f"{file}: RuntimeError: kernel size" in capsys.readouterr().err.splitlines()
    assert report(scene)["failed"] == {"case_02": f"{file}: RuntimeError: kernel size"}
    assert masks(scene) == {"case_03"} == {row["case"] for row in read_quality(scene.root / "out" / "quality.csv")}
    before = tree(scene.root / "out")["case_03.nii.gz"]
    assert main(scene.words(*QUICK)) == 0, "the same command does what is missing"
    assert report(scene)["segmented_now"] == ["case_02"] and report(scene)["failed"] == {}
    assert tree(scene.root / "out")["case_03.nii.gz"] == before


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), OSError(28, "No space")]
)
def test_what_is_no_fault_of_a_scan_ends_the_run(
    error: Exception, scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def segment(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(ADNet, "segment", segment)
    assert main(scene.words(*QUICK)) == 1
    assert "monai-fss: error: " in capsys.readouterr().err
    assert not (scene.root / "out" / "report.json").exists()


def test_a_finished_folder_takes_one_scan_more(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(scene.words(*QUICK)) == 0
    before = tree(scene.root / "out")
    image, affine = voxels(scene.images / "case_02.nii.gz")
    save(scene.images / "new.nii.gz", image + np.int16(1), affine)
    assert main(scene.words(*QUICK, "--labels", "1")) == 2, "of another command it is not"
    assert tree(scene.root / "out") == before
    assert main(scene.words(*QUICK)) == 0
    assert "1 scan(s) segmented" in capsys.readouterr().out
    assert report(scene)["segmented_now"] == ["new"] and report(scene)["inputs"]["cases"] == [*CASES, "new"]
    assert {row["case"] for row in read_quality(scene.root / "out" / "quality.csv")} == {*CASES, "new"}
    for case in CASES:
        assert tree(scene.root / "out")[f"{case}.nii.gz"] == before[f"{case}.nii.gz"]


def test_label_maps_among_the_scans_are_passed_over(
    scene: Scene, phantom_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(phantom_set / "labels" / "case_02.nii.gz", scene.images / "case_02_seg.nii.gz")
    label, affine = voxels(phantom_set / "labels" / "case_03.nii.gz")
    save(scene.images / "other.nii.gz", (label == 1).astype(np.float32) * 255, affine)
    assert main(scene.words(*QUICK)) == 0
    assert masks(scene) == set(CASES)
    told = [line for line in capsys.readouterr().err.splitlines() if "looks like a label map" in line]
    assert [line.split(": ")[1] for line in told] == [
        str(scene.images / f"{n}.nii.gz") for n in ("case_02_seg", "other")
    ]
    assert report(scene)["passed_over"] == [str(scene.images / f"{n}.nii.gz") for n in ("case_02_seg", "other")]


def test_a_folder_of_label_maps_alone_is_refused(
    scene: Scene, phantom_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in CASES:
        shutil.copy(phantom_set / "labels" / f"{case}.nii.gz", scene.images / f"{case}.nii.gz")
    assert main(scene.words(*QUICK)) == 2
    assert capsys.readouterr().err.count("looks like a label map") == 2
    assert not (scene.root / "out").exists()


def test_the_folder_that_one_stands_in_has_its_own_name(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    image, affine = voxels(scene.images / "case_02.nii.gz")
    write_series(scene.root / "patient_7", image, affine)
    monkeypatch.chdir(scene.root / "patient_7")
    words = scene.words(*QUICK)
    words[words.index("--images") + 1] = "."
    assert main(words) == 0
    assert masks(scene) == {"patient_7"}


def test_names_as_long_as_a_file_system_takes(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    name = "n" * 247  # ".nii.gz" makes 254 bytes of it
    (scene.images / "case_02.nii.gz").rename(scene.images / f"{name}.nii.gz")
    image, affine = voxels(scene.images / "case_03.nii.gz")
    save(scene.images / f"{'m' * 250}.nii", image + np.int16(1), affine)
    assert main(scene.words("--probabilities")) == 1
    assert masks(scene) == {name, "case_03"}
    assert "name is too long: that of its mask would have 257 bytes" in capsys.readouterr().err
