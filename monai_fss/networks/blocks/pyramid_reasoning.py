# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""OrganNet's reasoning: every target voxel looks around in the anchor and takes over what it finds there."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

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
    neighbourhoods are multiplied as matrices. What is held besides the inputs, the result and their gradients grows
    with neither the neighbourhood nor the volume: weights are computed anew for the gradients.

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
    if torch.jit.is_scripting():
        slabs = _all_slabs(query, around, far, cube, at_once)
    else:
        slabs = _Recomputed.apply(query, around, far, cube, at_once)
    whole = slabs.reshape([query.shape[0]] + cubes + [cube, cube, cube, value.shape[1]])
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


def _places(shape: list[int], pairs: int, cube: int, at_once: int) -> list[list[int]]:
    """Batch, first voxel along the first axis, first and last along the second one, of each slab of cubes."""
    rows = max(1, at_once // (pairs * (shape[4] // cube))) * cube
    places: list[list[int]] = []
    for batch in range(shape[0]):
        for i in range(0, shape[2], cube):
            for j in range(0, shape[3], rows):
                places.append([batch, i, j, min(j + rows, shape[3])])
    return places


def _all_slabs(query: torch.Tensor, around: torch.Tensor, far: torch.Tensor, cube: int, at_once: int) -> torch.Tensor:
    """(cubes, cube^3, V), of query (B, M, H, W, D), a multiple of the cubes, and what is around it."""
    wider = around.shape[2] - query.shape[2]
    voxels = query.shape[0] * query.shape[2] * query.shape[3] * query.shape[4]
    # In one piece: parts that stay between temporaries that go would tear the memory into holes.
    result = query.new_empty([voxels // far.shape[0], far.shape[0], around.shape[1] - query.shape[1]])
    first = 0
    for batch, i, j, stop in _places(list(query.shape), far.numel(), cube, at_once):
        own = query[batch, :, i : i + cube, j:stop]
        part = _slab(own, around[batch, :, i : i + cube + wider, j : stop + wider], far, cube)
        result[first : first + part.shape[0]] = part
        first += part.shape[0]
    return result


class _Recomputed(torch.autograd.Function):
    """:func:`_all_slabs`, of which the inputs alone are kept: the gradients of each slab are computed from them."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, around: torch.Tensor, far: torch.Tensor, cube: int, at_once: int
    ) -> torch.Tensor:
        ctx.save_for_backward(query, around, far)
        ctx.cube, ctx.at_once = cube, at_once
        return _all_slabs(query, around, far, cube, at_once)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None, None]:
        query, around, far = ctx.saved_tensors
        cube, wider, first = ctx.cube, around.shape[2] - query.shape[2], 0
        of_query, of_around = torch.zeros_like(query), torch.zeros_like(around)
        for batch, i, j, stop in _places(list(query.shape), far.numel(), cube, ctx.at_once):
            here = (batch, slice(None), slice(i, i + cube), slice(j, stop))
            there = (batch, slice(None), slice(i, i + cube + wider), slice(j, stop + wider))
            count = (stop - j) // cube * (query.shape[4] // cube)
            found = _slab_gradients(query[here], around[there], far, cube, grads[0][first : first + count])
            of_query[here] += found[0]
            of_around[there] += found[1]
            first += count
        return of_query, of_around, None, None, None


def _cubes(volume: torch.Tensor, edge: int, cube: int) -> torch.Tensor:
    """A layer (C, edge, n, m) -> (cubes, edge^3, C): every ``cube`` voxels one of ``edge`` along the last two axes."""
    own = volume.unfold(2, edge, cube).unfold(3, edge, cube).permute(2, 3, 1, 4, 5, 0)
    return own.flatten(2, 4).flatten(0, 1)


def _slab(query: torch.Tensor, around: torch.Tensor, far: torch.Tensor, cube: int) -> torch.Tensor:
    """One layer of cubes: (M, cube, n, D) and (M + V, cube + 2 r, n + 2 r, D + 2 r) -> (cubes, cube^3, V)."""
    channels = query.shape[0]
    own, seen = _cubes(query, cube, cube), _cubes(around, around.shape[1], cube)
    similarity = torch.baddbmm(far, own, seen[..., :channels].transpose(1, 2))
    return torch.bmm(torch.softmax(similarity, dim=-1), seen[..., channels:])


def _slab_gradients(
    query: torch.Tensor, around: torch.Tensor, far: torch.Tensor, cube: int, grad: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of both inputs of :func:`_slab` by that of its result (cubes, cube^3, V).

    Written out, since that of ``unfold`` is most of the time: cubes overlap, and it adds voxel by voxel.
    """
    channels, edge = query.shape[0], around.shape[1]
    own, seen = _cubes(query, cube, cube), _cubes(around, edge, cube)
    key, value = seen[..., :channels], seen[..., channels:]
    weights = torch.softmax(torch.baddbmm(far, own, key.transpose(1, 2)), dim=-1)
    of_weights = torch.bmm(grad, value.transpose(1, 2))
    of_value = torch.bmm(weights.transpose(1, 2), grad)
    mean = (of_weights * weights).sum(-1, keepdim=True)
    of_similarity = of_weights.sub_(mean).mul_(weights)
    of_key = torch.bmm(of_similarity.transpose(1, 2), own)
    of_own = torch.bmm(of_similarity, key)
    rows, columns = query.shape[2] // cube, query.shape[3] // cube
    of_query = of_own.reshape(rows, columns, cube, cube, cube, channels).permute(5, 2, 0, 3, 1, 4).reshape(query.shape)
    return of_query, _overlaid(torch.cat([of_key, of_value], 2), rows, columns, edge, cube)


def _overlaid(parts: torch.Tensor, rows: int, columns: int, edge: int, cube: int) -> torch.Tensor:
    """Put cubes (rows * columns, edge^3, C) back in place, and add where they overlap: the transpose of `_cubes`."""
    parts = parts.reshape(rows, columns, edge, edge, edge, -1).permute(5, 2, 0, 3, 1, 4)
    wider = edge - cube
    size = [rows * cube + wider, columns * cube + wider]
    result = parts.new_zeros(parts.shape[0], edge, size[0] + cube, size[1] + cube)
    for low in range(0, edge, cube):
        for left in range(0, edge, cube):
            some = parts[:, :, :, low : low + cube, :, left : left + cube]
            there = result[:, :, low : low + rows * cube, left : left + columns * cube]
            there = there.unflatten(3, (columns, cube)).unflatten(2, (rows, cube))
            there[:, :, :, : some.shape[3], :, : some.shape[5]] += some
    return result[:, :, : size[0], : size[1]]


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
        return torch.cat([x_t, self._gathered(x_t, x_a, torch.cat([x_a, x_m], 1))], 1)

    def _gathered(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention in single precision, under autocast too: half of it tells similar neighbours no more apart."""
        if torch.jit.is_scripting():
            return neighbourhood_attention(query, key, value, self.size)
        with torch.autocast(query.device.type, enabled=False):
            return neighbourhood_attention(query.float(), key.float(), value.float(), self.size).to(query.dtype)
