# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Encoders by name, so that a configuration or a model file can say which one without holding code."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .compact_encoder import CompactEncoder
from .compact_encoder_3d import CompactEncoder3D
from .dilated_resnet import DilatedResNet
from .frozen_encoder import TIMM, efficientnet_lite0, timm_encoder
from .positioned_encoder import PositionedEncoder
from .pretrained import load_pretrained
from .resnext3d import ResNeXt3D

__all__ = ["ENCODERS", "SMALLEST", "TIMM", "build_encoder"]

# Name and dimensions.
ENCODERS = {
    "compact": 2,
    "resnet18": 2,
    "resnet50": 2,
    "resnet101": 2,
    "efficientnet_lite0": 2,
    "compact_3d": 3,
    "resnext101_3d": 3,
}
# Fewest pixels along a side of an image that each trains on.
SMALLEST = {name: 16 if name.startswith("resne") else 32 for name in ENCODERS}


def build_encoder(
    name: str = "compact",
    in_channels: int = 1,
    pretrained: str | None = None,
    positions: Sequence[float] = (),
    checkpointing: bool = False,
) -> nn.Module:
    """An encoder.

    Args:
        name: for slices "compact" (a U-Net of 1.9 M parameters for training from scratch) or "resnet18", "resnet50",
            "resnet101" (dilated, output stride 8), "efficientnet_lite0" (stride 4) or "timm/NAME", any backbone of timm
            with maps of strides 4, 8 and 16; for volumes "compact_3d" (2.7 M) or "resnext101_3d".
        in_channels: channels of the image, coordinates not counted.
        pretrained: path or URL of a public checkpoint for the body of a ResNet or ResNeXt; "imagenet" for the
            body of "efficientnet_lite0" (or a file) and timm's, which is frozen then. Default: random weights.
        positions: weights of the coordinate channels that follow the image's, see :class:`PositionedEncoder`.
            Default: none.
        checkpointing: less memory in training, of "resnext101_3d" alone, see :class:`ResNeXt3D`.
    """
    encoder = _encoder(name, in_channels, pretrained, checkpointing)
    return PositionedEncoder(encoder, positions) if positions else encoder


def _encoder(name: str, in_channels: int, pretrained: str | None, checkpointing: bool) -> nn.Module:
    if name not in ENCODERS and not name.startswith(TIMM):
        raise ValueError(f"encoder '{name}' is not known. Choose one of {', '.join(ENCODERS)}, or {TIMM}NAME.")
    if checkpointing and name != "resnext101_3d":
        raise ValueError(f"encoder '{name}' has no activation checkpointing. Set checkpointing to false.")
    if name in ("compact", "compact_3d"):
        if pretrained:
            other = "resnet101" if name == "compact" else "resnext101_3d"
            raise ValueError(f"the compact encoder has no pretrained weights. Leave pretrained out, or choose {other}.")
        return (CompactEncoder if name == "compact" else CompactEncoder3D)(in_channels=in_channels)
    if name == "efficientnet_lite0" or name.startswith(TIMM):
        if in_channels not in (1, 3):
            raise ValueError(f"encoder '{name}' takes images of 1 or 3 channels, not of {in_channels}.")
        if name.startswith(TIMM):
            return timm_encoder(name.removeprefix(TIMM), pretrained)
        return efficientnet_lite0(pretrained)
    if name == "resnext101_3d":
        volumes = ResNeXt3D(in_channels=in_channels, checkpointing=checkpointing)
        return load_pretrained(volumes, pretrained) if pretrained else volumes
    slices = DilatedResNet(int(name.removeprefix("resnet")), in_channels=in_channels)
    return load_pretrained(slices, pretrained) if pretrained else slices
