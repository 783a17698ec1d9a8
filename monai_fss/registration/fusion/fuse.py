# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Label fusion by its name, of scans that do not all label the same organs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .pbaf import pbaf
from .staple import staple
from .votes import local_weighted_vote, majority_vote

__all__ = ["fuse"]


def fuse(
    fusion: str,
    labels: np.ndarray,
    shown: np.ndarray,
    values: Sequence[int],
    image: np.ndarray,
    images: np.ndarray | None,
    spacing: Sequence[float],
) -> np.ndarray:
    """Fuse the warped labels of several scans.

    A scan that does not label an organ says nothing of it: each organ is fused of the scans that label it. Otherwise
    they would vote against it wherever it is.

    Args:
        fusion: "majority", "staple", "local" or "pbaf", see there.
        labels: warped labels of N scans, whole numbers (N, H, W, D).
        shown: whether a scan labels a value, (N, W), boolean.
        values: the label values of W classes.
        image: the query (H, W, D).
        images: of the scans, warped, (N, H, W, D); None for "majority" and "staple", which do not look at them.
        spacing: mm of a voxel along each axis.

    Returns:
        float32 (W, H, W, D); 0 where no scan labels a value.
    """
    result = np.zeros((len(values), *labels.shape[1:]), np.float32)
    for voters in np.unique(shown.T, axis=0):
        ways = np.flatnonzero((voters == shown.T).all(1))
        if voters.any():
            own = None if images is None else images[voters]
            result[ways] = _fused(fusion, labels[voters], values, image, own, spacing)[ways]
    return result


def _fused(
    fusion: str,
    labels: np.ndarray,
    values: Sequence[int],
    image: np.ndarray,
    images: np.ndarray | None,
    spacing: Sequence[float],
) -> np.ndarray:
    if len(labels) == 1:
        return np.stack([np.float32(labels[0] == value) for value in values])
    if fusion in ("majority", "staple"):
        return (majority_vote if fusion == "majority" else staple)(labels, values)
    if images is None:
        raise ValueError(f"fusion '{fusion}' looks at the scans: give their warped images.")
    if fusion == "local":
        return local_weighted_vote(image, images, labels, values)
    return pbaf(image, images, labels, values, spacing=spacing, normalise=True)
