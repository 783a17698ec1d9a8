# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Every bundle answers, and is trained, when it is driven as MONAI Label drives it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from installed_bundles import BUNDLES, SUPPORTED, TRAINED, small_inference
from label_steps import LabelInference, label_training

from monai_fss.apps.cli import main
from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.apps.methods.method import Method
from monai_fss.data import ScanError, read_model

Small = Callable[[str], dict[str, Any]]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread", "registered_once")]


def with_settings(folder: Path, settings: dict[str, Any]) -> Path:
    """A copied bundle's inference.yaml with other values at the top: what a release does."""
    import yaml

    file = folder / "configs" / "inference.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**content, **settings}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=BUNDLES)
def copied(
    request: pytest.FixtureRequest, trained_once: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A copy of a bundle with a model of two steps in it, and that model's settings."""
    name = request.param
    folder = tmp_path_factory.mktemp("label") / name
    shutil.copytree(bundle_path(name), folder)
    if not Method(name).is_trained:
        torch.save({}, folder / "models" / "model.pt")
        return with_settings(folder, small_inference(name))
    shutil.copy(trained_once(name) / "model.pt", folder / "models" / "model.pt")
    return with_settings(folder, read_model(folder / "models" / "model.pt")["settings"])


def support_of(data: Path, case: str) -> dict[str, str]:
    return {f"support_{kind}": str(data / f"{kind}s" / f"{case}.nii.gz") for kind in ("image", "label")}


def test_it_answers_as_the_command_does(copied: Path, phantom_set: Path, tmp_path: Path) -> None:
    name, server = copied.name, LabelInference(copied)
    query, words = phantom_set / "images" / "case_03.nii.gz", ["segment", "--bundle", name]
    request = support_of(phantom_set, "case_01") if name in SUPPORTED else {}
    mask = server(query, **request)
    for key, value in request.items():
        words += [f"--{key.replace('_', '-')}", value]
    words += ["--model", str(copied / "models" / "model.pt")] if name in TRAINED else []
    words += ["--set", *(f"{key}={value}" for key, value in small_inference(name).items() if key != "quality")]
    words = words[:-1] if words[-1] == "--set" else words
    words += ["--images", str(query), "--output", str(tmp_path / "out"), "--no-overlays", "--no-quality"]
    assert main([*words, "--device", "cpu"]) == 0
    expected = np.asarray(nib.Nifti1Image.from_filename(tmp_path / "out" / "case_03.nii.gz").dataobj)
    np.testing.assert_array_equal(mask[0].numpy(), expected)
    if request:  # another labelled scan, by the same server
        other = server(query, **support_of(phantom_set, "case_02"))
        assert not torch.equal(torch.as_tensor(other), torch.as_tensor(mask))


def test_a_support_that_is_not_there_is_named(copied: Path, phantom_set: Path) -> None:
    if copied.name not in SUPPORTED:
        pytest.skip(f"{copied.name} needs no labelled scan")
    query = phantom_set / "images" / "case_03.nii.gz"
    for request, words in (({}, "Give one label for each image"), ({"support_image": "none.nii.gz"}, "Give one label")):
        with pytest.raises(RuntimeError) as raised:
            LabelInference(copied)(query, **request)
        assert words in causes(raised.value)
    with pytest.raises(RuntimeError) as raised:
        LabelInference(copied)(query, support_image="none.nii.gz", support_label="none_seg.nii.gz")
    assert "none.nii.gz: does not exist" in causes(raised.value)


def test_a_model_of_other_settings_is_refused(copied: Path, phantom_set: Path, tmp_path: Path) -> None:
    if copied.name not in TRAINED:
        pytest.skip(f"{copied.name} has no model")
    folder = tmp_path / copied.name
    shutil.copytree(copied, folder)
    with_settings(folder, {"pixdim": 7.0})
    request = support_of(phantom_set, "case_01") if copied.name in SUPPORTED else {}
    with pytest.raises(RuntimeError) as raised:
        LabelInference(folder)(phantom_set / "images" / "case_03.nii.gz", **request)
    assert "was trained with pixdim" in causes(raised.value)


def test_it_trains_on_the_studies_that_it_is_given(
    copied: Path, phantom_set: Path, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = copied.name
    if name not in TRAINED:
        pytest.skip(f"{name} is not trained")
    folder = tmp_path / name
    shutil.copytree(copied, folder)
    before = read_model(folder / "models" / "model.pt")
    files = ("image", "label")
    studies = [{key: str(phantom_set / f"{key}s" / f"case_0{n}.nii.gz") for key in files} for n in (1, 2, 3)]
    settings = {key: value for key, value in small(name).items() if key != "support"}
    if name in ("prnet", "small_organ") or Method(name).learns_from_one_scan:  # a list of studies is not enough
        with pytest.raises(SystemExit) as stop:
            label_training(folder, studies[:2], studies[1:], **settings)
        assert stop.value.code == 2 and "dataset_dir" in capsys.readouterr().err
        return
    label_training(folder, studies, studies[1:], **settings)
    after = read_model(folder / "models" / "model.pt")
    unnamed = {"class_names": ["label_1", "label_4"]} if "class_names" in before["settings"] else {}
    assert after["settings"] == before["settings"] | unnamed
    assert any(not torch.equal(after["model"][key], value) for key, value in before["model"].items())


def causes(error: BaseException | None) -> str:
    """The words of an error and of what caused it: MONAI wraps what goes wrong within a configuration."""
    words = []
    while error is not None:
        words.append(" ".join(error.problems) if isinstance(error, ScanError) else str(error))
        error = error.__cause__
    return " ".join(words)
