# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""OrganNet's reasoning: every target voxel looks around in the anchor and takes over what it finds there."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

__all__ = ["PyramidReasoning", "neighbourhood_attention", "neighbourhood_weights"]

CUBE = 4
"""Edge of the cubes of target voxels that look around together. With 7 x 7 x 7 neighbours they see 10 x 10 x 10 anchor
voxels, three times as many as each of them wants; larger cubes waste more, smaller ones copy more."""
AT_ONCE = 1 << 23
"""Pairs of target and anchor voxel at once: 34 MB of similarities."""


def neighbourhood_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, size: int, at_once: int = AT_ONCE, cube: int = CUBE
) -> torch.Tensor:
    """Mean of the values around each voxel, weighted by the softmax of the inner products of query and key.

    OrganNet's Eqs. 1 to 5: exact, as im2col would compute it, but of some cubes of voxels at a time, whose
    neighbourhoods are multiplied as matrices. Memory grows with neither the neighbourhood nor the volume: where
    gradients are wanted, weights are computed anew for them.

    Args:
        query: (B, M, H, W, D).
        key: (B, M, H, W, D).
        value: (B, V, H, W, D).
        size: edge of the neighbourhood in voxels, odd. Beyond the border keys and values are 0, and count: a voxel
            at the border has as many neighbours as every other one.
        at_once: pairs of voxels that are compared at once.
        cube: edge of the cubes.

    Returns:
        (B, V, H, W, D).

    Raises:
        ValueError: the size is even or less than 1.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"the neighbourhood has a middle, so its edge is odd: got {size}. Give 1, 3, 5, 7, ...")
    if size == 1:
        return value
    shape = query.shape[2:]
    cubes = [-(-n // cube) for n in shape]
    beyond = [count * cube - n for count, n in zip(cubes, shape)]  # noqa: B905
    query = F.pad(query, [0, beyond[2], 0, beyond[1], 0, beyond[0]])
    reach = size // 2
    pad = [reach, reach + beyond[2], reach, reach + beyond[1], reach, reach + beyond[0]]
    around = F.pad(torch.cat([key, value], 1), pad)
    far = _too_far(size, cube, query)
    edge = cube + 2 * reach
    rows = max(1, at_once // (far.numel() * cubes[2]))
    parts: list[torch.Tensor] = []
    for batch in range(query.shape[0]):
        for i in range(0, cubes[0] * cube, cube):
            for j in range(0, cubes[1], rows):
                stop = min(j + rows, cubes[1]) * cube
                own = query[batch, :, i : i + cube, j * cube : stop]
                seen = around[batch, :, i : i + edge, j * cube : stop + 2 * reach]
                if torch.jit.is_scripting():
                    parts.append(_slab(own, seen, far, cube))
                else:
                    parts.append(_recomputed(own, seen, far, cube))
    whole = torch.cat(parts).reshape([query.shape[0]] + cubes + [cube, cube, cube, value.shape[1]])
    whole = whole.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
    return whole[:, :, : shape[0], : shape[1], : shape[2]]


def neighbourhood_weights(query: torch.Tensor, key: torch.Tensor, size: int, voxel: list[int]) -> torch.Tensor:
    """The weights of Eq. 3 of one target voxel: where in the anchor it looks.

    Args:
        query, key: (M, H, W, D).
        size: edge of the neighbourhood.
        voxel: index (3,).

    Returns:
        (size, size, size), which sum to 1; entry (i, j, k) is of the anchor voxel ``voxel + (i, j, k) - size // 2``.
    """
    reach = size // 2
    padded = F.pad(key, [reach] * 6)
    around = padded[:, voxel[0] :, voxel[1] :, voxel[2] :][:, :size, :size, :size]
    own = query[:, voxel[0], voxel[1], voxel[2]]
    return torch.softmax(torch.tensordot(own, around, 1).flatten(), 0).reshape(size, size, size)


def _too_far(size: int, cube: int, like: torch.Tensor) -> torch.Tensor:
    """(voxels of a cube, voxels around it): 0 for a neighbour, -inf for what is none."""
    edge = cube + 2 * (size // 2)
    apart = torch.arange(edge, device=like.device).unsqueeze(0) - torch.arange(cube, device=like.device).unsqueeze(1)
    near = (apart >= 0) & (apart < size)
    every = near.reshape(cube, 1, 1, edge, 1, 1) & near.reshape(1, cube, 1, 1, edge, 1)
    every = every & near.reshape(1, 1, cube, 1, 1, edge)
    every = every.flatten(3).flatten(0, 2)
    return torch.zeros(every.shape, dtype=like.dtype, device=like.device).masked_fill(~every, -float("inf"))


def _recomputed(query: torch.Tensor, around: torch.Tensor, far: torch.Tensor, cube: int) -> torch.Tensor:
    """:func:`_slab`, of which nothing is kept for the gradients: it is computed anew for them."""
    if torch.is_grad_enabled() and (query.requires_grad or around.requires_grad):
        again: torch.Tensor = checkpoint(_slab, query, around, far, cube, use_reentrant=False, preserve_rng_state=False)
        return again
    return _slab(query, around, far, cube)


def _slab(query: torch.Tensor, around: torch.Tensor, far: torch.Tensor, cube: int) -> torch.Tensor:
    """One layer of cubes: (M, cube, n, D) and (M + V, cube + 2 r, n + 2 r, D + 2 r) -> (cubes, cube^3, V)."""
    channels = query.shape[0]
    edge = around.shape[1]
    own = query.unfold(2, cube, cube).unfold(3, cube, cube).permute(2, 3, 1, 4, 5, 0).flatten(2, 4).flatten(0, 1)
    seen = around.unfold(2, edge, cube).unfold(3, edge, cube).permute(2, 3, 1, 4, 5, 0)
    seen = seen.flatten(2, 4).flatten(0, 1)
    similarity = torch.baddbmm(far, own, seen[..., :channels].transpose(1, 2))
    return torch.bmm(torch.softmax(similarity, dim=-1), seen[..., channels:])


class PyramidReasoning(nn.Module):
    """A pyramid reasoning module: the anchor's features and its mask's are brought to where the target wants them.

    Three 3 x 3 x 3 convolutions bring target, anchor and anchor mask to ``channels`` (the paper's M); each target voxel
    is compared with the anchor's ``size`` x ``size`` x ``size`` voxels around it (Eqs. 1 to 3), and what is found there
    of anchor and mask is gathered by these weights (Eqs. 4 and 5). Zhou et al., "Generalized organ segmentation by
    imitating one-shot reasoning using anatomical correlation" (OrganNet), IPMI 2021, https://arxiv.org/abs/2103.16344.

    Args:
        target, anchor, mask: channels of the three inputs.
        channels: M.
        size: edge s of the neighbourhood, odd; 1: each voxel takes what lies at the same place.

    Shapes: (B, target, H, W, D), (B, anchor, H, W, D), (B, mask, H, W, D) -> (B, 3 M, H, W, D), the concatenation of
    Eq. 6: target, anchor, mask.
    """

    def __init__(self, target: int, anchor: int, mask: int, channels: int, size: int) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise ValueError(f"the neighbourhood has a middle, so its edge is odd: got {size}. Give 1, 3, 5, 7, ...")
        self.target = nn.Conv3d(target, channels, 3, padding=1)
        self.anchor = nn.Conv3d(anchor, channels, 3, padding=1)
        self.mask = nn.Conv3d(mask, channels, 3, padding=1)
        self.size = size
        self.channels = channels

    def forward(self, target: torch.Tensor, anchor: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Reason; see the class for shapes."""
        x_t, x_a, x_m = self.target(target), self.anchor(anchor), self.mask(mask)
        gathered = neighbourhood_attention(x_t, x_a, torch.cat([x_a, x_m], 1), self.size)
        return torch.cat([x_t, gathered], 1)
