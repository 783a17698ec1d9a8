# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Encoders by name, so that a configuration or a model file can say which one without holding code."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .compact_encoder import CompactEncoder
from .dilated_resnet import DilatedResNet
from .positioned_encoder import PositionedEncoder
from .pretrained import load_pretrained

__all__ = ["ENCODERS", "build_encoder"]

ENCODERS = {"compact": None, "resnet18": 18, "resnet50": 50, "resnet101": 101}


def build_encoder(
    name: str = "compact", in_channels: int = 1, pretrained: str | None = None, positions: Sequence[float] = ()
) -> nn.Module:
    """An encoder.

    Args:
        name: "compact" (a U-Net of 1.9 M parameters for training from scratch) or "resnet18", "resnet50",
            "resnet101" (dilated, output stride 8).
        in_channels: channels of the image, coordinates not counted.
        pretrained: path or URL of a torchvision checkpoint for the body of a ResNet. Default: random weights.
        positions: weights of the coordinate channels that follow the image's, see :class:`PositionedEncoder`.
            Default: none.
    """
    encoder = _encoder(name, in_channels, pretrained)
    return PositionedEncoder(encoder, positions) if positions else encoder


def _encoder(name: str, in_channels: int, pretrained: str | None) -> nn.Module:
    if name not in ENCODERS:
        raise ValueError(f"encoder '{name}' is not known. Choose one of {', '.join(ENCODERS)}.")
    depth = ENCODERS[name]
    if depth is None:
        if pretrained:
            raise ValueError(
                "the compact encoder has no pretrained weights. Leave pretrained out, or choose resnet101."
            )
        return CompactEncoder(in_channels=in_channels)
    encoder = DilatedResNet(depth, in_channels=in_channels)
    if pretrained:
        load_pretrained(encoder, pretrained)
    return encoder
