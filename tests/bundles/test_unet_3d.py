# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The supervised U-Net's configuration: what it learns from, what a window shows, and where it starts from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from installed_bundles import config_of
from monai.bundle import ConfigWorkflow
from monai.transforms import RandAxisFlipd, RandFlipd

from monai_fss.data import read_model

Small = Callable[[str], dict[str, Any]]
BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "unet_3d"


parsed = partial(config_of, "unet_3d")


def train(output: Path, **settings: Any) -> dict[str, Any]:
    workflow = ConfigWorkflow(
        config_file=str(BUNDLE / "configs" / "train.yaml"),
        logging_file=False,
        workflow_type="train",
        bundle_root=str(BUNDLE),
        output_dir=str(output),
        device="$torch.device('cpu')",
        **settings,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    return read_model(output / "model.pt")


@pytest.fixture
def settings(phantom_set: Path, small: Small) -> dict[str, Any]:
    return small("unet_3d") | {"dataset_dir": str(phantom_set), "val_queries": 0}


def test_inference_has_the_settings_of_the_training_for_its_own() -> None:
    own, used = parsed("train"), parsed("inference")
    for key in ("pixdim", "window", "channels", "roi_size"):
        assert used[key] == own[key], key
    assert set(own["settings"]) == set(used["settings"]), "what inference needs is kept"


def test_the_defaults_of_the_training_are_those_of_the_function() -> None:
    """What is handed on is every argument of `learnt_scans`."""
    own = parsed("train")
    elsewhere = {"folder": "@dataset_dir", "studies": "@train::dataset::data"}
    assert own["learning"] == {key: elsewhere.get(key, f"@{key}") for key in own["learning"]}


def pseudo_labels(phantom_set: Path, folder: Path) -> Path:
    """Those of two scans: organ 4 of the labels, and where organ 1 is nobody knows."""
    folder.mkdir()
    for case in ("case_02", "case_03"):
        label = nib.Nifti1Image.from_filename(phantom_set / "labels" / f"{case}.nii.gz")
        known = np.asarray(label.dataobj)
        made = np.where(known == 1, 255, np.where(known == 4, 4, 0)).astype(np.uint8)
        nib.Nifti1Image(made, label.affine).to_filename(folder / f"{case}.nii.gz")
    return folder


def test_windows_show_classes_by_number_and_doubt(phantom_set: Path, settings: dict[str, Any], tmp_path: Path) -> None:
    """Drawn from pseudo-labels: 0, 1 for organ 4, and -1."""
    folder = pseudo_labels(phantom_set, tmp_path / "pseudo")
    own = {**settings, "labels": None, "label_dir": str(folder), "ignore": 255, "val_queries": 1}
    parser = parsed("train", **own, output_dir=str(tmp_path))
    assert parser.get_parsed_content("values") == [4]
    assert [item["case"] for item in parser.get_parsed_content("items")] == ["case_02", "case_03"]
    assert [item["case"] for item in parser.get_parsed_content("val_items")] == ["case_01"]
    volumes = parser.get_parsed_content("train::volumes")
    assert [sorted(np.unique(volume["label"]).tolist()) for volume in volumes] == [[-1, 0, 1]] * 2
    assert all(min(volume["image"].shape[1:]) >= 20 for volume in volumes), "padded to what is drawn"
    dataset = parser.get_parsed_content("train::dataset")
    windows = [dataset[number][0] for number in range(24)]
    assert {tuple(window["image"].shape) for window in windows} == {(1, 32, 32, 16)}
    assert {tuple(window["label"].shape) for window in windows} == {(1, 32, 32, 16)}
    values = [set(np.unique(window["label"]).tolist()) for window in windows]
    assert set().union(*values) == {-1, 0, 1} and all(window["image"].dtype == torch.float32 for window in windows)
    for volume in volumes:
        centres = [volume["label"].flatten()[places].unique().tolist() for places in volume["label_cls_indices"]]
        assert centres == [[0], [1]], "a window's centre is as often the organ as the background, and never in doubt"
        assert len(volume["label_cls_indices"][1]) == int((volume["label"] == 1).sum())
    loss = parser.get_parsed_content("loss")
    assert loss.ignore == -1
    steps = parser.get_parsed_content("train::preprocessing").transforms
    assert not any(isinstance(step, (RandFlipd, RandAxisFlipd)) for step in steps)


def test_two_kidneys_under_one_label_are_two_pieces(
    phantom_set: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    for case in ("case_01", "case_02", "case_03"):
        label = nib.Nifti1Image.from_filename(phantom_set / "labels" / f"{case}.nii.gz")
        known = np.asarray(label.dataobj)
        made = np.where(np.isin(known, (2, 3)), 2, np.where(known == 1, 1, 0)).astype(np.uint8)
        nib.Nifti1Image(made, label.affine).to_filename(folder / f"{case}.nii.gz")
    parser = parsed("train", **{**settings, "labels": None, "label_dir": str(folder)}, output_dir=str(tmp_path))
    found = parser.get_parsed_content("settings")
    assert found["values"] == [1, 2] and found["pieces"] == [1, 2] and len(found["class_names"]) == 2
    after = parsed("inference", **found).get_parsed_content("postprocessing").transforms
    assert [step.pieces for step in after if hasattr(step, "pieces")] == [{1: 1, 2: 2}]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_fine_tuning_takes_all_but_the_output_layer(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(tmp_path / "first", **{**settings, "labels": [1, 4]})
    pretrained = str(tmp_path / "first" / "model.pt")
    own = {**settings, "labels": [5], "pretrained": pretrained, "scans": 1, "learning_rate": 1e-12}
    second = train(tmp_path / "second", **own)
    assert second["settings"]["values"] == [5]
    assert "which was of labels 1, 4, begins anew for 5" in capsys.readouterr().out
    for key, value in second["model"].items():
        if not key.startswith("body.output_block."):
            torch.testing.assert_close(value, first["model"][key], rtol=0, atol=1e-6)
    assert second["model"]["body.output_block.conv.conv.weight"].shape[0] == 2
    with pytest.raises(SystemExit) as ended:
        train(tmp_path / "third", **{**own, "channels": [4, 8, 12]})
    assert ended.value.code == 2 and "It was trained with channels=[4, 8, 16]" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_it_resumes_bit_for_bit_whatever_the_workers(settings: dict[str, Any], tmp_path: Path) -> None:
    own = {**settings, "steps": 4, "cache_dir": str(tmp_path / "cache")}
    whole = train(tmp_path / "whole", **own)
    train(tmp_path / "parts", **own, max_epochs=2)
    parts = train(tmp_path / "parts", **own, resume=True, num_workers=1)
    assert all(torch.equal(whole["model"][key], parts["model"][key]) for key in whole["model"])
