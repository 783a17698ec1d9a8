# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""CANet: what its decoder is given, the history mask and its dropout, and that the network learns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from known_features import Pixels, random_support
from torch import nn

from monai_fss.losses import SegmentationLoss
from monai_fss.networks.blocks import DenseComparison, support_prototypes
from monai_fss.networks.nets import CANet, build_encoder


class Recorded(nn.Module):
    """A decoder that keeps what it is given; its foreground logit rises by ``step`` with every pass that it sees."""

    def __init__(self, step: float = 1.0) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.tensor(step))
        self.features: list[torch.Tensor] = []
        self.prototypes: list[torch.Tensor] = []
        self.histories: list[torch.Tensor] = []

    def compare(self, features: torch.Tensor, prototype: torch.Tensor) -> torch.Tensor:
        self.features.append(features)
        self.prototypes.append(prototype)
        return features[:, :1]

    def forward(self, x: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
        self.histories.append(history)
        known = history.sum(1, keepdim=True)  # 1 where there is a history
        before = torch.where(known > 0, torch.logit(history[:, 1:].clamp(1e-6, 1 - 1e-6)), 0.0)
        return torch.cat([torch.zeros_like(before), before + self.step], dim=1)


def recorded(step: float = 1.0, **settings: float) -> tuple[CANet, Recorded]:
    net = CANet(Pixels(), channels=4, **settings)  # type: ignore[arg-type]
    decoder = Recorded(step)
    net.decoder = decoder  # type: ignore[assignment]
    return net, decoder


def scene(batch: int, size: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    label = torch.zeros(batch, 1, 1, size, size)
    label[..., 2:6, 1:5] = 1
    return torch.randn(batch, 2, size, size), torch.randn(batch, 1, 2, size, size), label


def test_the_comparison_is_a_convolution_of_the_feature_beside_the_tiled_prototype() -> None:
    torch.manual_seed(0)
    block = DenseComparison(3, channels=5).eval()
    features, prototype = torch.randn(2, 3, 7, 9), torch.randn(2, 3)
    conv = block.compared.conv  # type: ignore[union-attr]
    padded = F.pad(features, (2, 2, 2, 2))
    found = block.compare(features, prototype)
    for y, x in ((0, 0), (3, 4), (6, 8)):
        total = conv.bias.clone().expand(2, -1)
        for i in range(3):
            for j in range(3):
                inside = 0 <= y + 2 * i - 2 < 7 and 0 <= x + 2 * j - 2 < 9
                pair = torch.cat([padded[:, :, y + 2 * i, x + 2 * j], prototype * inside], dim=1)
                total = total + pair @ conv.weight[:, :, i, j].T
        torch.testing.assert_close(found[:, :, y, x], total.relu(), rtol=1e-4, atol=1e-5)


def test_the_first_residual_block_sees_the_history_and_all_branches_take_part() -> None:
    torch.manual_seed(0)
    block = DenseComparison(3, channels=4, rates=(2, 3)).eval()
    x, history = torch.randn(1, 4, 6, 6), torch.rand(1, 2, 6, 6)
    assert not torch.allclose(block(x, history), block(x, torch.zeros_like(history)))
    assert [p[0].dilation for p in block.pyramid] == [(1, 1), (2, 2), (3, 3)]  # type: ignore[index, union-attr]
    shifted = x.clone()
    shifted[..., 5, 5] += 100  # far from the other corner: the mean of the whole map carries it there
    assert not torch.allclose(block(shifted, history)[..., 0, 0], block(x, history)[..., 0, 0])
    block(x, history).sum().backward()
    assert all(p.grad is not None for name, p in block.named_parameters() if not name.startswith("compared"))


def test_each_pass_in_use_sees_the_probabilities_of_the_one_before() -> None:
    net, decoder = recorded(passes=4)
    image, support_image, label = scene(3)
    logits = net.eval().condition(support_image[:1], label[:1])(image)
    torch.testing.assert_close(logits[:, 1], torch.full((3, 8, 8), 4.0), rtol=0, atol=1e-4)
    assert torch.equal(logits[:, 0], torch.zeros(3, 8, 8))
    first, *later = decoder.histories
    assert not first.any() and len(later) == 3
    for n, history in enumerate(later, start=1):
        torch.testing.assert_close(history[:, 1], torch.sigmoid(torch.full((3, 8, 8), float(n))))
        torch.testing.assert_close(history.sum(1), torch.ones(3, 8, 8))
    expected = support_prototypes(support_image[:1], label[:1])
    torch.testing.assert_close(decoder.prototypes[0], expected.expand(3, -1))
    assert torch.equal(decoder.features[0], image)


def test_one_pass_refines_nothing() -> None:
    net, decoder = recorded(passes=1)
    image, support_image, label = scene(1)
    net.eval().condition(support_image, label)(image)
    assert len(decoder.histories) == 1 and not decoder.histories[0].any()


def test_the_history_of_a_training_is_dropped_with_its_probability() -> None:
    """Episode by episode: 0.7 of 2,000, within four standard deviations; what is kept is its own first pass."""
    net, decoder = recorded(history_dropout=0.7)
    episodes = 2000
    label = torch.ones(episodes, 1, 1, 1, 1)
    torch.manual_seed(0)
    net.train()(torch.randn(episodes, 2, 1, 1), torch.randn(episodes, 1, 2, 1, 1), label)
    first, history = (h[:, :, 0, 0] for h in decoder.histories)
    assert not first.any()
    dropped = (history == 0).all(1)
    assert abs(dropped.float().mean().item() - 0.7) < 4 * (0.7 * 0.3 / episodes) ** 0.5
    kept = history[~dropped]
    torch.testing.assert_close(kept[:, 1], torch.sigmoid(torch.ones(len(kept))))


@pytest.mark.parametrize(("probability", "passes"), [(1.0, 1), (0.0, 2)])
def test_dropped_always_or_never(probability: float, passes: int) -> None:
    net, decoder = recorded(history_dropout=probability)
    net.train()(*scene(4))
    assert len(decoder.histories) == passes
    assert bool((decoder.histories[-1].sum(1) > 0).all()) is (probability == 0)


def test_the_history_carries_no_gradient() -> None:
    net, decoder = recorded(history_dropout=0.0)
    net.train()(*scene(2))["logits"][:, 1].mean().backward()
    assert decoder.step.grad == pytest.approx(1.0), "2 if the first pass learnt as well"


def test_every_weight_takes_part_in_every_step() -> None:
    net = CANet(build_encoder("compact"), channels=8).train()
    image, label = random_support(2, 1, 1, 32)
    for mask in (label, label * 0):
        for probability in (0.0, 1.0):
            net.history_dropout = probability
            net.zero_grad()
            SegmentationLoss()(net(image[:, 0], image, mask), mask[:, 0]).backward()
            idle = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
            assert idle == []


def test_training_lowers_the_loss_and_finds_the_class_that_the_support_shows() -> None:
    """Which of two channels is the class is told by the support alone."""
    torch.manual_seed(0)
    net = CANet(Pixels(), channels=8, passes=2, dropout=0.0)
    optimizer, loss, values = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9), SegmentationLoss(), []
    where = torch.zeros(4, 2, 12, 12)
    where[:, 0, 1:6, 1:6], where[:, 1, 6:11, 6:11] = 1, 1
    chosen = where[torch.arange(4), torch.tensor([0, 1, 0, 1])][:, None]
    for _ in range(40):
        optimizer.zero_grad()
        image, support = (where + 0.1 * torch.randn_like(where) for _ in range(2))
        value = loss(net(image, support[:, None], chosen[:, None]), chosen)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.3 * values[0]
    with torch.no_grad():
        logits = net.eval().condition(where[:2, None], chosen[:2, None])(where[:1])
    assert ((logits[0, 1:] > 0).float() * chosen[:2, 0]).sum() > 0.8 * chosen[:2].sum()
    assert ((logits[0, 1:] > 0).float() * chosen[:2, 0].flip(0)).sum() < 0.2 * chosen[:2].sum()


def test_conditioned_network_equals_the_episode() -> None:
    torch.manual_seed(0)
    net = CANet(build_encoder("compact"), channels=8, passes=2).eval()
    support_image, support_label = random_support(2, 2, 1, 32)
    support_label[1, 1] = 0  # padding
    query = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        episode = net(query, support_image, support_label)
        for n in range(2):
            net.condition(support_image[n : n + 1], support_label[n : n + 1])
            torch.testing.assert_close(net(query[n : n + 1]), episode["logits"][n : n + 1], rtol=1e-4, atol=1e-4)


def test_half_precision_stays_finite() -> None:
    torch.manual_seed(0)
    net = CANet(build_encoder("compact"), channels=8)
    image, label = random_support(2, 1, 1, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(image[:, 0], image, label)["logits"]
    assert torch.isfinite(logits).all()
    logits.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("bad", [{"channels": 0}, {"passes": 0}, {"history_dropout": 1.1}, {"dropout": 1.0}])
def test_arguments_are_checked(bad: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        CANet(Pixels(), **bad)
