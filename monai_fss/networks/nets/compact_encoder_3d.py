# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A small 3-D U-Net for scans of thick slices that turns volumes into feature maps and trains from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.blocks import Convolution, UpSample
from monai.networks.nets.basic_unet import TwoConv
from torch import nn
from torch.nn.functional import pad

from .compact_encoder import ACT, NORM

__all__ = ["CompactEncoder3D"]


class CompactEncoder3D(nn.Module):
    """Features at half resolution in plane, and of every slice, from a 3-D U-Net of 2.7 M parameters.

    The 3-D like of :class:`CompactEncoder`: a strided convolution in place of the full-resolution level, a decoder that
    ends there, instance norm, and a 1x1x1 convolution without bias on top. Slices are three times as far apart as
    pixels in the scans that it is meant for (2.5 mm and 7 to 8 mm), so the first two steps down are taken in plane
    alone and the deeper ones across slices too, where voxels have become cubes.

    Any number of slices is accepted, and any height and width from ``min_size`` up: odd ones are padded by repeating
    their border.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the feature map, 64 by default as in 2-D.
        features: channels of the strided first convolution and of each level below it, at least two numbers.
        slice_strides: stride across slices of each step down between those levels. Default (1, 2, 2).
        act: activation, as MONAI's factory takes it.
        norm: normalisation, as MONAI's factory takes it; instance norm, for the reason given in 2-D.
        dropout: dropout probability after every convolution, 0 for none.

    Attributes:
        out_channels: channels of the feature map.
        stride: (2, 2, 1), voxels of the image for one of the feature map.
        min_size: smallest height and width of an image (32 for five ``features``).
        spatial_dims: 3.

    Raises:
        ValueError: when ``features`` has fewer than two numbers, or ``slice_strides`` is not two shorter.

    Example:
        >>> CompactEncoder3D()(torch.zeros(1, 1, 112, 112, 10)).shape
        torch.Size([1, 64, 56, 56, 10])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 64,
        features: Sequence[int] = (24, 24, 48, 96, 160),
        slice_strides: Sequence[int] = (1, 2, 2),
        act: str | tuple = ACT,
        norm: str | tuple = NORM,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(features) < 2 or len(slice_strides) != len(features) - 2:
            raise ValueError(
                f"features {tuple(features)} and slice_strides {tuple(slice_strides)}: {len(features)} levels need "
                f"{max(len(features) - 2, 0)} strides. Give two or more levels, and one stride for each after those."
            )
        self.out_channels = out_channels
        self.spatial_dims = 3
        self.stride = (2, 2, 1)
        self.min_size = 2 ** len(features)
        # Even kernels where there is a stride, for the reason given in CompactEncoder: the map is not shifted.
        self.stem = Convolution(
            3, in_channels, features[0], (2, 2, 1), kernel_size=(4, 4, 3), padding=1, act=act, norm=norm, bias=False
        )
        common: dict[str, Any] = {"act": act, "norm": norm, "bias": False, "dropout": dropout}
        levels = list(features[1:])
        self.top = TwoConv(3, features[0], levels[0], **common)
        steps = list(zip(levels[:-1], levels[1:], slice_strides, strict=True))
        self.downs = nn.ModuleList(
            nn.Sequential(nn.MaxPool3d((2, 2, stride), ceil_mode=True), TwoConv(3, upper, lower, **common))
            for upper, lower, stride in steps
        )
        self.ups = nn.ModuleList(_Up(upper, lower, stride, common) for upper, lower, stride in reversed(steps))
        self.reduce = nn.Conv3d(levels[0], out_channels, kernel_size=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the feature map.

        Args:
            x: volumes (B, in_channels, H, W, D), D slices.

        Returns:
            Features (B, out_channels, ceil(H / 2), ceil(W / 2), D).

        Raises:
            ValueError: when H or W is below ``min_size``.
        """
        height, width = x.shape[2], x.shape[3]
        if min(height, width) < self.min_size:
            raise ValueError(
                f"image: {height} x {width} pixels are fewer than the encoder's {self.min_size} x {self.min_size}. "
                "Pad or resample the image, or build the encoder with fewer features."
            )
        x = self.top(self.stem(pad(x, [0, 0, 0, width % 2, 0, height % 2], mode="replicate")))
        skips = [x]
        for down in self.downs:
            x = down(x)
            skips.append(x)
        for i, up in enumerate(self.ups):
            x = up(x, skips[-i - 2])
        return self.reduce(x)


class _Up(nn.Module):
    """MONAI's ``UpCat`` with a stride of its own across slices; what pooling rounded up is cut off."""

    def __init__(self, upper: int, lower: int, stride: int, common: dict) -> None:
        super().__init__()
        self.upsample = UpSample(3, lower, lower // 2, scale_factor=(2, 2, stride))
        self.convs = TwoConv(3, upper + lower // 2, upper, **common)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """(B, lower, ...) and (B, upper, *spatial) -> (B, upper, *spatial)."""
        x = self.upsample(x)[:, :, : skip.shape[2], : skip.shape[3], : skip.shape[4]]
        return self.convs(torch.cat([skip, x], dim=1))
