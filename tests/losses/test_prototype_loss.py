# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The loss of PANet and ALPNet: by hand on a tiny example, episode by episode."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from monai_fss.losses import PrototypeLoss
from monai_fss.networks.nets import ALPNet, CompactEncoder, PANet


def log1pexp(x: float) -> float:
    """-log softmax of a class whose logit is x below the other's."""
    return math.log1p(math.exp(x))


def logits(*values: float) -> torch.Tensor:
    """(2, 1, n) with background 0."""
    foreground = torch.tensor([[*values]])
    return torch.stack([torch.zeros_like(foreground), foreground])


def tiny() -> tuple[dict[str, Any], torch.Tensor]:
    """One episode of two pixels and two shots."""
    prediction = {
        "logits": logits(2.0, 1.0)[None],
        "aligned_logits": torch.stack([logits(3.0, -1.0), logits(0.5, 0.0)])[None],
        "support_label": torch.tensor([[[[[1.0, 0.0]]], [[[0.0, 1.0]]]]]),
        "aligned": torch.tensor([True]),
    }
    return prediction, torch.tensor([[[[1.0, 0.0]]]])


def test_by_hand() -> None:
    prediction, label = tiny()
    segmentation = (1.0 * log1pexp(-2.0) + 0.05 * log1pexp(1.0)) / 1.05
    shots = [(log1pexp(-3.0) + log1pexp(-1.0)) / 2, (log1pexp(0.5) + log1pexp(0.0)) / 2]
    alignment = sum(shots) / 2
    assert PrototypeLoss()(prediction, label).item() == pytest.approx(segmentation + alignment, abs=1e-6)
    assert PrototypeLoss(align=0)(prediction, label).item() == pytest.approx(segmentation, abs=1e-6)
    assert PrototypeLoss(align=3)(prediction, label).item() == pytest.approx(segmentation + 3 * alignment, abs=1e-6)
    other = PrototypeLoss(foreground_weight=2.0, background_weight=0.5, align=0)(prediction, label).item()
    assert other == pytest.approx((2 * log1pexp(-2.0) + 0.5 * log1pexp(1.0)) / 2.5, abs=1e-6)


def test_an_episode_without_prediction_and_a_shot_without_mask_are_not_aligned() -> None:
    prediction, label = tiny()
    segmentation = PrototypeLoss(align=0)(prediction, label).item()
    padded = {**prediction, "support_label": prediction["support_label"].clone()}
    padded["support_label"][:, 1] = 0
    first = (log1pexp(-3.0) + log1pexp(-1.0)) / 2
    assert PrototypeLoss()(padded, label).item() == pytest.approx(segmentation + first, abs=1e-6)
    empty = {**prediction, "aligned": torch.tensor([False])}
    assert PrototypeLoss()(empty, label).item() == pytest.approx(segmentation, abs=1e-6)


def test_a_batch_is_the_mean_of_its_episodes() -> None:
    torch.manual_seed(0)
    prediction = {
        "logits": torch.randn(3, 2, 5, 6),
        "aligned_logits": torch.randn(3, 2, 2, 5, 6),
        "support_label": (torch.rand(3, 2, 1, 5, 6) > 0.5).float(),
        "aligned": torch.tensor([True, False, True]),
    }
    prediction["support_label"][0, 1] = 0
    label = (torch.rand(3, 1, 5, 6) > 0.8).float()
    loss = PrototypeLoss()
    single = [loss({k: v[n : n + 1] for k, v in prediction.items()}, label[n : n + 1]) for n in range(3)]
    torch.testing.assert_close(loss(prediction, label), torch.stack(single).mean())


@pytest.mark.parametrize("cls", [PANet, ALPNet])
def test_training_lowers_the_loss_and_finds_the_square(cls: type[PANet]) -> None:
    torch.manual_seed(0)
    net = cls(CompactEncoder(features=(4, 4, 8), out_channels=8))
    label = torch.zeros(2, 1, 16, 16)
    label[:, :, 4:12, 4:12] = 1
    image = label + 0.1 * torch.randn_like(label)
    optimizer, loss = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), PrototypeLoss()
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(net(image, image[:, None], label[:, None]), label)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0] - 0.3
    found = net(image, image[:, None], label[:, None])["logits"][:, 1] > 0
    assert found.eq(label[:, 0] > 0).float().mean() > 0.9


@pytest.mark.parametrize("bad", [{"foreground_weight": 0}, {"background_weight": -1}, {"align": -0.1}])
def test_weights_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="class weights must be positive|weight of alignment must be at least 0"):
        PrototypeLoss(**bad)
