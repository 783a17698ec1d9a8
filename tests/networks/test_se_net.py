# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""SE-Net: squeeze and excitation in closed form, the arms by plain operations, shots."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from known_features import random_support

from monai_fss.networks.blocks import SpatialExcitation, excite
from monai_fss.networks.nets import SENet


@pytest.fixture
def net() -> SENet:
    torch.manual_seed(0)
    return SENet(2, 4, 3).eval()


def test_a_pixel_is_squeezed_to_one_weight_that_all_its_channels_have() -> None:
    """Weights 2 and -1, bias 0.5: features (1, 3) give sigmoid(-0.5), (0, 0) sigmoid(0.5)."""
    squeeze = SpatialExcitation(2)
    squeeze.squeeze.weight.data = torch.tensor([2.0, -1.0])[None, :, None, None]
    squeeze.squeeze.bias.data = torch.tensor([0.5])
    features = torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]]])[None]
    weights = squeeze(features)
    low, high = 1 / (1 + math.exp(0.5)), 1 / (1 + math.exp(-0.5))
    torch.testing.assert_close(weights, torch.tensor([[[[low, high]]]]))
    excited = excite(torch.tensor([[[4.0, 8.0]], [[-2.0, 1.0]], [[0.0, 1.0]]])[None], weights)
    torch.testing.assert_close(excited, torch.tensor([[[4 * low, 8 * high]], [[-2 * low, high]], [[0.0, high]]])[None])
    doubled = excite(torch.ones(1, 1, 1, 4), torch.tensor([[[[0.0, 1.0]]]]))  # at quarters of a pixel of the weights
    torch.testing.assert_close(doubled, torch.tensor([[[[0.0, 0.25, 0.75, 1.0]]]]))


def by_hand(net: SENet, image: torch.Tensor, support: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Foreground minus background by plain operations: image and support (1, C, H, W), label (1, 1, H, W)."""
    weights, x, pooled = [], torch.cat([support, label], 1), []
    one, two = net.conditioner, net.segmenter

    def squeezed(features: torch.Tensor) -> torch.Tensor:
        layer: Any = net.squeezes[len(weights)]
        flat = (features * layer.squeeze.weight.reshape(1, -1, 1, 1)).sum(1, keepdim=True) + layer.squeeze.bias
        weights.append(1 / (1 + torch.exp(-flat)))
        return features

    for block in one.encoders:
        full = block(x)
        x, index = F.max_pool2d(full, 2, return_indices=True)
        pooled.append((index, full.shape[2:]))
        squeezed(x)
    x = squeezed(one.bottleneck(x))
    for block in one.decoders:
        index, size = pooled.pop()
        x = squeezed(block(F.max_unpool2d(x, index, 2, output_size=list(size))))
    x, left = image, list(weights)
    for block in two.encoders:
        full = block(x)
        x, index = F.max_pool2d(full, 2, return_indices=True)
        pooled.append((index, full.shape[2:]))
        x = x * left.pop(0)
    x = two.bottleneck(x) * left.pop(0)
    for number, block in enumerate(two.decoders):
        index, size = pooled.pop()
        x = F.max_unpool2d(x, index, 2, output_size=list(size))
        x = block(torch.cat([x, full], 1) if number == 0 else x) * left.pop(0)
    logits = net.classifier(x)
    return logits[:, 1] - logits[:, 0]


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (45, 38)])
def test_the_arms_by_plain_operations(net: SENet, size: tuple[int, int]) -> None:
    image, support = torch.randn(1, 2, *size), torch.randn(1, 2, *size)
    label = (torch.rand(1, 1, *size) > 0.5).float()
    wanted = by_hand(net, image, support, label)
    net.condition(support[None], label[None])
    found = net(image)
    assert not found[:, 0].any()
    torch.testing.assert_close(found[:, 1], wanted, rtol=1e-4, atol=1e-5)
    episode = net.episode(image, support[None], label[None])["logits"]
    torch.testing.assert_close(episode, found, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_weights_of_one_change_nothing_and_of_zero_leave_the_classifiers_bias(net: SENet) -> None:
    image, label = random_support(1, 1, 2, 32)
    net.condition(image, label)
    for name in net.condition_names[1:]:
        getattr(net, name).fill_(1)
    plain = net.classifier(net.segmenter(image[0], [])[-1])
    torch.testing.assert_close(net(image[0])[:, 1], plain[:, 1] - plain[:, 0])
    net.weights8.zero_()
    bias = float(net.classifier.bias[1] - net.classifier.bias[0])
    torch.testing.assert_close(net(image[0])[:, 1], torch.full((1, 32, 32), bias))


@torch.no_grad()
def test_several_shots_are_averaged(net: SENet) -> None:
    image, label = random_support(1, 3, 2, 32)
    label[:, 2] = 0
    query = torch.randn(2, 2, 32, 32)
    together = net.condition(image, label)(query)[:, 1]
    each = [net.condition(image[:, [n]], label[:, [n]])(query)[:, 1] for n in (0, 1)]
    torch.testing.assert_close(together, torch.stack(each).mean(0), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(each[0], each[1])


def test_the_conditioner_learns_by_the_query(net: SENet) -> None:
    image, label = random_support(2, 1, 2, 32)
    net.train().episode(image[:, 0], image, label)["logits"].square().mean().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in net.conditioner.parameters())


@pytest.mark.parametrize("bad", [{"in_channels": 0}, {"segmenter_channels": 0}, {"conditioner_channels": 0}])
def test_channels_are_at_least_one(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="channels must be at least 1"):
        SENet(**bad)


def test_bfloat16_is_for_training_alone(net: SENet) -> None:
    """Some maxima move to a neighbour by rounding, so single pixels may differ by more than the rounding."""
    images, (support, label) = torch.rand(2, 2, 96, 96), random_support(2, 1, 2, 96)
    net.in_bfloat16 = False
    exact = net.train().episode(images, support, label)["logits"]
    net.in_bfloat16 = True
    fast = net.episode(images, support, label)["logits"]
    assert fast.dtype == torch.float32
    assert not torch.equal(fast, exact)
    assert torch.corrcoef(torch.stack([fast[:, 1].flatten(), exact[:, 1].flatten()]))[0, 1] > 0.95
    torch.testing.assert_close(net.eval().episode(images, support, label)["logits"], exact)
