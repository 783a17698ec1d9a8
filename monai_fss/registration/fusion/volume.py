# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Soft votes that keep the size of an organ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit, logit

__all__ = ["volume_preserving_vote"]

# Of a vote that is certain; log-odds of 0 and 1 are infinite.
_EDGE = 1e-6


def volume_preserving_vote(
    masks: np.ndarray, shown: np.ndarray, spacing: Sequence[float], smooth: float = 2.0
) -> np.ndarray:
    """The mean of soft masks, raised where atlases agree that an organ is there and disagree on where exactly.

    Thin and small organs that do not overlap in half of the atlases are lost by a majority. Here the votes for a class
    are shifted in log-odds, all by the same, such that as many voxels are above 0.5 as the atlases' masks have on
    average.

    Args:
        masks: warped masks of N atlases and W classes, (N, W, H, W, D), 0..1.
        shown: whether an atlas shows a class, (N, W), boolean. Where it does not, the atlas does not vote: an organ
            that was removed in one says nothing of where it is in another.
        spacing: mm of a voxel along each axis.
        smooth: standard deviation of the Gaussian that the votes are smoothed with, mm: the votes of few atlases are
            few steps, and a volume between two of them needs an order of the voxels in a step. Default 2.

    Returns:
        float32 of shape (W, H, W, D). Of one atlas: its masks as they are.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if masks.ndim != 5 or shown.shape != masks.shape[:2] or len(spacing) != 3:
        raise ValueError(
            f"masks {masks.shape}, shown {shown.shape}, spacing {len(spacing)}: do not fit. Give (N, W, H, W, D), "
            "(N, W) and 3."
        )
    fused = np.zeros(masks.shape[1:], np.float32)
    for way in range(masks.shape[1]):
        votes = masks[shown[:, way], way]
        if len(votes):
            fused[way] = votes[0] if len(votes) == 1 else _kept(votes, smooth / np.asarray(spacing, float))
    return fused


def _kept(votes: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Of one class: (n, H, W, D) -> (H, W, D)."""
    mean = votes.mean(0, dtype=np.float32)
    wanted = int(round(float((votes > 0.5).sum()) / len(votes)))
    if not wanted:
        return mean
    share = np.clip(gaussian_filter(mean, sigma), _EDGE, 1 - _EDGE)
    limit = np.partition(share, share.size - wanted, axis=None)[share.size - wanted]
    # The voxel at the limit is the last one that belongs: just above one half.
    return expit(logit(share) - logit(limit) + _EDGE).astype(np.float32)
