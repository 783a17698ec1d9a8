# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Content-aware reassembly of features (CARAFE++): learnt, place by place, means over a neighbourhood."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["CarafeDownsample", "CarafeUpsample", "reassemble_down", "reassemble_up"]


def _bordered(features: torch.Tensor, size: int, stride: int) -> torch.Tensor:
    """Repeat the border so that windows of ``size``, ``stride`` apart, have ``stride // 2`` as first middle."""
    before, after = size // 2, size // 2 + stride // 2
    shift = stride // 2
    return F.pad(features, [before, after, before, after], mode="replicate")[..., shift:, shift:]


def _patches(features: torch.Tensor, size: int, stride: int) -> torch.Tensor:
    """(B, C, H, W) -> (B, C, size^2, L): the neighbourhoods of one pixel in ``stride``, row by row."""
    bordered = _bordered(features, size, stride)
    return F.unfold(bordered, size, stride=stride).reshape(features.shape[0], features.shape[1], size * size, -1)


def reassemble_down(features: torch.Tensor, kernels: torch.Tensor, factor: int) -> torch.Tensor:
    """Weighted mean of the neighbourhood of the middle of every cell of ``factor`` x ``factor`` pixels.

    Args:
        features: (B, C, H, W).
        kernels: (B, k^2, ceil(H / factor), ceil(W / factor)), k odd; its k x k weights run row by row.
        factor: stride f. The neighbourhood of output (m, n) is centred on input (f m + f // 2, f n + f // 2): from the
            first pixel on, as published, the last f - k // 2 - 1 would count nowhere.

    Returns:
        (B, C, ceil(H / factor), ceil(W / factor)). Beyond its border the map goes on with its last value (the
        published operator reads zeros), so that kernels that sum to 1 keep a constant map constant.
    """
    patches = _patches(features, _width(kernels.shape[1]), factor)
    result = torch.einsum("bckl,bkl->bcl", patches, kernels.flatten(2).to(patches.dtype))
    return result.reshape(features.shape[0], features.shape[1], kernels.shape[2], kernels.shape[3])


def reassemble_up(features: torch.Tensor, kernels: torch.Tensor, factor: int) -> torch.Tensor:
    """Every output pixel a weighted mean of the neighbourhood of the input pixel that it lies in.

    Args:
        features: (B, C, h, w).
        kernels: (B, k^2, factor h, factor w), k odd.
        factor: how many times the output is larger.

    Returns:
        (B, C, factor h, factor w). The border is that of :func:`reassemble_down`. Memory: k^2 copies of the features
        and factor^2 of the result, in proportion to the pixels.
    """
    batch, channels, height, width = features.shape
    patches = _patches(features, _width(kernels.shape[1]), 1)
    own = F.pixel_unshuffle(kernels, factor).reshape(batch, kernels.shape[1], factor * factor, height * width)
    result = torch.einsum("bckl,bkrl->bcrl", patches, own.to(patches.dtype))
    return F.pixel_shuffle(result.reshape(batch, channels * factor * factor, height, width), factor)


def _width(weights: int) -> int:
    """k of k^2."""
    return int(round(weights**0.5))


class _Kernels(nn.Module):
    """Predicts, from the content around it, a softmax kernel for every output pixel."""

    def __init__(self, channels: int, factor: int, kernel_size: int, encoder_size: int, compressed: int) -> None:
        super().__init__()
        if min(channels, factor, compressed) < 1 or kernel_size % 2 == 0 or encoder_size % 2 == 0:
            raise ValueError(
                f"channels {channels}, factor {factor} and compressed {compressed} must be positive, "
                f"kernel_size {kernel_size} and encoder_size {encoder_size} odd."
            )
        self.factor = factor
        self.encoder_size = encoder_size
        self.compress = nn.Conv2d(channels, compressed, 1)
        nn.init.xavier_uniform_(self.compress.weight)

    @staticmethod
    def _encoder(compressed: int, out: int, size: int, stride: int, padding: int) -> nn.Conv2d:
        convolution = nn.Conv2d(compressed, out, size, stride=stride, padding=padding)
        # All but equal weights at first: the reassembly starts as a mean filter.
        nn.init.normal_(convolution.weight, std=0.001)
        assert convolution.bias is not None  # for mypy
        nn.init.zeros_(convolution.bias)
        return convolution


class CarafeDownsample(_Kernels):
    """CARAFE++ downsampling (Eq. 14 of CRAPNet): Wang et al., IEEE TPAMI 44, 2022, https://arxiv.org/abs/2012.04733.

    A 1x1 convolution compresses the channels, another with a stride predicts k^2 weights for each output pixel, whose
    softmax reassembles the k x k features around it. Pure PyTorch; memory in proportion to the pixels.

    Args:
        channels: of the features.
        factor: sigma, the stride. Default 4, CRAPNet's: 32 x 32 becomes 8 x 8.
        kernel_size: k, odd. Default 5, CARAFE's; CRAPNet does not give it. Greater than the factor, so that every pixel
            counts somewhere; see :func:`reassemble_down` for where neighbourhoods lie.
        encoder_size: of the predicting convolution, odd. Default 3 = k - 2, as CARAFE recommends.
        compressed: channels that the prediction sees. Default 16, of the published downsampling.

    Raises:
        ValueError: an even kernel size, or a number that is not positive.
    """

    def __init__(
        self, channels: int, factor: int = 4, kernel_size: int = 5, encoder_size: int = 3, compressed: int = 16
    ) -> None:
        super().__init__(channels, factor, kernel_size, encoder_size, compressed)
        self.encode = self._encoder(compressed, kernel_size**2, encoder_size, factor, 0)

    def kernels(self, features: torch.Tensor) -> torch.Tensor:
        """(B, k^2, ceil(H / factor), ceil(W / factor)): positive, of sum 1 over the k^2."""
        bordered = _bordered(self.compress(features), self.encoder_size, self.factor)
        return torch.softmax(self.encode(bordered), dim=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C, ceil(H / factor), ceil(W / factor))."""
        return reassemble_down(features, self.kernels(features), self.factor)


class CarafeUpsample(_Kernels):
    """CARAFE upsampling: Wang et al., ICCV 2019, https://arxiv.org/abs/1905.02188.

    As :class:`CarafeDownsample`, with a kernel for each of the factor^2 pixels into which one is divided. CRAPNet does
    not use it; it is the other half of CARAFE++.

    Args:
        channels: of the features.
        factor: Default 2.
        kernel_size: k, odd. Default 5.
        encoder_size: of the predicting convolution, odd. Default 3.
        compressed: channels that the prediction sees. Default 64, the paper's.

    Raises:
        ValueError: an even kernel size, or a number that is not positive.
    """

    def __init__(
        self, channels: int, factor: int = 2, kernel_size: int = 5, encoder_size: int = 3, compressed: int = 64
    ) -> None:
        super().__init__(channels, factor, kernel_size, encoder_size, compressed)
        self.encode = self._encoder(compressed, kernel_size**2 * factor**2, encoder_size, 1, encoder_size // 2)

    def kernels(self, features: torch.Tensor) -> torch.Tensor:
        """(B, k^2, factor h, factor w): positive, of sum 1 over the k^2."""
        return torch.softmax(F.pixel_shuffle(self.encode(self.compress(features)), self.factor), dim=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, factor h, factor w)."""
        return reassemble_up(features, self.kernels(features), self.factor)
