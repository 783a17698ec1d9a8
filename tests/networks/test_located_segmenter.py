# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""To MONAI a U-Net; in its weights, what finds where to crop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from monai_fss.data import ScanError, load_model, load_propagation, save_model, save_propagation
from monai_fss.networks.nets import LocatedSegmenter, PRNet


def network(base: int = 2) -> LocatedSegmenter:
    nets = [PRNet((32, 16, 16), base, bfloat16=False) for _ in range(2)]
    return LocatedSegmenter(nn.Conv3d(1, 3, 1), *nets, bfloat16=False)


POINTS = {"mm": torch.rand(5, 3), "values": torch.tensor([1, 1, 2, 2, 9])}


def test_it_is_its_segmenter_and_trains_that_alone() -> None:
    net, image = network(), torch.rand(2, 1, 8, 8, 8)
    assert torch.equal(net(image), net.segmenter(image))
    trained = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert trained == {"segmenter.weight", "segmenter.bias"}


def test_bfloat16_is_for_training_alone() -> None:
    net, image = network(), torch.rand(1, 1, 4, 4, 4)
    net.in_bfloat16 = True
    assert net(image).dtype == torch.float32 and not torch.equal(net(image), net.segmenter(image))
    net.eval()
    assert torch.equal(net(image), net.segmenter(image))


def test_points_are_kept_in_the_weights(tmp_path: Path) -> None:
    net = network()
    assert net.points() == {}
    net.remember({"old": torch.zeros(2)}).remember(POINTS)
    assert net.points().keys() == POINTS.keys()
    save_model(tmp_path / "model.pt", net, {})
    other = load_model(tmp_path / "model.pt", network())
    assert isinstance(other, LocatedSegmenter)
    assert all(torch.equal(other.points()[name], value) for name, value in POINTS.items())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


def test_what_finds_scribbles_comes_from_a_file_of_its_own(tmp_path: Path) -> None:
    coarse, fine, file = PRNet((32, 16, 16), 2), PRNet((32, 16, 16), 2), tmp_path / "propagation.pt"
    save_propagation(file, coarse, fine, POINTS, {"base": 2})
    net = load_propagation(file, network())
    assert torch.equal(net.fine.head[0].weight, fine.head[0].weight)
    assert torch.equal(net.coarse.head[0].weight, coarse.head[0].weight)
    assert torch.equal(net.points()["mm"], POINTS["mm"])
    with pytest.raises(ScanError, match="propagation.pt: does not fit the networks .* Give the settings"):
        load_propagation(file, network(base=4))
    save_model(tmp_path / "model.pt", net, {})
    other = load_propagation(tmp_path / "model.pt", network())
    assert torch.equal(other.fine.head[0].weight, fine.head[0].weight)
    assert other.points().keys() == POINTS.keys() and torch.equal(other.points()["mm"], POINTS["mm"])
    assert not torch.equal(other.segmenter.weight, net.segmenter.weight), "it is left as it was"
    save_model(tmp_path / "conv.pt", nn.Conv3d(1, 3, 1), {})
    with pytest.raises(
        ScanError, match="conv.pt: holds Conv3d, not what finds scribbles again. Give the propagation.pt"
    ):
        load_propagation(tmp_path / "conv.pt", network())
    with pytest.raises(ScanError, match="none.pt: no such file. Give the propagation.pt"):
        load_propagation(tmp_path / "none.pt", network())


def test_it_scripts() -> None:
    net, image = network().eval().remember(POINTS), torch.rand(1, 1, 4, 4, 4)
    torch.testing.assert_close(torch.jit.script(net)(image), net(image))
