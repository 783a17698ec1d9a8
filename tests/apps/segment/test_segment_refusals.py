# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What `monai-fss segment` refuses: exit code 2, the file, the values and the remedy named, nothing written."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from bad_files import BAD_FILES, BAD_LABELS, good_image, save_nifti
from segment_scene import CASES, Payload, Scene, tree

from monai_fss.apps.cli import main
from monai_fss.data import read_model, save_model
from monai_fss.networks.nets import ADNet, build_encoder

pytestmark = pytest.mark.usefixtures("one_thread")


def refused(scene: Scene, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Run a command that must be refused and change nothing; return what it said."""
    before = tree(scene.root)
    capsys.readouterr()
    assert main(scene.words(*more)) == 2
    assert tree(scene.root) == before
    assert not (scene.root / "out").exists()
    return capsys.readouterr().err


def without_good_scans(scene: Scene) -> None:
    for case in CASES:
        (scene.images / f"{case}.nii.gz").unlink()


def test_the_support_as_the_only_query_is_refused(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    without_good_scans(scene)
    shutil.copy(scene.support, scene.images / "copy.nii.gz")
    assert f"{scene.images / 'copy.nii.gz'}: has the same voxels as the support" in refused(scene, capsys)
    (scene.images / "copy.nii.gz").unlink()
    (scene.images / "link.nii.gz").symlink_to(scene.support)
    assert f"{scene.images / 'link.nii.gz'}: is the support itself" in refused(scene, capsys)


def test_a_label_of_another_grid_is_refused(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    label = nib.Nifti1Image.from_filename(scene.label)
    voxels = np.asarray(label.dataobj)
    nib.save(nib.Nifti1Image(voxels[:-1], label.affine), scene.label)
    assert "label has shape (63, 64, 12), its image" in refused(scene, capsys)
    moved = label.affine.copy()
    moved[0, 3] += 1
    nib.save(nib.Nifti1Image(voxels, moved), scene.label)
    said = refused(scene, capsys)
    assert "corners up to 0.2 voxels apart" in said and "Resample the label to the image" in said


def test_classes_that_the_support_lacks_are_refused(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert "label 9 has no voxel; present are 1, 2, 3, 4, 5" in refused(scene, capsys, "--labels", "1,9")
    label = nib.Nifti1Image.from_filename(scene.label)
    nib.save(nib.Nifti1Image(np.zeros_like(np.asarray(label.dataobj)), label.affine), scene.label)
    assert "support label has no labelled voxel" in refused(scene, capsys)


def test_every_problem_of_support_and_queries_comes_at_once(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    for case in CASES:
        (scene.images / f"{case}.nii.gz").write_bytes(b"x")
    said = refused(scene, capsys)
    assert all(f"{scene.images / case}.nii.gz: " in said for case in CASES)


@pytest.mark.parametrize("name", [name for name in BAD_FILES if name not in ("missing", "other suffix", "no DICOM")])
def test_bad_queries_are_refused(name: str, scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    without_good_scans(scene)
    bad = BAD_FILES[name](scene.images)
    said = refused(scene, capsys)
    assert said.startswith(f"{bad.path}: ") and all(text in said for text in bad.says)


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_support_image_is_refused(name: str, scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    bad = BAD_FILES[name](scene.root)
    said = refused(scene, capsys, "--support-image", str(bad.path))
    assert said.startswith(f"{bad.path}: ") and all(text in said for text in bad.says)


@pytest.mark.parametrize("name", BAD_LABELS)
def test_a_bad_support_label_is_refused(name: str, scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    image = save_nifti(scene.root / "good.nii.gz", good_image())
    bad = BAD_LABELS[name](scene.root)
    said = refused(scene, capsys, "--support-image", str(image), "--support-label", str(bad.path))
    assert said.startswith(f"{bad.path}: ") and all(text in said for text in bad.says)


def test_a_bad_support_does_not_hide_bad_queries(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (scene.support, scene.images / "case_02.nii.gz"):
        file.write_bytes(b"x")
    said = refused(scene, capsys)
    assert f"{scene.support}: " in said and "case_02.nii.gz: " in said


def test_folders_without_scans_are_refused(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(scene.images)
    assert f"{scene.images}: does not exist. Check the path." in refused(scene, capsys)
    scene.images.mkdir()
    assert f"{scene.images}: holds no scan (looked for .nii.gz" in refused(scene, capsys)


def test_a_case_that_is_there_twice_is_refused(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    save_nifti(scene.images / "case_02.nii", good_image())
    assert "case 'case_02' is there twice, as case_02.nii and case_02.nii.gz" in refused(scene, capsys)


def test_an_output_folder_that_is_a_file_is_refused(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    (scene.root / "mine").write_text("mine")
    said = refused(scene, capsys, "--output", str(scene.root / "mine"))
    assert "mine is a file. Give another folder." in said


def test_scans_and_labels_are_never_overwritten(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(scene, capsys, "--overwrite", "--output", str(scene.images))
    assert "a result would replace the input" in said and "case_02.nii.gz" in said
    labels = scene.root / "labels"
    labels.mkdir()
    shutil.move(scene.label, labels / "case_02.nii.gz")
    more = ["--support-label", str(labels / "case_02.nii.gz"), "--overwrite", "--output", str(labels)]
    assert "a result would replace the input" in refused(scene, capsys, *more)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--device cuda: PyTorch sees no CUDA device here." in refused(scene, capsys, "--device", "cuda")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--labels", "1,x"], "--labels 1,x"),
        (["--labels", "0"], "--labels 0"),
        (["--labels", "1,\u00b2"], "is not a list of label values"),
        (["--labels", "1,01"], "--labels 1,01: names a value twice"),
        (["--support-slices", "none"], "--support-slices none"),
        (["--support-slices", "0"], "--support-slices 0"),
        (["--set", "slices_per_bach=2"], "Did you mean slices_per_batch?"),
        (["--bundle", "adnett"], "--bundle adnett: no such bundle"),
        (["--cache-size", "20"], "--cache-size 20: is not a size. Write it as 500MB, 20GB or 1.5TB, or 0 for none."),
    ],
)
def test_wrong_options_are_refused(
    more: list[str], says: str, scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refused(scene, capsys, *more)


def test_images_and_labels_of_the_support_must_be_as_many(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(scene, capsys, "--support-label", str(scene.label), str(scene.label))
    assert "1 image(s) and 2 label(s) were given" in said


def test_a_model_that_holds_a_pickled_object_is_refused_unexecuted(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = scene.root / "executed"
    torch.save({"model": {"weight": Payload(proof)}, "settings": {}}, scene.model)
    assert "model.pt: holds pickled objects, which could run code; it was not loaded." in refused(scene, capsys)
    assert not proof.exists()


@pytest.mark.parametrize("nested", [False, True])
def test_an_expression_in_a_model_file_is_refused_unexecuted(
    nested: bool, scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    proof = scene.root / "executed"
    content, code = read_model(scene.model), f"$open('{proof}', 'w')"
    content["settings"]["window"] = [code, 1] if nested else code
    torch.save(content, scene.model)
    assert "model.pt: its settings hold an expression" in refused(scene, capsys)
    assert not proof.exists()


def test_a_model_of_another_encoder_or_method_is_refused(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    settings = read_model(scene.model)["settings"]
    save_model(scene.model, ADNet(build_encoder("resnet18")), settings)
    assert "model.pt: holds the weights of another method or encoder than ADNet" in refused(scene, capsys)
    torch.save({"model": {}, "settings": settings | {"anchors": 3}}, scene.model)
    assert "model.pt: brings settings that adnet does not know (anchors)" in refused(scene, capsys)
    scene.model.unlink()
    assert "model.pt: no such file" in refused(scene, capsys)
