# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The network of two stages: what it is to MONAI, and what travels with its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from monai_fss.data import ScanError, load_model, save_model
from monai_fss.networks.nets import ResidualFCN, TwoStageNet


def net(organs: tuple[int, ...] = (4, 11)) -> TwoStageNet:
    small = {"filters": (2, 4), "strides": (1, 2), "bfloat16": False}
    return TwoStageNet(ResidualFCN(1, 3, **small), ResidualFCN(2, 2, **small), organs)  # type: ignore[arg-type]


def test_it_is_the_coarse_network_and_trains_as_such() -> None:
    network, image = net(), torch.rand(1, 1, 6, 6, 6)
    assert torch.equal(network(image), network.coarse(image)) and list(network.fine) == ["4", "11"]
    network(image).sum().backward()
    assert all(weight.grad is not None for weight in network.coarse.parameters())
    assert not any(weight.requires_grad for weight in network.fine.parameters())
    assert len(TwoStageNet(network.coarse).fine) == 0
    torch.testing.assert_close(torch.jit.script(network.eval())(image), network(image))


def test_what_it_remembers_is_in_its_file_and_replaces_what_was_there(tmp_path: Path) -> None:
    one, other = net(), net()
    one.remember({"usual4": torch.rand(2, 3), "atlas0_label": torch.ones(1, 2, 2, 2, dtype=torch.uint8)})
    other.remember({"usual4": torch.zeros(5), "more": torch.zeros(1)})
    save_model(tmp_path / "model.pt", one, {})
    load_model(tmp_path / "model.pt", other)
    assert other.remembered().keys() == one.remembered().keys() == {"usual4", "atlas0_label"}
    assert all(torch.equal(other.state_dict()[key], value) for key, value in one.state_dict().items())
    assert other.remember({}).remembered() == {}
    with pytest.raises(ScanError, match="another method or encoder"):
        load_model(tmp_path / "model.pt", net((4,)))
