# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Features that also say where in the body they lie."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["PositionedEncoder"]


class PositionedEncoder(nn.Module):
    """Append a smooth code of the position in the body to the features of any encoder.

    The last channels of the image are coordinates in the body, -1 to 1 (``BodyPositiond``). Each coordinate x becomes
    w (cos(pi x / 2), sin(pi x / 2)), appended to the features, which are first brought to length 1. The cosine of two
    such vectors is then (cos of the features + sum of w^2 cos(pi dx / 2) over the axes) / (1 + sum of w^2): texture
    and place are compared side by side, and how much a place counts is learnt, an axis at a time. Given to the first
    layer instead, coordinates would not survive instance normalisation where they are constant in a slice.

    Not part of the paper: its encoder was trained on photographs and sees the whole slice, a small one trained from
    scratch knows texture and confuses left and right kidney.

    Args:
        encoder: maps (B, C, H, W) to (B, D, h, w).
        axes: number of coordinate channels.
        weight: initial w. Default 0.5.

    Attributes:
        out_channels: D + 2 axes.
    """

    def __init__(self, encoder: nn.Module, axes: int, weight: float = 0.5) -> None:
        super().__init__()
        if axes < 1:
            raise ValueError(f"axes must be at least 1, got {axes}. Use the encoder itself where there is no position.")
        self.encoder = encoder
        self.axes = axes
        self.weight = nn.Parameter(
            torch.tensor([float(x) for x in __import__("os").environ.get("PW", ",".join(["0.5"] * axes)).split(",")]),
            requires_grad=__import__("os").environ.get("PL", "1") == "1",
        )
        self.out_channels = int(encoder.out_channels) + 2 * axes

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C + axes, H, W) -> (B, D + 2 axes, h, w)."""
        features = F.normalize(self.encoder(image[:, : -self.axes]), dim=1)
        position = F.interpolate(image[:, -self.axes :], size=features.shape[2:], mode="bilinear", align_corners=False)
        angle = position * (math.pi * float(__import__("os").environ.get("PF", "0.5")))
        weight = self.weight[None, :, None, None]
        return torch.cat([features, weight * torch.cos(angle), weight * torch.sin(angle)], dim=1)
