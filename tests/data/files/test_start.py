# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A training that starts from another one's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from monai_fss.data import InputWarning, ScanError, save_model, start_from
from monai_fss.data.checks.preflight import check_start

SETTINGS: dict[str, Any] = {"values": [1, 4], "pixdim": 3.0, "window": [-125, 275], "channels": [5]}


class Tiny(nn.Module):
    """A body and an output layer."""

    output_prefix = "head."

    def __init__(self, ways: int = 2, width: int = 5) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, width), nn.Linear(width, 1 + ways)


class Other(Tiny):
    """The same by another name."""


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    network = Tiny()
    save_model(tmp_path / "model.pt", network, SETTINGS, "unet_3d")
    return tmp_path / "model.pt", weights(network)


def test_of_the_same_labels_all_is_taken(trained: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path, before = trained
    network = Tiny()
    assert start_from(path, network, SETTINGS) is network
    assert all(torch.equal(value, before[key]) for key, value in weights(network).items())
    said = capsys.readouterr().out
    assert said == f"{path}: the training starts from all of its weights, which are of the same labels (1, 4)\n"


@pytest.mark.parametrize(("values", "labels"), [([4, 1], "4, 1"), ([1], "1"), ([2, 3], "2, 3"), ([1, 4, 5], "1, 4, 5")])
def test_of_other_labels_the_output_layer_begins_anew(
    values: list[int], labels: str, trained: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of as many labels too, where every weight would fit."""
    path, before = trained
    network = Tiny(len(values))
    own = weights(network)
    start_from(path, network, {**SETTINGS, "values": values})
    after = weights(network)
    assert all(torch.equal(after[key], before[key]) for key in after if key.startswith("body."))
    assert all(torch.equal(after[key], own[key]) for key in after if key.startswith("head."))
    told = f"starts from 2 of its 4 weights; the output layer, which was of labels 1, 4, begins anew for {labels}\n"
    assert capsys.readouterr().out.endswith(told)
    start_from(path, network, {**SETTINGS, "values": values}, say=False)
    assert capsys.readouterr().out == ""


def test_what_does_not_fit_is_refused_and_nothing_taken(trained: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = trained
    network = Tiny(width=6)
    own = weights(network)
    with pytest.raises(ScanError, match=r"of another size \(3 of 4 weights do not fit, such as body.bias\).*=\[5\]"):
        start_from(path, network, SETTINGS)
    assert all(torch.equal(value, own[key]) for key, value in weights(network).items())
    with pytest.raises(ScanError, match="is a model of Tiny, not of Other. Start from one of the same bundle."):
        start_from(path, Other(), SETTINGS)
    with pytest.raises(SystemExit) as ended:
        check_start(path.parent / "none.pt", network, SETTINGS)
    assert ended.value.code == 2 and "none.pt: no such file." in capsys.readouterr().err


def test_scans_that_look_otherwise_are_told(trained: Any) -> None:
    path, _ = trained
    with pytest.warns(InputWarning, match="was trained with pixdim=3.0 and not 2.0, so scans look otherwise to it"):
        start_from(path, Tiny(), {**SETTINGS, "pixdim": 2.0})
