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

__all__ = ["assd", "hd95", "normalised_surface_dice", "surface_distances", "surface_scores"]


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
    return surface_scores(prediction, truth, spacing, 1.0)[:2]


def normalised_surface_dice(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float], tolerance: float
) -> float:
    """Normalised surface Dice: the share of both masks' surface voxels that lie within a tolerance of the other's.

    Args:
        prediction: boolean mask (H, W, D), or (H, W).
        truth: boolean mask of the same shape.
        spacing: voxel size in mm, one value for each axis.
        tolerance: mm that a boundary may lie off, see :func:`monai_fss.metrics.tolerance_mm`.

    Returns:
        A fraction 0..1; 0 where one of the masks is empty, nan where both are.

    Raises:
        ValueError: where the shapes differ, or the spacing or the tolerance does not fit.

    Source: Nikolov et al., Clinically applicable segmentation of head and neck anatomy for radiotherapy (2021), counted
    in surface voxels, as MONAI's ``compute_surface_dice`` does by default.
    """
    return surface_scores(prediction, truth, spacing, tolerance)[2]


def surface_scores(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float], tolerance: float
) -> tuple[float, float, float]:
    """HD95 and ASSD in mm, and the normalised surface Dice, by one computation of the distances.

    Args:
        prediction, truth, spacing, tolerance: see :func:`normalised_surface_dice`.

    Returns:
        ``(hd95, assd, nsd)``: the distances nan where one of the masks is empty; nsd 0 there, and nan where both are.

    Raises:
        ValueError: see :func:`normalised_surface_dice`.
    """
    _check(prediction, truth, spacing)
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance: {tolerance} is no length. Give mm of at least 0.")
    if not prediction.any() or not truth.any():
        return math.nan, math.nan, 0.0 if prediction.any() or truth.any() else math.nan
    box = _union_box(prediction, truth)
    found, true = (torch.from_numpy(np.ascontiguousarray(mask[box], dtype=bool)) for mask in (prediction, truth))
    # What MONAI's three functions begin with, here once for all.
    _, directed, _ = get_edge_surface_distance(found, true, spacing=[float(value) for value in spacing], symmetric=True)
    there, back = (distances.numpy() for distances in directed)
    both = np.concatenate([there, back])
    largest = max(np.percentile(there, 95), np.percentile(back, 95))
    return float(largest), float(both.mean(dtype=float)), float((both <= tolerance).mean())


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
