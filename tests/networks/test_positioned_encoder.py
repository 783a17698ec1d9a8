# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Tests of the encoder that knows where in the body it looks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from monai_fss.networks.blocks import cosine_similarity
from monai_fss.networks.nets import ADNet, CompactEncoder, DilatedResNet, PositionedEncoder, build_encoder


class Identity(nn.Module):
    """Passes the image on as its features."""

    out_channels = 2

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 2, H, W) -> the same."""
        return image


def test_the_cosine_is_the_weighted_mean_of_texture_and_place() -> None:
    weights = [0.5, 0.3]
    encoder = PositionedEncoder(Identity(), weights)
    torch.manual_seed(0)
    image = torch.cat([torch.rand(1, 2, 1, 2) + 0.1, torch.rand(1, 2, 1, 2) * 2 - 1], dim=1)
    features = encoder(image)
    a, b = features[0, :, 0, 0], features[0, :, 0, 1]
    texture = float(torch.cosine_similarity(image[0, :2, 0, 0], image[0, :2, 0, 1], dim=0))
    apart = (image[0, 2:, 0, 0] - image[0, 2:, 0, 1]).tolist()
    place = sum(w**2 * math.cos(math.pi / 2 * d) for w, d in zip(weights, apart, strict=True))
    expected = (texture + place) / (1 + sum(w**2 for w in weights))
    assert float(torch.cosine_similarity(a, b, dim=0)) == pytest.approx(expected, abs=1e-6)


def test_places_apart_are_less_alike_than_places_together() -> None:
    encoder = PositionedEncoder(Identity(), [1.0])
    place = torch.linspace(-1, 1, 9)
    image = torch.stack([torch.ones(9), torch.ones(9), place])[None, :, None]
    features = encoder(image)
    similarity = cosine_similarity(features, features[0, :, 0, 0][None])[0, 0, 0]
    assert (similarity[1:] < similarity[:-1]).all()
    assert similarity[0] == pytest.approx(1, abs=1e-6)
    assert similarity[-1] == pytest.approx(0, abs=1e-6)  # texture 1, place cos(pi) = -1, equal weights


def test_weights_are_fixed_and_kept_with_the_model() -> None:
    encoder = PositionedEncoder(CompactEncoder(), [0.5, 0.4, 0.3])
    assert encoder.out_channels == 64 + 6
    assert "weight" in encoder.state_dict()
    assert "weight" not in dict(encoder.named_parameters())
    assert encoder(torch.rand(2, 4, 64, 48)).shape == (2, 70, 32, 24)


@pytest.mark.parametrize("weights", [[], [0.5, 0.0], [-1.0]])
def test_weights_must_be_positive(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights must be positive"):
        PositionedEncoder(Identity(), weights)


def test_scripted_with_a_condition() -> None:
    network = ADNet(build_encoder("compact", positions=[0.5, 0.5])).eval()
    label = torch.zeros(2, 1, 1, 32, 32)
    label[..., 8:20, 8:20] = 1
    network.condition(torch.rand(2, 1, 3, 32, 32), label)
    image = torch.rand(2, 3, 32, 32)
    assert torch.equal(torch.jit.script(network)(image), network(image))


def test_factory_builds_by_name() -> None:
    assert isinstance(build_encoder(), CompactEncoder)
    resnet = build_encoder("resnet18", in_channels=1)
    assert isinstance(resnet, DilatedResNet)
    assert resnet.conv1.weight.shape[1] == 1
    assert isinstance(build_encoder("compact", positions=[1.0]), PositionedEncoder)
    with pytest.raises(ValueError, match="encoder 'vgg' is not known. Choose one of compact, resnet18"):
        build_encoder("vgg")
    with pytest.raises(ValueError, match="compact encoder has no pretrained weights"):
        build_encoder("compact", pretrained="file.pth")
