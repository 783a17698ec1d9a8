# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The fully convolutional network with residual units that finds small organs, on whole scans and in their regions."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import torch
import torch.nn.functional as F
from torch import nn

from ..blocks import autocast_bfloat16, fast_bfloat16

__all__ = ["NORMS", "ResidualFCN"]

NORMS = ("group", "batch")
GROUPS = 8


class ResidualFCN(nn.Module):
    """Pre-activation residual units on the way down; on the way up scores of classes alone, scale by scale.

    An image goes through a 3 x 3 x 3 convolution to ``filters[0]`` channels and then, scale by scale, through residual
    units (norm, ReLU6, convolution, twice), of which the first of a scale has its stride: a convolution twice as wide
    as the stride beside max-pooling, with channels of zeros where there are more than before. The deepest features
    become scores by a 1 x 1 x 1 convolution. On each way up scores are interpolated linearly, and the features of that
    scale are projected to scores (1 x 1 x 1, norm) and added. A last 1 x 1 x 1 convolution mixes them. Nothing has a
    bias.

    An image may have any size: a side of n becomes ceil(n / stride), as TensorFlow's "same" has it.

    Args:
        in_channels: of the image. Default 1; a fine stage has up to 3: the image, the coarse map and the prior.
        out_channels: classes, with the background.
        filters: channels of each scale. Default (16, 32, 64, 128), 1.3 million weights, for a laptop. The authors of
            the two-stage network have (16, 64, 128, 256, 512), 53.2 million in their convolutions.
        strides: of each scale, the first of the first convolution. Default (1, 2, 2, 2); theirs are (1, 2, 2, 2, 1).
        units: residual units of each scale but the first. Default 1; theirs are 3.
        norm: "group" (default: 8 groups, or as many as divide the channels) or "batch" (theirs). Statistics of a batch
            make two processes differ from one, and small batches noisy.
        bfloat16: whether it is trained in bfloat16 on a processor. Default None: where that is fast.

    Raises:
        ValueError: filters and strides do not belong together, or something is less than it can be.

    Source: V. V. Valindria et al., Small organ segmentation in whole-body MRI using a two-stage FCN and weighting
    schemes, MLMI 2018, section 3; the network is that of N. Pawlowski et al., DLTK, arXiv:1711.06853.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        filters: Sequence[int] = (16, 32, 64, 128),
        strides: Sequence[int] = (1, 2, 2, 2),
        units: int = 1,
        norm: str = "group",
        bfloat16: bool | None = None,
    ) -> None:
        super().__init__()
        _check(filters, strides, units, norm)
        self.in_bfloat16 = fast_bfloat16() if bfloat16 is None else bfloat16
        self.first = _SameConv(in_channels, filters[0], strides[0])
        self.scales = nn.ModuleList()
        for before, after, stride in zip(filters, filters[1:], strides[1:], strict=False):
            more = [_ResidualUnit(after, after, 1, norm) for _ in range(units - 1)]
            self.scales.append(nn.Sequential(_ResidualUnit(before, after, stride, norm), *more))
        self.score = nn.Conv3d(filters[-1], out_channels, 1, bias=False)
        self.projections = nn.ModuleList(  # from the deepest scale but one to the first
            nn.Sequential(nn.Conv3d(width, out_channels, 1, bias=False), _norm(norm, out_channels))
            for width in reversed(filters[:-1])
        )
        self.last = nn.Conv3d(out_channels, out_channels, 1, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):  # variance scaling, uniform
                limit = (3 / (module.weight[0].numel())) ** 0.5
                nn.init.uniform_(module.weight, -limit, limit)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, out_channels, H, W, D) of images (B, in_channels, H, W, D)."""
        if torch.jit.is_scripting() or not (self.in_bfloat16 and self.training):
            return self._logits(image)
        with autocast_bfloat16(image.device.type):
            logits = self._logits(image)
        return logits.float()

    def _logits(self, image: torch.Tensor) -> torch.Tensor:
        features = self.first(image)
        seen = [features]
        for scale in self.scales:
            features = scale(features)
            seen.append(features)
        scores = self.score(seen.pop())
        for projection in self.projections:
            own = projection(seen.pop())
            scores = _enlarged(scores, list(own.shape[2:])) + own
        return _enlarged(self.last(scores), list(image.shape[2:]))


class _SameConv(nn.Module):
    """A convolution without bias whose output has ceil(n / stride) voxels along each axis."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.width = 3 if stride == 1 else 2 * stride
        self.conv = nn.Conv3d(before, after, self.width, stride, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        sides: list[int] = []
        for size in features.shape[2:]:
            steps = (size + self.stride - 1) // self.stride - 1
            missing = max(steps * self.stride + self.width - size, 0)
            sides = [missing // 2, missing - missing // 2] + sides  # F.pad begins with the last axis
        return self.conv(F.pad(features, sides))


class _ResidualUnit(nn.Module):
    """Norm, ReLU6 and convolution, twice, added to what came in."""

    def __init__(self, before: int, after: int, stride: int, norm: str) -> None:
        super().__init__()
        self.stride, self.more = stride, after - before
        self.norm1, self.conv1 = _norm(norm, before), _SameConv(before, after, stride)
        self.norm2, self.conv2 = _norm(norm, after), _SameConv(after, after, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        changed = self.conv1(F.relu6(self.norm1(features)))
        changed = self.conv2(F.relu6(self.norm2(changed)))
        kept = features
        if self.stride > 1:
            kept = F.max_pool3d(kept, self.stride, self.stride, ceil_mode=True)
        if self.more > 0:
            kept = F.pad(kept, [0, 0, 0, 0, 0, 0, self.more // 2, self.more - self.more // 2])
        return changed + kept


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.BatchNorm3d(channels) if kind == "batch" else nn.GroupNorm(gcd(GROUPS, channels), channels)


def _enlarged(scores: torch.Tensor, size: list[int]) -> torch.Tensor:
    if list(scores.shape[2:]) == size:
        return scores
    return F.interpolate(scores, size=size, mode="trilinear", align_corners=False)


def _check(filters: Sequence[int], strides: Sequence[int], units: int, norm: str) -> None:
    if len(filters) != len(strides) or len(filters) < 2:
        raise ValueError(f"filters={list(filters)}, strides={list(strides)}: give as many of each, two or more.")
    if min(strides) < 1 or units < 1:
        raise ValueError(f"strides={list(strides)}, units={units}: give 1 or more.")
    if any(after < before for before, after in zip(filters, filters[1:], strict=False)) or filters[0] < 1:
        raise ValueError(f"filters={list(filters)}: a scale has fewer than the one before it. Give rising numbers.")
    if norm not in NORMS:
        raise ValueError(f"norm={norm!r}: must be one of {', '.join(NORMS)}.")
