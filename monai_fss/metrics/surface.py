# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Surface distances between two masks in mm, on MONAI's implementation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from monai.metrics.utils import get_edge_surface_distance
from scipy.ndimage import find_objects

__all__ = ["assd", "hd95", "surface_distances"]


def hd95(prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> float:
    """95th percentile of the Hausdorff distance in mm: the larger one of the two directed 95th percentiles.

    Args:
        prediction: boolean mask (H, W, D), or (H, W).
        truth: boolean mask of the same shape.
        spacing: voxel size in mm, one value for each axis.

    Returns:
        The distance in mm; nan where one of the masks is empty (a distance to nothing is not a number of mm; count
        such cases beside the mean).

    Raises:
        ValueError: where the shapes differ or the spacing does not fit.
    """
    return surface_distances(prediction, truth, spacing)[0]


def assd(prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> float:
    """Average symmetric surface distance in mm: the mean over all surface voxels of both masks.

    Args:
        prediction: boolean mask (H, W, D), or (H, W).
        truth: boolean mask of the same shape.
        spacing: voxel size in mm, one value for each axis.

    Returns:
        The distance in mm; nan where one of the masks is empty.

    Raises:
        ValueError: where the shapes differ or the spacing does not fit.
    """
    return surface_distances(prediction, truth, spacing)[1]


def surface_distances(prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
    """Both surface distances, HD95 and ASSD, in mm.

    A surface voxel is a voxel of the mask with a face neighbour outside the mask, or at the edge of the volume.

    Args:
        prediction: boolean mask (H, W, D), or (H, W).
        truth: boolean mask of the same shape.
        spacing: voxel size in mm, one value for each axis.

    Returns:
        ``(hd95, assd)``; both nan where one of the masks is empty.

    Raises:
        ValueError: where the shapes differ, or the spacing has another number of values than the masks have axes,
            or a value that is not a positive number.
    """
    _check(prediction, truth, spacing)
    if not prediction.any() or not truth.any():
        return math.nan, math.nan
    box = _union_box(prediction, truth)
    found, true = (torch.from_numpy(np.ascontiguousarray(mask[box], dtype=bool)) for mask in (prediction, truth))
    # What compute_hausdorff_distance and compute_average_surface_distance both begin with, here once for the two.
    _, directed, _ = get_edge_surface_distance(found, true, spacing=[float(value) for value in spacing], symmetric=True)
    there, back = (distances.numpy() for distances in directed)
    largest = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(largest), float(np.concatenate([there, back]).mean(dtype=float))


def _check(prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction: its shape {prediction.shape} differs from the truth's {truth.shape}. "
            "Bring both onto the same voxel grid."
        )
    values = [float(value) for value in spacing]
    if len(values) != prediction.ndim or not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError(
            f"spacing: {values} does not fit masks of shape {prediction.shape}. "
            "Give one positive voxel size in mm for each axis."
        )


def _union_box(prediction: np.ndarray, truth: np.ndarray, margin: int = 1) -> tuple[slice, ...]:
    """The box around both masks: the scan around it costs time and changes no distance."""
    tight = find_objects((prediction | truth).astype(np.uint8))[0]
    return tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in tight)
