# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ADNet: its equations by hand on encoders whose features are known, the contract, TorchScript."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from known_features import Pixels, directions, random_support

from monai_fss.networks.blocks import masked_average_pooling
from monai_fss.networks.nets.adnet import ADNet
from monai_fss.networks.nets.factory import build_encoder


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_score_and_probability_by_hand() -> None:
    """Eqs. 2 and 3."""
    net = ADNet(Pixels(), alpha=20, kappa=0.5, threshold=-10)
    angles = np.radians([[0.0, 30.0, 60.0], [90.0, 120.0, 180.0]])
    prototype = torch.tensor([[7.0, 0.0]])
    score = net.anomaly_score(directions(np.degrees(angles))[None], prototype)[0, 0]
    probability = net.probability(score)
    for y, x in np.ndindex(2, 3):
        expected = -20 * math.cos(angles[y, x])
        assert score[y, x].item() == pytest.approx(expected, abs=1e-4)
        assert probability[y, x].item() == pytest.approx(1 - sigmoid(0.5 * (expected + 10)), abs=1e-5)
    assert probability[0, 2].item() == pytest.approx(0.5, abs=1e-5)  # cos 60 degrees = 0.5: on the threshold


def test_logits_are_zero_and_logit_of_the_probability() -> None:
    net = ADNet(Pixels(), threshold=-10).eval()
    angles = np.radians([[0.0, 45.0], [60.0, 90.0]])
    support_label = torch.zeros(1, 1, 1, 2, 2)
    support_label[..., 0, 0] = 1  # the pixel at angle 0
    net.condition(directions(np.degrees(angles))[None, None], support_label)
    torch.testing.assert_close(net.prototypes, torch.tensor([[1.0, 0.0]]), rtol=0, atol=2e-5)
    logits = net(directions(np.degrees(angles))[None])
    assert logits.shape == (1, 2, 2, 2)
    assert torch.equal(logits[:, 0], torch.zeros(1, 2, 2))
    for y, x in np.ndindex(2, 2):  # logit p = -kappa (S - T), where no pixel is interpolated
        assert logits[0, 1, y, x].item() == pytest.approx(-0.5 * (-20 * math.cos(angles[y, x]) + 10), abs=1e-3)
    p = torch.softmax(logits, 1)[0, 1]
    torch.testing.assert_close(p[0, 0].item(), sigmoid(5.0), rtol=0, atol=1e-5)


def test_probabilities_are_interpolated_with_aligned_corners() -> None:
    net = ADNet(Pixels(cell=2)).eval()
    image = torch.randn(1, 2, 6, 8)
    net.prototypes = torch.tensor([[1.0, 2.0]])
    p = net.probability(net.anomaly_score(F.avg_pool2d(image, 2), net.prototypes))[0, 0].detach().numpy()
    got = torch.sigmoid(net(image)[0, 1]).detach().numpy()
    for y, x in np.ndindex(6, 8):
        v, u = y * (3 - 1) / (6 - 1), x * (4 - 1) / (8 - 1)
        i, j = min(int(v), 1), min(int(u), 2)
        a, b = v - i, u - j
        top = (1 - b) * p[i, j] + b * p[i, j + 1]
        bottom = (1 - b) * p[i + 1, j] + b * p[i + 1, j + 1]
        assert got[y, x] == pytest.approx((1 - a) * top + a * bottom, abs=2e-6)


def test_argmax_lets_ways_compete() -> None:
    net = ADNet(Pixels()).eval()
    net.prototypes = directions([[0.0, 50.0]])[:, 0].T  # ways at 0 and 50 degrees, each reaching 60 degrees
    image = directions([[-59.0, -10.0, 24.0, 26.0, 100.0, 111.0, 180.0]])[None]
    assert net(image).argmax(1)[0, 0].tolist() == [1, 1, 1, 2, 2, 0, 0]


