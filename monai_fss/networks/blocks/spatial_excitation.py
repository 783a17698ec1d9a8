# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Channel squeeze and spatial excitation: what one network's features say of where another's count."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["SpatialExcitation", "excite"]


class SpatialExcitation(nn.Module):
    """Squeeze the channels of a feature map to one weight for each of its pixels.

    q = sigmoid(w . u + b) of the features u of a pixel, one w and b for all pixels: Roy et al., "'Squeeze & excite'
    guided few-shot segmentation of volumetric images", Medical Image Analysis 59, 101587 (2020). MONAI's
    ``ChannelSELayer`` is the other kind: it squeezes space, and weighs channels.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, 1, kernel_size=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B, channels, h, w) -> weights (B, 1, h, w), between 0 and 1."""
        return torch.sigmoid(self.squeeze(features))


def excite(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Multiply every channel by the weight of its pixel.

    Args:
        features: (B, C, h, w).
        weights: (B or 1, 1, k, l); of another size than the features they are resized (bilinear).

    Returns:
        (B, C, h, w).
    """
    return features * F.interpolate(weights, size=features.shape[2:], mode="bilinear", align_corners=False)
