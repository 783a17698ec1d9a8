# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ADNet's loss against a plain loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from monai_fss.losses.adnet import ADNetLoss, episode_cross_entropy


def prediction(batch: int = 3, shots: int = 2, aligned: tuple[bool, ...] = (True, True, True)) -> dict[str, Any]:
    torch.manual_seed(0)
    size = (5, 6)
    return {
        "logits": torch.randn(batch, 2, *size),
        "aligned_logits": torch.randn(batch, shots, 2, *size),
        "support_label": (torch.rand(batch, shots, 1, *size) > 0.5).float(),
        "aligned": torch.tensor(aligned[:batch]),
        "threshold": torch.nn.Parameter(torch.tensor(-10.0)),
        "alpha": 20.0,
    }


def query_label(batch: int = 3) -> torch.Tensor:
    torch.manual_seed(1)
    return (torch.rand(batch, 1, 5, 6) > 0.7).float()


def cross_entropy(logits: np.ndarray, label: np.ndarray, weights: tuple[float, float]) -> float:
    """Weighted mean of -log p over the pixels of one episode: logits (2, H, W), label (H, W)."""
    total = norm = 0.0
    for y, x in np.ndindex(label.shape):
        k = int(label[y, x])
        p = math.exp(logits[k, y, x]) / (math.exp(logits[0, y, x]) + math.exp(logits[1, y, x]))
        total += weights[k] * -math.log(p)
        norm += weights[k]
    return total / norm


def by_hand(pred: dict[str, Any], label: torch.Tensor, weights: tuple[float, float] = (0.1, 1.0)) -> float:
    losses = []
    for n in range(len(label)):
        segmentation = cross_entropy(pred["logits"][n].numpy(), label[n, 0].numpy(), weights)
        shots = [
            cross_entropy(pred["aligned_logits"][n, s].numpy(), pred["support_label"][n, s, 0].numpy(), (1.0, 1.0))
            for s in range(pred["aligned_logits"].shape[1])
        ]
        losses.append(segmentation + float(pred["aligned"][n]) * sum(shots) / len(shots))
    return sum(losses) / len(losses) + pred["threshold"].item() / pred["alpha"]


@pytest.mark.parametrize("aligned", [(True, True, True), (True, False, True), (False, False, False)])
def test_equals_a_plain_loop(aligned: tuple[bool, ...]) -> None:
    pred, label = prediction(aligned=aligned), query_label()
    assert ADNetLoss()(pred, label).item() == pytest.approx(by_hand(pred, label), abs=1e-5)


def test_other_class_weights() -> None:
    pred, label = prediction(), query_label()
    loss = ADNetLoss(foreground_weight=3.0, background_weight=0.5)
    assert loss(pred, label).item() == pytest.approx(by_hand(pred, label, (0.5, 3.0)), abs=1e-5)


def test_the_weighted_mean_is_of_each_episode_by_itself() -> None:
    logits = torch.zeros(2, 2, 1, 4)
    logits[:, 1] = torch.tensor([0.0, 2.0, -1.0, 0.5])
    label = torch.tensor([[[[1.0, 1.0, 1.0, 0.0]]], [[[0.0, 0.0, 0.0, 1.0]]]])
    got = episode_cross_entropy(logits, label, torch.tensor([0.1, 1.0]))
    minus_log_p = [[math.log1p(math.exp(-z)) for z in (0.0, 2.0, -1.0)] + [math.log1p(math.exp(0.5))]]
    minus_log_p += [[math.log1p(math.exp(z)) for z in (0.0, 2.0, -1.0)] + [math.log1p(math.exp(-0.5))]]
    first = (sum(minus_log_p[0][:3]) + 0.1 * minus_log_p[0][3]) / 3.1
    second = (0.1 * sum(minus_log_p[1][:3]) + minus_log_p[1][3]) / 1.3
    torch.testing.assert_close(got, torch.tensor([first, second]))
    torch.testing.assert_close(episode_cross_entropy(logits, label), torch.tensor(minus_log_p).mean(1))


def test_a_batch_is_the_mean_of_its_episodes() -> None:
    pred, label = prediction(aligned=(True, False, True)), query_label()
    single = []
    for n in range(3):
        part = {k: v[n : n + 1] if torch.is_tensor(v) and v.dim() else v for k, v in pred.items()}
        single.append(ADNetLoss()(part, label[n : n + 1]))
    torch.testing.assert_close(ADNetLoss()(pred, label), torch.stack(single).mean())


def test_an_episode_that_is_not_aligned_adds_nothing_and_gets_no_gradient() -> None:
    pred, label = prediction(aligned=(True, False, True)), query_label()
    pred["aligned_logits"].requires_grad_()
    ADNetLoss()(pred, label).backward()
    gradient = pred["aligned_logits"].grad
    assert torch.equal(gradient[1], torch.zeros_like(gradient[1]))
    assert (gradient[[0, 2]].flatten(1).abs().sum(1) > 0).all()


def test_the_weights_of_the_terms() -> None:
    pred, label = prediction(), query_label()
    segmentation = ADNetLoss(align=0, compact=0)(pred, label).item()
    align = ADNetLoss(align=1, compact=0)(pred, label).item() - segmentation
    assert ADNetLoss(align=0, compact=2)(pred, label).item() == pytest.approx(segmentation + 2 * -10 / 20, abs=1e-5)
    assert ADNetLoss(align=3, compact=0)(pred, label).item() == pytest.approx(segmentation + 3 * align, abs=1e-5)


def test_gradient_to_the_threshold() -> None:
    pred, label = prediction(), query_label()
    ADNetLoss(compact=3)(pred, label).backward()
    assert pred["threshold"].grad.item() == pytest.approx(3 / 20)


def test_training_lowers_the_loss_and_moves_the_threshold() -> None:
    from monai_fss.networks.nets.adnet import ADNet
    from monai_fss.networks.nets.compact_encoder import CompactEncoder

    torch.manual_seed(0)
    net = ADNet(CompactEncoder(features=(4, 4, 8), out_channels=8))
    label = torch.zeros(2, 1, 16, 16)
    label[:, :, 4:12, 4:12] = 1
    image = label + 0.1 * torch.randn_like(label)
    optimizer, loss = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), ADNetLoss()
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(net(image, image[:, None], label[:, None]), label)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0] - 0.3
    assert net.threshold.item() != -10
    assert (torch.sigmoid(net(image, image[:, None], label[:, None])["logits"][:, 1]) > 0.5).eq(
        label[:, 0] > 0
    ).float().mean() > 0.9


@pytest.mark.parametrize("bad", [{"foreground_weight": 0}, {"background_weight": -1}, {"align": -0.1}, {"compact": -1}])
def test_weights_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="class weights must be positive and loss weights at least 0, got foreground"):
        ADNetLoss(**bad)
