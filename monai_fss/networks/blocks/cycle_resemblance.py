# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Cycle-resemblance attention: a pixel counts by how like it is to where a walk to the other image and back ends."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from .exporting import exporting
from .precision import at_least_single, full_bmm

__all__ = ["CycleResemblanceAttention", "CycleResemblanceBlock", "cycle_resemblance"]


def cycle_resemblance(features: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Walk from every pixel to the most similar one of another map and back; compare where it ends (Eqs. 9-13).

    Similarity is the cosine both times. The paper prints the plain product (Eq. 9), in which one long vector draws
    every walk to itself; with the cosine a map walked to itself returns every pixel to itself. Of several pixels that
    are equally similar the first is taken. No gradient passes through the choice of pixels, only through the cosine.

    Args:
        features: (B, C, *spatial), N pixels.
        other: (B, C, *spatial), M pixels; the sizes may differ.

    Returns:
        cosine (B, N) of each pixel's feature and that of the pixel where its walk ends, 1 where a walk ends at its
        start; and the index (B, N) of that end. Memory: one B x N x M matrix, not kept for the gradient.
    """
    here = _unit_rows(features)
    with torch.no_grad():
        similarity = full_bmm(here, _unit_rows(other).transpose(1, 2))
        there = _argmax_over_columns(similarity)  # Eq. 11: of the other map, for each pixel here
        back = _argmax_over_rows(similarity)  # of this map, for each pixel there
        end = back.gather(1, there)  # Eq. 12
    arrived = here.gather(1, end.unsqueeze(2).expand(-1, -1, here.shape[2]))
    return (here * arrived).sum(2), end


def _unit_rows(features: torch.Tensor) -> torch.Tensor:
    """(B, C, *spatial) -> (B, N, C), rows of length 1, in single precision."""
    return F.normalize(at_least_single(features).flatten(2).transpose(1, 2).contiguous(), dim=2)


def _argmax_over_columns(matrix: torch.Tensor) -> torch.Tensor:
    """``matrix.argmax(2)`` of (B, N, M), (B, N): the block of columns with the maximum, then the column in it.

    On a CPU torch finds a maximum ten times as fast as its place, and by blocks the place is sought among few.
    """
    if exporting():
        return matrix.argmax(2)
    batch, n, m = matrix.shape
    size = math.gcd(m, 32)
    blocks = matrix.reshape(batch, n, m // size, size)
    block = blocks.amax(3).argmax(2)
    return block * size + blocks.gather(2, block[:, :, None, None].expand(-1, -1, 1, size))[:, :, 0].argmax(2)


def _argmax_over_rows(matrix: torch.Tensor) -> torch.Tensor:
    """``matrix.argmax(1)``, (B, M), likewise; torch's own would take more than half of a block's time here."""
    if exporting():
        return matrix.argmax(1)
    batch, n, m = matrix.shape
    size = math.gcd(n, 32)
    blocks = matrix.reshape(batch, n // size, size, m)
    block = blocks.amax(2).transpose(1, 2).contiguous().argmax(2)
    rows = blocks.gather(1, block[:, None, None, :].expand(-1, 1, size, -1))[:, 0]
    return block * size + rows.transpose(1, 2).contiguous().argmax(2)


class CycleResemblanceBlock(nn.Module):
    """Non-local block that updates one feature map by its cycle resemblance to another, which it leaves unchanged.

    z = x + out(w * embed(x)), w = softmax of the cycle cosines (Eqs. 1-8 and 13). Ding et al., "Few-shot medical image
    segmentation with cycle-resemblance attention", WACV 2023, https://arxiv.org/abs/2212.03967. Drop-in: any two maps
    of the same number of channels, of any sizes, in 2-D or 3-D. The paper leaves open, and here it is chosen:

    - the weights are one number for each pixel, a softmax over all pixels of the map, which multiplies the embedded
      feature (g of Eqs. 5 and 6) in every channel;
    - C(x) of Eqs. 1 and 2 is the mean weight, so that weights are 1 in the mean, and 1 everywhere where every walk
      returns to its start; without it they would shrink with the number of pixels;
    - theta and phi of Fig. 2 are one convolution for both maps, and the cosine of Eq. 13 is that of the features after
      it: two convolutions would not bring equal pixels together, and as no gradient passes through an argmax, one that
      takes no part in the cosine would never learn. It starts orthogonal, which keeps cosines best;
    - the convolution of the residual (W of Eqs. 7 and 8, whose letter the paper also gives to the weights) is another
      one and starts at zero, so that a new block changes nothing;
    - half the channels inside, as in non-local networks (Wang et al. 2018), and no batch normalisation: an episode's
      result does not depend on the others in its batch.

    Args:
        channels: of both maps.
        inner_channels: of the embeddings. Default: half of ``channels``.
        spatial_dims: 2 or 3.
    """

    def __init__(self, channels: int, inner_channels: int | None = None, spatial_dims: int = 2) -> None:
        super().__init__()
        inner = max(channels // 2, 1) if inner_channels is None else inner_channels
        if min(channels, inner) < 1 or spatial_dims not in (2, 3):
            raise ValueError(
                f"channels {channels} and inner_channels {inner} must be positive, spatial_dims {spatial_dims} 2 or 3."
            )
        convolution = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.compare = convolution(channels, inner, 1, bias=False)
        self.embed = convolution(channels, inner, 1)
        self.out = convolution(inner, channels, 1)
        nn.init.orthogonal_(self.compare.weight)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None  # for mypy
        nn.init.zeros_(self.out.bias)

    def weights(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """The weight of every pixel of ``x``, (B, 1, *spatial): positive, 1 in the mean (Eq. 13 over C)."""
        cosine, _ = cycle_resemblance(self.compare(x), self.compare(other))
        return (torch.softmax(cosine, dim=1) * cosine.shape[1]).reshape(x[:, :1].shape)

    def forward(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """Update ``x`` (B, C, *spatial) by its resemblance to ``other`` (B, C, *spatial)."""
        return x + self.out(self.weights(x, other) * self.embed(x))


class CycleResemblanceAttention(nn.Module):
    """A chain of blocks for the support and one for the query (paper, Fig. 2 and section 4.5).

    With two branches each chain updates one kind of feature while the other stays as the encoder gave it. With one
    (Fig. 4, Table 4) both are updated together: a block sees what the blocks before it made of the other. Weights are
    not shared between support and query in either, so that the two differ in what the blocks see alone.

    Args:
        channels: of the feature maps.
        blocks: number of blocks in a chain. Default 5, the paper's best (Table 3); 0 changes nothing.
        branches: 2 (default) or 1.
        query: whether the query is updated. False needs two branches, and builds no chain for it.
        inner_channels: see :class:`CycleResemblanceBlock`.

    Raises:
        ValueError: another number of branches, or one that updates the support alone.
    """

    def __init__(
        self,
        channels: int,
        blocks: int = 5,
        branches: int = 2,
        query: bool = True,
        inner_channels: int | None = None,
    ) -> None:
        super().__init__()
        if blocks < 0 or branches not in (1, 2):
            raise ValueError(f"blocks {blocks} must be at least 0 and branches {branches} 1 or 2.")
        if branches == 1 and not query:
            raise ValueError("a single branch updates support and query together. Choose branches 2.")
        self.branches = branches
        self.support_blocks = nn.ModuleList(CycleResemblanceBlock(channels, inner_channels) for _ in range(blocks))
        own = blocks if query else 0
        self.query_blocks = nn.ModuleList(CycleResemblanceBlock(channels, inner_channels) for _ in range(own))

    def forward(self, support: torch.Tensor, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, C, h, w) of support and query, pair by pair -> both, refined (z_s, z_q of Eqs. 7 and 8)."""
        z_s, z_q = support, query
        if self.branches == 1:
            for of_support, of_query in zip(self.support_blocks, self.query_blocks):  # noqa: B905 (TorchScript)
                z_s, z_q = of_support(z_s, z_q), of_query(z_q, z_s)
            return z_s, z_q
        for block in self.support_blocks:
            z_s = block(z_s, query)
        for block in self.query_blocks:
            z_q = block(z_q, support)
        return z_s, z_q