def test_permuted_ways_permute_the_outputs() -> None:
    torch.manual_seed(0)
    net = ADNet(build_encoder("compact")).eval()
    image, label = random_support(3, 2, 1, 32)
    query = torch.randn(2, 1, 32, 32)
    order = [2, 0, 1]
    with torch.no_grad():
        one = net.condition(image, label)(query)
        two = net.condition(image[order], label[order])(query)
    torch.testing.assert_close(two[:, 1:], one[:, 1:][:, order])
    assert not torch.allclose(one[:, 1], one[:, 2])


def test_multi_way_equals_each_way_alone() -> None:
    torch.manual_seed(0)
    net = ADNet(build_encoder("compact")).eval()
    image, label = random_support(3, 1, 1, 32)
    query = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        together = net.condition(image, label)(query)
        for way in range(3):
            alone = net.condition(image[way : way + 1], label[way : way + 1])(query)
            torch.testing.assert_close(together[:, way + 1], alone[:, 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", [True, False])
def test_conditioned_network_equals_the_episode(mode: bool) -> None:
    torch.manual_seed(0)
    net = ADNet(build_encoder("compact")).train(mode)
    support_image, support_label = random_support(2, 3, 1, 32)  # two episodes of three shots
    support_label[1, 2] = 0  # padding
    query = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        episode = net(query, support_image, support_label)
        for n in range(2):
            net.condition(support_image[n : n + 1], support_label[n : n + 1])
            torch.testing.assert_close(net(query[n : n + 1]), episode["logits"][n : n + 1], rtol=1e-4, atol=1e-4)
    assert episode["logits"].shape == (2, 2, 32, 32)
    assert episode["aligned_logits"].shape == (2, 3, 2, 32, 32)
    assert episode["support_label"] is support_label
    assert episode["threshold"] is net.threshold and episode["alpha"] == 20


def test_aligned_branch_is_the_reversed_roles() -> None:
    """Eq. 5: prototype of the query's features under its predicted mask, applied to each support shot."""
    torch.manual_seed(0)
    net = ADNet(Pixels(channels=3, cell=2))
    support_image, query = torch.randn(2, 2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    support_label = (torch.rand(2, 2, 1, 8, 8) > 0.5).float()
    with torch.no_grad():
        out = net(query, support_image, support_label)
    assert out["aligned"].tolist() == [True, True]
    for n in range(2):
        features = F.avg_pool2d(query[n], 2)
        prototype = torch.stack(
            [
                masked_average_pooling(F.avg_pool2d(support_image[n, s], 2)[None], support_label[n, s][None])[0]
                for s in (0, 1)
            ]
        ).mean(0)
        selected = torch.zeros(4, 4, dtype=torch.bool)
        for y, x in np.ndindex(4, 4):
            selected[y, x] = 20 * F.cosine_similarity(features[:, y, x], prototype, dim=0) > 10
        assert 0 < selected.sum() < 16
        reverse = features[:, selected].mean(1)
        for s in range(2):
            cosine = F.cosine_similarity(F.avg_pool2d(support_image[n, s], 2), reverse[:, None, None], dim=0)
            p = torch.sigmoid(0.5 * (20 * cosine - 10))[None, None]
            p = F.interpolate(p, size=(8, 8), mode="bilinear", align_corners=True)[0, 0]
            torch.testing.assert_close(torch.sigmoid(out["aligned_logits"][n, s, 1]), p, rtol=1e-4, atol=1e-5)
            assert torch.equal(out["aligned_logits"][n, s, 0], torch.zeros(8, 8))


def test_no_gradient_flows_through_the_predicted_mask_but_through_its_features() -> None:
    torch.manual_seed(0)
    net = ADNet(Pixels(channels=3))
    query = torch.randn(1, 3, 4, 4, requires_grad=True)
    out = net(query, torch.randn(1, 1, 3, 4, 4), torch.ones(1, 1, 1, 4, 4))
    (gradient,) = torch.autograd.grad(out["aligned_logits"].sum(), query)
    outside = (torch.sigmoid(out["logits"][0, 1]) <= 0.5).expand(3, -1, -1)
    assert torch.equal(gradient[0][outside], torch.zeros(int(outside.sum())))
    assert gradient.abs().sum() > 0


def test_an_empty_predicted_mask_is_not_aligned() -> None:
    net = ADNet(Pixels())
    support_image = directions(np.zeros((4, 4)))[None, None].repeat(2, 1, 1, 1, 1)
    query = torch.stack([directions(np.zeros((4, 4))), directions(np.full((4, 4), 180.0))])  # the same, the opposite
    out = net(query, support_image, torch.ones(2, 1, 1, 4, 4))
    assert out["aligned"].tolist() == [True, False]
    assert torch.isfinite(out["aligned_logits"]).all()


def test_support_and_query_share_one_encoder_pass() -> None:
    encoder = Pixels()
    net = ADNet(encoder)
    net(torch.randn(2, 2, 4, 4), torch.randn(2, 3, 2, 4, 4), torch.ones(2, 3, 1, 4, 4))
    assert encoder.passes == 1


def test_slices_of_another_size_than_the_support() -> None:
    torch.manual_seed(0)
    net = ADNet(build_encoder("compact")).eval()
    net.condition(*random_support(2, 1, 1, 32))
    assert net(torch.randn(1, 1, 40, 51)).shape == (1, 3, 40, 51)


def test_condition_checks_the_support_and_keeps_no_graph() -> None:
    net = ADNet(build_encoder("compact"))
    image, label = random_support(2, 1, 1, 32)
    assert net.condition(image, label) is net
    assert not net.prototypes.requires_grad and net.prototypes.shape == (2, 64)
    with pytest.raises(ValueError, match="do not belong together"):
        net.condition(image[:, 0], label)
    with pytest.raises(ValueError, match=r"empty for way\(s\) \[1\] of 2"):
        net.condition(image, label * torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1, 1))


@pytest.mark.parametrize("bad", [{"alpha": 0}, {"kappa": -1}, {"ways": 0}])
def test_arguments_must_be_positive(bad: dict) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ADNet(Pixels(), **bad)


def test_state_dict_of_a_trained_network_takes_a_condition_of_more_ways() -> None:
    torch.manual_seed(0)
    net = ADNet(build_encoder("compact")).condition(*random_support(4, 1, 1, 32)).eval()
    fresh = ADNet(build_encoder("compact"), ways=1).eval()
    fresh.load_state_dict(net.state_dict(), strict=True)
    query = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(fresh(query), net(query))
    assert not any("prototypes" in name for name in net.train().state_dict())


@pytest.mark.parametrize("name", ["compact", "resnet18"])
def test_conditioned_network_scripts_and_reloads(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = ADNet(build_encoder(name)).eval()
    net.condition(*random_support(3, 2, 1, 64))
    query = torch.randn(2, 1, 64, 48)
    torch.jit.script(net).save(str(tmp_path / "net.ts"))
    scripted = torch.jit.load(str(tmp_path / "net.ts"))
    with torch.no_grad():
        expected = net(query)
        assert torch.equal(scripted(query), expected)
    assert expected.shape == (2, 4, 64, 48) and (expected[:, 1] != expected[:, 2]).any()
    with pytest.raises(Exception, match="condition it before scripting"):
        scripted(query, torch.randn(2, 1, 1, 64, 48), torch.ones(2, 1, 1, 64, 48))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("threshold", [-10.0, 2.0])
def test_half_precision_stays_finite_and_close(dtype: torch.dtype, threshold: float) -> None:
    torch.manual_seed(0)
    net = ADNet(build_encoder("compact"), threshold=threshold)
    image, label = random_support(2, 1, 1, 32)
    with torch.autocast("cpu", dtype=dtype):
        half = net(image[:, 0], image, label)
    full = net(image[:, 0], image, label)
    for name in ("logits", "aligned_logits"):
        torch.testing.assert_close(half[name], full[name], rtol=0.05, atol=0.5)
    half["logits"].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
