# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Adaptive local prototypes on a grid, and the softmax-weighted similarity to a bank of prototypes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .exporting import exporting
from .precision import at_least_single, full_bmm
from .prototype import support_prototypes

__all__ = ["adaptive_local_prototypes", "cells_of", "grid_prototypes", "softmax_similarity"]


def cells_of(size: list[int], cell: float) -> list[int]:
    """Cells along each axis of an image (H, W) where a cell's side is about ``cell`` pixels; at least one.

    >>> cells_of([128, 100], 16.0)
    [8, 6]
    """
    return [max(1, int(round(n / cell))) for n in size]


def grid_prototypes(
    features: torch.Tensor, mask: torch.Tensor, grid: Sequence[int], threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean feature of every cell of a grid, and whether the mask fills the cell.

    The published code averages windows of feature pixels over a mask resized to the feature map. Here a cell's share
    of the mask is counted in the mask's own pixels: bilinear resizing without smoothing would look at some only.

    Args:
        features: (N, S, C, h, w), N ways (or episodes) of S shots.
        mask: (N, S, 1, H, W), binary; of the features' size or another.
        grid: cells along each axis (rows, columns); fewer where the map or the mask has fewer pixels.
        threshold: the mask covers more than this share of a cell.

    Returns:
        prototypes (N, S g g, C) and valid (N, S g g), bool: the cells that the mask covers.
    """
    height, width = (min(grid[i], features.shape[3 + i], mask.shape[3 + i]) for i in (0, 1))
    cells = F.adaptive_avg_pool2d(features.flatten(0, 1), (height, width))
    share = F.adaptive_avg_pool2d(mask.flatten(0, 1).float(), (height, width))
    ways, shots, channels = features.shape[:3]
    cells = cells.reshape(ways, shots, channels, -1).transpose(2, 3).flatten(1, 2)
    return cells, share.reshape(ways, -1) > threshold


def adaptive_local_prototypes(
    features: torch.Tensor,
    mask: torch.Tensor,
    grid: Sequence[int],
    threshold: float,
    always_global: bool,
    least_grid: Sequence[int] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adaptive local prototype pooling (ALP): the covered cells of a grid, and the mean of the whole mask.

    Ouyang et al., ECCV 2020, section 3.3. The cells of all shots form one bank; the global prototype is the mean over
    the shots.

    Args:
        features: (N, S, C, h, w).
        mask: (N, S, 1, H, W). A shot with an empty mask is padding.
        grid, threshold: see :func:`grid_prototypes`.
        always_global: whether the global prototype joins the local ones (foreground), or only stands in where the mask
            covers no cell (background; the published code has no answer there and passes the episode over).
        least_grid: a shot whose mask covers no cell of this grid has no local prototypes. Default: no such condition.

    Returns:
        a bank (N, P, C), padded, and valid (N, P), bool. P is the largest number of prototypes, at least 1. A way whose
        masks are all empty has none.
    """
    cells, covered = grid_prototypes(features, mask, grid, threshold)
    if least_grid is not None:
        covered = covered & _covering(mask, least_grid, threshold).repeat_interleave(
            covered.shape[1] // mask.shape[1], 1
        )
    whole = support_prototypes(features, mask)[:, None]
    wanted = mask.flatten(1).sum(1) > 0
    if not always_global:
        wanted = wanted & ~covered.any(1)
    return _packed(torch.cat([cells, whole.to(cells.dtype)], 1), torch.cat([covered, wanted[:, None]], 1))


def _covering(mask: torch.Tensor, grid: Sequence[int], threshold: float) -> torch.Tensor:
    """(N, S): whether the mask of a shot covers some cell of a grid."""
    size = (min(grid[0], mask.shape[3]), min(grid[1], mask.shape[4]))
    share = F.adaptive_avg_pool2d(mask.flatten(0, 1).float(), size)
    return (share.flatten(1).amax(1) > threshold).reshape(mask.shape[:2])


def _packed(bank: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The valid prototypes first, in their order, and what no way needs cut off."""
    count = max(1, int(valid.sum(1).max()))
    order = valid.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :count]
    valid = valid.gather(1, order)
    bank = bank.gather(1, order[..., None].expand(-1, -1, bank.shape[2]))
    return bank * valid[..., None], valid


def softmax_similarity(
    features: torch.Tensor, prototypes: torch.Tensor, valid: torch.Tensor, scale: float = 20.0
) -> torch.Tensor:
    """Similarity to banks of prototypes: sum over a bank of softmax(d) d, with d = scale cos (ALPNet, section 3.3).

    A bank of one prototype gives scale cos itself; an empty one gives 0. Computed a part of the pixels at a time: a
    support set of many slices has thousands of prototypes.

    Args:
        features: (B, C, *spatial).
        prototypes: (N, P, C), N banks shared by the batch, or (B, N, P, C), each query with its own.
        valid: (N, P) or (B, N, P), bool: which prototypes are not padding.
        scale: of the cosine.

    Returns:
        (B, N, *spatial), single precision, in [-scale, scale].
    """
    pixels = F.normalize(at_least_single(features).flatten(2), dim=1, eps=1e-8)
    prototypes = F.normalize(at_least_single(prototypes), dim=-1, eps=1e-8)
    if exporting():
        similarity = _all_at_once(pixels, prototypes, valid, scale)
        return similarity.unflatten(2, features.shape[2:])
    results: list[torch.Tensor] = []
    for query in range(pixels.shape[0]):
        own = prototypes[query] if prototypes.dim() == 4 else prototypes
        known = valid[query] if valid.dim() == 3 else valid
        for bank in range(own.shape[0]):
            results.append(_bank_similarity(pixels[query], own[bank][known[bank]], scale))
    similarity = torch.stack(results).reshape(features.shape[0], prototypes.shape[-3], -1)
    return similarity.unflatten(2, features.shape[2:])


def _all_at_once(pixels: torch.Tensor, prototypes: torch.Tensor, valid: torch.Tensor, scale: float) -> torch.Tensor:
    """Pixels (B, C, L) and banks (N, P, C) or (B, N, P, C), all of length 1 -> (B, N, L), see :func:`.exporting`."""
    distance = scale * torch.matmul(prototypes.flatten(-3, -2), pixels)
    distance = distance.unflatten(1, prototypes.shape[-3:-1])
    known = valid.unsqueeze(-1)
    # Of an empty bank all prototypes weigh alike, and nothing.
    weights = torch.softmax(distance.masked_fill(~known, -1e4), dim=2)
    return (weights * distance * known.to(distance.dtype)).sum(2)


def _bank_similarity(pixels: torch.Tensor, bank: torch.Tensor, scale: float) -> torch.Tensor:
    """Pixels (C, L) of length 1 and a bank (P, C) of length 1 -> (L,)."""
    step = max(1, 4194304 // max(1, bank.shape[0]))  # 2^22 numbers, 16 MB
    parts: list[torch.Tensor] = []
    for part in pixels.split(step, dim=1):
        distance = scale * full_bmm(bank.unsqueeze(0), part.unsqueeze(0))[0]
        parts.append((torch.softmax(distance, dim=0) * distance).sum(0))
    return torch.cat(parts)
