# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Prototypes of the parts of a class by k-means, and the similarity to the nearest of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .precision import at_least_single, full_bmm
from .prototype import cosine_similarity, support_prototypes

__all__ = ["class_features", "kmeans_means", "max_similarity", "part_prototypes"]

FEW = 10  # pixels of a mask on the feature map up to which features are taken at the mask's own resolution


def class_features(features: torch.Tensor, mask: torch.Tensor, upscale: int = 1) -> torch.Tensor:
    """Feature vectors under a mask, of all shots one after the other.

    A shot whose mask has ``FEW`` (10) pixels or fewer at that resolution, as a small organ has, gives its features at
    the mask's own resolution, as in PPNet's published code.

    Args:
        features: (S, C, h, w).
        mask: (S, 1, H, W), binary. A shot with an empty mask has none.
        upscale: features are interpolated to this many times their size, at most the mask's. Default 1.

    Returns:
        (L, C), of L pixels in the order of shots, rows, columns.
    """
    found = []
    for maps, shot in zip(features, mask, strict=True):
        size = [min(upscale * maps.shape[i], shot.shape[i]) for i in (1, 2)]
        inside = F.interpolate(shot[None].float(), size=size, mode="nearest-exact")[0, 0] > 0
        if int(inside.sum()) <= FEW:
            size, inside = list(shot.shape[1:]), shot[0] > 0
        maps = F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
        found.append(maps[:, inside].T)
    return torch.cat(found)


def kmeans_means(points: torch.Tensor, clusters: int, iterations: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """Means of the clusters that k-means (Lloyd's algorithm) finds.

    Gradients go through the means, not through the assignment. Starts are points at even distances in their order
    rather than random ones (PPNet's published code): the result then depends on nothing but the points.

    Args:
        points: (L, C), L may be 0.
        clusters: K, at least 1.
        iterations: assignments; each but the last moves the centres. Default 10, the published code's.

    Returns:
        means (K, C), single precision, and filled (K,), bool: a cluster that ends empty has the mean zero.
    """
    points = at_least_single(points)
    if not points.shape[0]:
        nothing = points.new_zeros(clusters, points.shape[1])
        return nothing, nothing[:, 0].bool()
    with torch.no_grad(), torch.autocast(points.device.type, enabled=False):
        order = torch.arange(clusters, device=points.device)
        centers = points[(2 * order + 1) * points.shape[0] // (2 * clusters)]
        for iteration in range(iterations):
            nearest = torch.cdist(points, centers).argmin(1)
            member = F.one_hot(nearest, clusters).to(points.dtype).T
            count = member.sum(1, keepdim=True)
            if iteration < iterations - 1:
                centers = torch.where(count > 0, member @ points / count.clamp(min=1), centers)
    return full_bmm(member[None], points[None])[0] / count.clamp(min=1), count[:, 0] > 0


def part_prototypes(
    features: torch.Tensor, mask: torch.Tensor, clusters: int, global_weight: float, upscale: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Part-aware prototypes: the means of a class's clusters, each with a share of the mean of the whole class.

    Liu et al., ECCV 2020 (PPNet), https://arxiv.org/abs/2007.06309. An empty cluster leaves the mean of the whole
    class, whose direction it has in the published code too.

    Args:
        features: (N, S, C, h, w), N ways (or episodes) of S shots. Pixels of all shots form the clusters.
        mask: (N, S, 1, H, W), binary. A shot with an empty mask is padding.
        clusters: K, prototypes of a class.
        global_weight: of :func:`support_prototypes`, the mean over the shots of their mean features.
        upscale: see :func:`class_features`.

    Returns:
        prototypes (N, K, C) and valid (N, K), bool: all of a way, or none where its masks are all empty.
    """
    whole = support_prototypes(features, mask)[:, None]
    banks = []
    for way in range(features.shape[0]):
        means, filled = kmeans_means(class_features(features[way], mask[way], upscale), clusters)
        banks.append(torch.where(filled[:, None], means + global_weight * whole[way], whole[way]))
    known = mask.flatten(1).sum(1) > 0
    return torch.stack(banks), known[:, None].expand(-1, clusters)


def max_similarity(
    features: torch.Tensor, prototypes: torch.Tensor, valid: torch.Tensor, scale: float = 20.0
) -> torch.Tensor:
    """Similarity to the most similar prototype of each bank: max scale cos. An empty bank gives 0.

    Args:
        features: (B, C, *spatial).
        prototypes: (N, P, C), N banks shared by the batch, or (B, N, P, C), each query with its own.
        valid: (N, P) or (B, N, P), bool: which prototypes are not padding.
        scale: of the cosine. Default 20, PANet's.

    Returns:
        (B, N, *spatial), single precision, in [-scale, scale].
    """
    banks, size = prototypes.shape[-3], prototypes.shape[-2]
    similarity = scale * cosine_similarity(features, prototypes.flatten(-3, -2))
    similarity = similarity.flatten(2).reshape(features.shape[0], banks, size, -1)
    known = valid.unsqueeze(-1)
    nearest = similarity.masked_fill(~known, -2 * scale).amax(-2)
    return torch.where(known.any(-2), nearest, torch.zeros_like(nearest)).unflatten(2, features.shape[2:])
