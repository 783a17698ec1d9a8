# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Dense comparison of query features with a prototype, and its refinement by a history mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from torch import nn

__all__ = ["DenseComparison"]


class DenseComparison(nn.Module):
    """Decoder that compares every query feature with one prototype and refines what it found before.

    The prototype is laid beside each feature and a convolution compares the two (:meth:`compare`). Three residual
    blocks, the first of which also sees the history mask, and atrous spatial pyramid pooling make logits of that
    (:meth:`forward`). Zhang et al., "CANet: Class-agnostic segmentation networks with iterative refinement and
    attentive few-shot learning", CVPR 2019, https://arxiv.org/abs/1903.02351. Numbers are the published code's; weights
    start as He et al. have it, for any number of channels (there with a deviation of 0.01, for 256).

    Args:
        in_channels: D, of the features.
        channels: of all layers. Default 256, the published code's.
        rates: dilations of the pyramid's 3 x 3 convolutions, beside one of 1 x 1 and the mean of the whole map.
            Default 6, 12, 18.
        dropout: of whole channels after every convolution but the residual blocks' and the last. Default 0.5.
    """

    def __init__(
        self, in_channels: int, channels: int = 256, rates: Sequence[int] = (6, 12, 18), dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.compared = _convolution(2 * in_channels, channels, 3, 2, dropout)
        self.residual = nn.ModuleList(_residual(channels + 2 * (not i), channels) for i in range(3))
        self.pooled = _convolution(channels, channels, 1, 1, dropout)
        scales = [(1, 1), *((3, rate) for rate in rates)]
        self.pyramid = nn.ModuleList(_convolution(channels, channels, *scale, dropout) for scale in scales)
        self.merged = _convolution((1 + len(scales)) * channels, channels, 1, 1, dropout)
        self.logits = nn.Conv2d(channels, 2, kernel_size=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def compare(self, features: torch.Tensor, prototype: torch.Tensor) -> torch.Tensor:
        """Compare features (B, D, h, w), each with its own prototype (B, D): (B, channels, h, w)."""
        tiled = prototype.unsqueeze(2).unsqueeze(3).expand(-1, -1, features.shape[2], features.shape[3])
        return self.compared(torch.cat([features, tiled], dim=1))

    def forward(self, x: torch.Tensor, history: torch.Tensor) -> torch.Tensor:
        """Logits (B, 2, h, w), background first.

        Args:
            x: (B, channels, h, w), what :meth:`compare` returns.
            history: (B, 2, h, w), probabilities found before; zeros where there are none.
        """
        for i, block in enumerate(self.residual):
            x = x + block(torch.cat([x, history], dim=1) if i == 0 else x)
        scales = [self.pooled(x.mean((2, 3), keepdim=True)).expand(-1, -1, x.shape[2], x.shape[3])]
        for scale in self.pyramid:
            scales.append(scale(x))
        return self.logits(self.merged(torch.cat(scales, dim=1)))


def _convolution(inputs: int, outputs: int, kernel: int, dilation: int, dropout: float) -> nn.Module:
    return Convolution(
        2,
        inputs,
        outputs,
        kernel_size=kernel,
        dilation=dilation,
        adn_ordering="AD",
        act="RELU",
        dropout=dropout,
        dropout_dim=2,
    )


def _residual(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, kernel_size=3, padding=1),
    )
