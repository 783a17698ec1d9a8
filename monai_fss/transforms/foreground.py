# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The body on each slice of a scan, as ADNet cuts it out before it trains on supervoxels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

__all__ = ["foreground_mask"]


def foreground_mask(image: np.ndarray, threshold: float = 10) -> np.ndarray:
    """Find the body on each slice: the largest connected bright region, with its holes filled.

    Intensities are rescaled to 0..255 by the minimum and maximum of the whole image, so the same threshold serves MR
    and CT (where 10 is about -860 HU for a range of -1024..3000). A slice without a brighter voxel stays empty.

    Args:
        image: real, finite intensities, (H, W) or (H, W, D). The slice axis is the last one.
        threshold: voxels above this grey value of 0..255 are bright. The default is the published code's.

    Returns:
        bool array of the image's shape. Regions are connected over edges and corners (8 neighbours); of equally large
        ones the first in C order is kept.

    Raises:
        ValueError: if the image is neither 2-D nor 3-D, is empty or not finite, or the threshold is not within 0..255.

    Source: the pre-processing in the code of S. Hansen et al., Anomaly detection-inspired few-shot medical image
    segmentation through self-supervision with supervoxels, Medical Image Analysis 78, 2022.
    """
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"image: shape {image.shape}. Pass a non-empty (H, W) or (H, W, D).")
    if not np.isfinite(image).all():
        raise ValueError("image: NaN or infinite voxels. Replace them before.")
    if not 0 <= threshold < 255:
        raise ValueError(f"threshold: {threshold} is outside 0..255. Pass a grey value from 0 to below 255.")
    low, high = float(image.min()), float(image.max())
    bright = image > low + threshold / 255 * (high - low)
    if image.ndim == 2:
        return _largest_filled(bright)
    return np.stack([_largest_filled(bright[..., z]) for z in range(image.shape[-1])], axis=-1)


def _largest_filled(bright: np.ndarray) -> np.ndarray:
    """The largest 8-connected region of one slice, (H, W) bool, with its holes filled."""
    regions, count = ndimage.label(bright, structure=np.ones((3, 3)))
    if count == 0:
        return np.zeros_like(bright)
    sizes = np.bincount(regions.ravel())
    return ndimage.binary_fill_holes(regions == 1 + np.argmax(sizes[1:]))
