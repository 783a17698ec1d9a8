# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Bundles on another device than the processor: what comes after the network works with numpy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from installed_bundles import BUNDLES, TRAINED
from monai.bundle import ConfigParser
from monai.transforms import ToDeviced

from monai_fss.apps.train.workflow import train

FOLDER = Path(__file__).resolve().parents[2] / "bundles"
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("bundle", BUNDLES)
def test_predictions_come_to_the_processor_before_masks_are_made(bundle: str) -> None:
    parser = ConfigParser()
    parser.read_config(FOLDER / bundle / "configs" / "inference.yaml")
    parser["support"] = parser["atlas"] = SimpleNamespace(values=(1, 4), pieces={})
    parser["pieces"] = {}
    first = parser.get_parsed_content("postprocessing").transforms[0]
    assert isinstance(first, ToDeviced) and first.converter.device == "cpu"
    assert set(first.keys) >= {"image", "pred"}


@needs_cuda
@pytest.mark.parametrize("bundle", TRAINED)
def test_a_training_and_its_masks_on_cuda(
    bundle: str, phantom_set: Path, small: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    train(bundle, phantom_set, tmp_path / "run", settings=small(bundle), device="cuda")
    images, labels = phantom_set / "images", phantom_set / "labels"
    command = [sys.executable, "-m", "monai_fss", "segment", "--bundle", bundle, "--device", "cuda"]
    command += ["--model", str(tmp_path / "run" / "model.pt"), "--output", str(tmp_path / "out")]
    command += ["--images", str(images / "case_02.nii.gz"), "--support-image", str(images / "case_01.nii.gz")]
    command += ["--support-label", str(labels / "case_01.nii.gz")]
    subprocess.run(command, check=True, cwd=FOLDER.parent)
    assert (tmp_path / "out" / "case_02.nii.gz").is_file()
