# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What is evaluated is what is written, and each file is read once."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.utils import set_determinism

from monai_fss.apps.cli import main
from monai_fss.apps.methods.bundles import bundle_names
from monai_fss.apps.methods.method import Method
from monai_fss.apps.train.workflow import train
from monai_fss.data import LoadScan
from monai_fss.data.reading import volume as reading
from monai_fss.handlers import VolumeScores
from monai_fss.results import read_results
from monai_fss.transforms import SliceOrientationd

Small = Callable[[str], dict[str, Any]]
LABELS = "1,4"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread", "registered_once")]


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str, int], np.ndarray]:
    """Every mask that is scored, by method, case and label value."""
    seen: dict[tuple[str, str, int], np.ndarray] = {}
    scored = VolumeScores.masks

    def recorded(self: VolumeScores, output: Mapping[str, Any], logits: MetaTensor) -> Iterator[np.ndarray]:
        case = Path(output["image"].meta["filename_or_obj"]).name.partition(".")[0]
        for value, mask in zip(self.names, scored(self, output, logits), strict=True):
            seen[self.method, case, value] = mask
            yield mask

    monkeypatch.setattr(VolumeScores, "masks", recorded)
    return seen


@pytest.mark.parametrize("bundle", bundle_names())
def test_the_masks_that_are_scored_are_those_that_are_written(
    bundle: str,
    phantom_set: Path,
    small: Small,
    tmp_path: Path,
    masks: dict[tuple[str, str, int], np.ndarray],
) -> None:
    """EP2 of fold 0: case_02 supports case_01."""
    method, model = Method(bundle), []
    if method.is_trained:
        settings = small(bundle)
        settings |= {"support": "case_02"} if "support" in settings else {}
        train(bundle, phantom_set, tmp_path / "run", settings=settings, device="cpu")
        set_determinism(None)
        model = ["--model", str(tmp_path / "run" / "model.pt")]
    words = ["--bundle", bundle, *model, "--labels", LABELS, "--device", "cpu"]
    own = ["--set", "spacing=[5, 5, 8]", "starts=1"] if bundle == "atlas" else []
    out = str(tmp_path / "evaluated")
    command = ["evaluate", *words, "--data", str(phantom_set), "--output", out, "--fold", "0", "--ways", "compete"]
    assert main([*command, *own]) == 0
    (tmp_path / "in").mkdir()
    shutil.copy(phantom_set / "images" / "case_01.nii.gz", tmp_path / "in")
    support = [str(phantom_set / folder / "case_02.nii.gz") for folder in ("images", "labels")]
    shown = ["--support-image", support[0], "--support-label", support[1]] if method.needs_support else []
    command = ["segment", *words, *shown, "--images", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main([*command, "--no-quality", "--no-overlays", *own]) == 0
    written = LoadScan(as_label=True)(tmp_path / "out" / "case_01.nii.gz")
    label = np.asarray(SliceOrientationd("label")({"label": written})["label"][0])
    for value in (1, 4):
        assert np.array_equal(masks[bundle, "case_01", value], label == value)
    if bundle == "atlas":
        assert (label > 0).sum() > 1000, "there is something to be compared"


def test_each_file_is_read_once_by_two_methods(
    phantom_set: Path, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    real = reading._read

    def counted(path: Path, found: Any) -> Any:
        reads[f"{path.parent.name}/{path.name}"] += 1
        return real(path, found)

    monkeypatch.setattr(reading, "_read", counted)
    settings = [f"{key}={value}" for key, value in small("adnet").items() if not key.startswith("val_")]
    settings = [pair.replace("False", "false") for pair in settings]
    words = ["evaluate", "--bundle", "adnet", "panet", "--data", str(phantom_set), "--output", str(tmp_path / "out")]
    assert main([*words, "--device", "cpu", "--quality", "--set", *settings]) == 0
    assert len(read_results(tmp_path / "out").entries) == (2 + 1 + 1) * 2 * 5
    files = {f"{folder}/case_0{n}.nii.gz" for folder in ("images", "labels") for n in range(1, 5)}
    assert reads == dict.fromkeys(files, 1)
    assert torch.get_num_threads() == 1
