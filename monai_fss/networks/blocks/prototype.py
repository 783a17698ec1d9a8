# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Prototypes by masked average pooling, and the cosine similarity to them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .precision import at_least_single, full_bmm

__all__ = ["masked_average_pooling", "support_prototypes", "cosine_similarity"]


def masked_average_pooling(features: torch.Tensor, mask: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """Mean feature under a mask (ADNet Eq. 1): the features are resized to the mask, not the mask to the features.

    Features of a whole volume at the size of its mask would take gigabytes. Resizing is linear, so in 3-D its transpose
    is applied to the mask instead, which gives the same mean. (ADNet's published 3-D code takes the nearest mask voxel
    of each feature, as Eq. 1 does not; for small organs at stride 8 that is another prototype.)

    Args:
        features: (N, C, h, w) or (N, C, h, w, d).
        mask: (N, 1, *spatial), binary or soft; features of another size are interpolated linearly to it.
        eps: added to the mask's sum, so that an empty mask gives zeros.

    Returns:
        (N, C).
    """
    if features.shape[2:] != mask.shape[2:]:
        if features.dim() == 5:
            return _pooled_by_the_mask(features, mask, eps)
        features = F.interpolate(features, size=mask.shape[2:], mode="bilinear", align_corners=False)
    mask = mask.to(features.dtype)
    return (features * mask).flatten(2).sum(2) / (mask.flatten(2).sum(2) + eps)


def _pooled_by_the_mask(features: torch.Tensor, mask: torch.Tensor, eps: float) -> torch.Tensor:
    """sum_p mask_p (U f)_p = sum_q (U^T mask)_q f_q, U being linear interpolation along each axis in turn."""
    # Autocast would compute the products in half precision, which cannot hold the sum over an organ.
    with torch.autocast(features.device.type, enabled=False):
        dtype = torch.promote_types(features.dtype, torch.float32)
        weight = mask.to(dtype)
        total = weight.flatten(2).sum(2) + eps
        for axis in range(2, features.dim()):
            matrix = _interpolation(features.shape[axis], mask.shape[axis], weight)
            weight = torch.tensordot(weight, matrix, dims=([axis], [1])).movedim(-1, axis)
        pooled = torch.bmm(features.to(dtype).flatten(2), weight.flatten(2).transpose(1, 2))[..., 0] / total
        return pooled.to(features.dtype)


def _interpolation(size: int, target: int, like: torch.Tensor) -> torch.Tensor:
    """(size, target): entry (q, p) is what value q counts for at place p after linear interpolation."""
    unit = torch.eye(size, dtype=like.dtype, device=like.device)[None]
    return F.interpolate(unit, size=target, mode="linear", align_corners=False)[0]


def support_prototypes(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """One prototype for each way: the mean over its shots of their masked average features.

    Args:
        features: (N, S, C, h, w) or (N, S, C, h, w, d), N ways (or episodes) of S shots.
        mask: (N, S, 1, H, W) or (N, S, 1, H, W, D). A shot with an empty mask is padding and does not count.

    Returns:
        (N, C).
    """
    pooled = masked_average_pooling(features.flatten(0, 1), mask.flatten(0, 1))
    pooled = pooled.reshape(features.shape[0], features.shape[1], -1)
    counts = (mask.flatten(2).sum(2, keepdim=True) > 0).to(pooled.dtype)
    return (pooled * counts).sum(1) / counts.sum(1).clamp(min=1)


def cosine_similarity(features: torch.Tensor, prototypes: torch.Tensor, eps: float = 1e-8) -> torch.Tensor:
    """Cosine of every feature vector with every prototype.

    Args:
        features: (B, C, *spatial).
        prototypes: (W, C) shared by the batch, or (B, W, C), each query with its own.
        eps: lower bound of both norms; a zero prototype has similarity 0 to everything.

    Returns:
        (B, W, *spatial), in [-1, 1], single precision.
    """
    features, prototypes = at_least_single(features), at_least_single(prototypes)  # half knows no number like eps
    norm = torch.linalg.vector_norm(features, dim=1, keepdim=True).clamp(min=eps)
    prototypes = F.normalize(prototypes, dim=-1, eps=eps)
    if prototypes.dim() == 2:
        prototypes = prototypes.unsqueeze(0).expand(features.shape[0], -1, -1)
    similarity = full_bmm(prototypes, features.flatten(2))
    return similarity.reshape(similarity.shape[:2] + features.shape[2:]) / norm
