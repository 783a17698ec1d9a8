# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The strict Dice score of one volume and class, and the scores of all classes of a label map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monai_fss.metrics.surface import surface_scores
from monai_fss.metrics.tolerances import DEFAULT_TOLERANCE

__all__ = ["STATES", "Score", "mean_dice", "score", "strict_dice"]

STATES = ("scored", "absent_predicted", "absent")


@dataclass(frozen=True)
class Score:
    """What one prediction of one class in one volume is worth.

    Args:
        dice: Dice score as a fraction 0..1; nan where the state is "absent".
        hd95: 95th percentile of the Hausdorff distance in mm; nan where one of the two masks is empty.
        assd: average symmetric surface distance in mm; nan where one of the two masks is empty.
        state: "scored": the truth has the class; "absent_predicted": the truth has it not, the prediction has
            (``dice`` is 0); "absent": neither has it (``dice`` is nan: left out of means, and counted).
        nsd: normalised surface Dice as a fraction 0..1; 0 where one of the two masks is empty, nan where both are, or
            where it was not measured.
    """

    dice: float
    hd95: float
    assd: float
    state: str
    nsd: float = math.nan


def strict_dice(prediction: np.ndarray | torch.Tensor, truth: np.ndarray | torch.Tensor) -> float:
    """Dice score of one class over one whole volume: Eq. 7 of the ADNet paper, ``2 |P n T| / (|P| + |T|)``.

    It is strict where ``monai.metrics.DiceMetric`` is lenient: that metric by default ignores false positives where
    the organ is absent (it returns nan) and scores shapes that merely broadcast. Here the first is 0 and the second
    an error.

    Args:
        prediction: mask, boolean or 0/1, of any shape, say (H, W, D): one volume and one class, not a batch.
        truth: mask of the same shape.

    Returns:
        A fraction 0..1; 0 where the truth is empty and the prediction is not; nan where both are empty ("absent and
        not predicted": left out of means).

    Raises:
        ValueError: where the shapes differ, or a mask has values other than 0 and 1.

    Source: Hansen et al., Anomaly Detection-Inspired Few-Shot Medical Image Segmentation Through Self-Supervision
    With Supervoxels (ADNet), Eq. 7, as a fraction.
    """
    predicted, true = _masks(prediction, truth)
    total = int(np.count_nonzero(predicted)) + int(np.count_nonzero(true))
    return 2.0 * int(np.count_nonzero(predicted & true)) / total if total else math.nan


def score(
    prediction: np.ndarray | torch.Tensor,
    truth: np.ndarray | torch.Tensor,
    spacing: Sequence[float],
    tolerance: float = DEFAULT_TOLERANCE,
) -> Score:
    """Score one class of one volume. Use it where classes may overlap (each organ by itself).

    Args:
        prediction: mask (H, W, D), boolean or 0/1.
        truth: mask of the same shape.
        spacing: voxel size in mm, one value for each axis.
        tolerance: mm, of the normalised surface Dice. Default: :data:`monai_fss.metrics.tolerances.DEFAULT_TOLERANCE`.

    Returns:
        The Dice score, both surface distances in mm, the normalised surface Dice, and the state: see
        :py:class:`Score`.

    Raises:
        ValueError: as :py:func:`strict_dice`, or where the spacing does not fit the masks.
    """
    predicted, true = _masks(prediction, truth)
    hd95, assd, nsd = surface_scores(predicted, true, spacing, tolerance)
    state = "scored" if true.any() else "absent_predicted" if predicted.any() else "absent"
    return Score(strict_dice(predicted, true), hd95, assd, state, nsd)


def mean_dice(output: Sequence[Mapping[str, torch.Tensor]], values: Sequence[int]) -> float:
    """Mean strict Dice of an engine's output, for Ignite's ``Average``: over volumes and classes.

    Args:
        output: items with ``pred`` and ``label``, label maps (1, *spatial) of one shape.
        values: label values of the classes.

    Returns:
        fraction 0..1; 0 where no volume has or shows any of the classes.
    """
    scores = [strict_dice(_array(i["pred"]) == v, _array(i["label"]) == v) for i in output for v in values]
    scores = [s for s in scores if not math.isnan(s)]
    return sum(scores) / len(scores) if scores else 0.0


def _array(volume: np.ndarray | torch.Tensor) -> np.ndarray:
    return volume.detach().cpu().numpy() if isinstance(volume, torch.Tensor) else np.asarray(volume)


def _check_shapes(prediction: np.ndarray, truth: np.ndarray) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction: its shape {prediction.shape} differs from the truth's {truth.shape}. "
            "Bring both onto the same voxel grid."
        )


def _masks(prediction: np.ndarray | torch.Tensor, truth: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    predicted, true = _array(prediction), _array(truth)
    _check_shapes(predicted, true)
    return _mask(predicted, "prediction"), _mask(true, "truth")


def _mask(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == bool:
        return array
    other = array[(array != 0) & (array != 1)]
    if other.size:
        raise ValueError(
            f"{name}: a mask has the values 0 and 1 only, but {other.size} voxels differ, such as {other.flat[0]}. "
            "Threshold a probability map, or compare a label map with one label value, first."
        )
    return array.astype(bool)
