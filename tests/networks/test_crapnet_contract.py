# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""CRAPNet as a few-shot network: training, ways, state dicts, TorchScript, half precision."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from crapnet_scene import awake, scene, small
from known_features import Pixels
from torch import nn

from monai_fss.losses import PrototypeLoss
from monai_fss.networks.nets import CRAPNet, build_encoder


@pytest.mark.parametrize("settings", [{}, {"branches": 1}, {"refined": False}, {"blocks": 0}])
def test_every_weight_takes_part_in_every_step(settings: dict) -> None:
    net = small(**settings).train()
    image, label = scene(2, 1)
    PrototypeLoss()(net(torch.randn(2, 6, 8, 8), image, label), label[:, 0]).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []
    net.zero_grad()
    PrototypeLoss()(net(torch.randn(2, 6, 8, 8), image, label * 0), label[:, 0]).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_permuted_ways_permute_the_outputs_and_each_is_that_of_the_way_alone() -> None:
    net = small()
    image, label = scene(3, 2)
    label[1, 0] = 0
    query, order = torch.randn(2, 6, 8, 8), [2, 0, 1]
    with torch.no_grad():
        one = net.condition(image, label)(query)
        two = net.condition(image[order], label[order])(query)
        torch.testing.assert_close(two[:, 1:], one[:, 1:][:, order])
        for way in range(3):
            alone = net.condition(image[way : way + 1], label[way : way + 1])(query)
            torch.testing.assert_close(one[:, way + 1], alone[:, 1])
    assert not torch.allclose(one[:, 1], one[:, 2])


@pytest.mark.parametrize("encoder", ["pixels", "compact"])
def test_conditioned_network_equals_the_episode(encoder: str) -> None:
    torch.manual_seed(0)
    net, size, channels = small(), 8, 6
    if encoder == "compact":
        net, size, channels = awake(CRAPNet(build_encoder("compact"), blocks=1)).eval(), 32, 1
    image, label = scene(2, 2, size, channels)
    label[1, 1] = 0  # padding
    query = torch.randn(2, channels, size, size)
    with torch.no_grad():
        episode = net(query, image, label)
        for n in range(2):
            logits = net.condition(image[n : n + 1], label[n : n + 1])(query[n : n + 1])
            torch.testing.assert_close(logits, episode["logits"][n : n + 1], rtol=1e-4, atol=1e-4)
    assert episode["logits"].shape == (2, 2, size, size)
    assert episode["aligned_logits"].shape == (2, 2, 2, size, size)
    assert episode["support_label"] is label


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    encoder = Pixels(channels=4)
    encoder.mix = nn.Conv2d(1, 4, 3, padding=1)
    encoder.forward = lambda x: torch.tanh(encoder.mix(x))  # type: ignore[method-assign]
    net = CRAPNet(encoder, blocks=2, cell=2)
    label = torch.zeros(2, 1, 16, 16)
    label[:, :, 4:12, 4:12] = 1
    image = label + 0.3 * torch.randn_like(label)
    optimizer, loss, values = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9), PrototypeLoss(), []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(net(image, image[:, None], label[:, None]), label)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.7 * values[0]
    assert all(p.grad.abs().sum() > 0 for p in net.attention.parameters())


def test_position_features_go_through() -> None:
    """The position in the body changes where an organ is found, and is refined with the texture."""
    torch.manual_seed(0)
    net = awake(CRAPNet(build_encoder("compact", positions=[0.35, 0.3, 0.5]), blocks=2)).eval()
    assert net.support_features.shape[2] == 70
    image, label = scene(2, 1, 32, 4)
    query = torch.rand(1, 4, 32, 32)
    with torch.no_grad():
        logits = net.condition(image, label)(query)
        query[:, 3] -= 0.5  # across slices
        assert not torch.allclose(net(query), logits, atol=1e-2)


def test_an_unconditioned_network_gives_finite_logits() -> None:
    net = small(ways=3)
    assert net.ways == 3 and not net.is_conditioned
    assert torch.equal(net(torch.randn(2, 6, 8, 8)), torch.zeros(2, 4, 8, 8))


def test_condition_checks_the_support_and_keeps_no_graph() -> None:
    net = small()
    image, label = scene(2, 1)
    assert net.condition(image, label) is net and not net.support_features.requires_grad
    with pytest.raises(ValueError, match="do not belong together"):
        net.condition(image[:, 0], label)
    with pytest.raises(ValueError, match=r"empty for way\(s\) \[1\] of 2"):
        net.condition(image, label * torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1, 1))


def test_a_mask_of_one_pixel_is_a_support() -> None:
    net = small(cell=8)
    image, label = scene(1, 1, 64)
    label.zero_()[..., 37, 11] = 1
    net.condition(image, label)
    assert net.support_masks.sum() == pytest.approx(1 / 64)
    assert torch.isfinite(net(torch.randn(1, 6, 64, 64))).all()


@pytest.mark.parametrize("bad", [{"alpha": 0}, {"sigma": 0}, {"cell": 0}, {"ways": 0}, {"threshold": 0.4}])
def test_arguments_are_checked(bad: dict) -> None:
    with pytest.raises(ValueError, match="must be positive, threshold"):
        CRAPNet(Pixels(), **bad)


def test_state_dict_of_a_trained_network_takes_a_condition_of_more_ways_and_shots() -> None:
    net = small().condition(*scene(4, 2))
    fresh = small(ways=1)
    fresh.load_state_dict(net.state_dict(), strict=True)
    query = torch.randn(1, 6, 8, 8)
    with torch.no_grad():
        assert torch.equal(fresh(query), net(query))
    assert not any("support_" in name and "blocks" not in name for name in net.train().state_dict())


@pytest.mark.parametrize("settings", [{}, {"branches": 1}, {"refined": False}, {"blocks": 0}])
def test_conditioned_network_scripts_and_reloads(settings: dict, tmp_path: Path) -> None:
    net = small(cell=2, **settings)
    image, label = scene(3, 2, 16)
    label[2, 1] = 0
    net.condition(image, label)
    query = torch.randn(2, 6, 16, 24)
    torch.jit.script(net).save(str(tmp_path / "net.ts"))
    scripted = torch.jit.load(str(tmp_path / "net.ts"))
    with torch.no_grad():
        torch.testing.assert_close(scripted(query), net(query), rtol=0, atol=1e-5)
    with pytest.raises(Exception, match="condition it before scripting"):
        scripted(query, image[:2], label[:2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = CRAPNet(build_encoder("compact"), blocks=2)
    image, label = scene(2, 1, 32, 1)
    with torch.autocast("cpu", dtype=dtype):
        half = net(image[:, 0], image, label)
    full = net(image[:, 0], image, label)
    for name in ("logits", "aligned_logits"):
        assert torch.isfinite(half[name]).all()
    assert (half["logits"] - full["logits"]).abs().median() < 0.5
    half["logits"].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
