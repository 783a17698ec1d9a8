# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Features that also say where in the body they lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import nn

from monai_fss.networks.blocks import at_least_single

__all__ = ["PositionedEncoder"]


class PositionedEncoder(nn.Module):
    """Append a smooth code of the position in the body to the features of any encoder.

    The last channels of the image are coordinates in the body, -1 to 1 (``BodyPositiond``). Each coordinate x becomes
    w (cos(pi x / 2), sin(pi x / 2)), appended to the features, which are first brought to length 1. The cosine of two
    such vectors is then (cosine of the features + sum of w^2 cos(pi dx / 2) over the axes) / (1 + sum of w^2): texture
    and place are compared side by side.

    Not part of the papers, whose encoders were trained on photographs; meant for a small encoder trained from scratch,
    which confuses left and right kidney. The weights are fixed: support and query of a training episode lie side by
    side and say nothing of how far an organ of another patient may be. Learnt, in the one training tried, the weight
    across slices went to 0. The comparisons, each of one seed, are in the docs of the ADNet bundle.

    Args:
        encoder: maps (B, C, *spatial) to (B, D, *smaller), in two or three dimensions.
        weights: w of each coordinate channel.

    Attributes:
        out_channels: D + 2 len(weights).
        spatial_dims: the encoder's.
    """

    if TYPE_CHECKING:  # TorchScript reads annotations that are there when a module is scripted, and not as text
        weight: torch.Tensor

    def __init__(self, encoder: nn.Module, weights: Sequence[float]) -> None:
        super().__init__()
        if not weights or min(weights) <= 0:
            raise ValueError(f"weights must be positive, one for each coordinate, got {list(weights)}.")
        self.encoder = encoder
        self.axes = len(weights)
        self.spatial_dims = int(getattr(encoder, "spatial_dims", 2))
        self.register_buffer("weight", torch.tensor([float(w) for w in weights]))
        self.out_channels = cast(int, encoder.out_channels) + 2 * self.axes

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C + len(weights), *spatial) -> (B, D + 2 len(weights), *smaller)."""
        # In single precision: in half the bound of the norm would be 0, and a vector of zeros not a number.
        features = F.normalize(at_least_single(self.encoder(image[:, : -self.axes])), dim=1)
        mode = "bilinear" if features.dim() == 4 else "trilinear"
        position = F.interpolate(image[:, -self.axes :], size=features.shape[2:], mode=mode, align_corners=False)
        angle = position * (math.pi / 2)
        weight = self.weight.reshape([1, self.axes] + [1] * (features.dim() - 2))
        return torch.cat([features, weight * torch.cos(angle), weight * torch.sin(angle)], dim=1)
