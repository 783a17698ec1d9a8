# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""An interval for the Dice score of a mask that nobody has checked, by masks that were checked."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

__all__ = ["conformal_interval", "conformal_radius", "coverage_left_out"]


def conformal_radius(
    scores: Sequence[float] | np.ndarray, dices: Sequence[float] | np.ndarray, coverage: float = 0.9
) -> float:
    """How far the Dice score of the next mask is from its quality score at most, with a given probability.

    The k-th smallest of |Dice - score| over n checked masks, k = ceil((n + 1) coverage). Whatever the score is worth,
    the next mask's difference is no larger with a probability of at least ``coverage``, if it is drawn as the checked
    ones were: checked masks must not have been picked by their score.

    Args:
        scores: quality scores of the checked masks, on the scale of the Dice score.
        dices: their Dice scores, fractions 0..1; pairs with a nan are left out.
        coverage: Default 0.9, which needs 9 masks.

    Returns:
        The radius; infinity where there are too few masks to say it.

    Raises:
        ValueError: where the numbers of values differ, or the coverage is not between 0 and 1.

    Source: split conformal prediction, Lei et al., Distribution-free predictive inference for regression, J. Am. Stat.
    Assoc. 113 (2018), with the score itself as the prediction: nothing is fitted, so that all masks calibrate.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage: {coverage} is not between 0 and 1.")
    first, second = np.asarray(scores, dtype=float), np.asarray(dices, dtype=float)
    if first.shape != second.shape or first.ndim != 1:
        shapes = f"{first.shape} and {second.shape}"
        raise ValueError(f"scores, dices: their shapes are {shapes}. Give one of each for every mask.")
    off = np.abs(first - second)
    off = np.sort(off[~np.isnan(off)])
    place = math.ceil(round((off.size + 1) * coverage, 9))  # 10 x 0.7 is 7, and no more
    return float(off[place - 1]) if place <= off.size else math.inf


def conformal_interval(score: float, radius: float) -> tuple[float, float]:
    """Lower and upper end of the interval about a score, within 0..1.

    Args:
        score: quality score of a mask.
        radius: see :func:`conformal_radius`; infinity gives (0, 1), which says nothing.
    """
    return max(0.0, score - radius), min(1.0, score + radius)


def coverage_left_out(
    scores: Sequence[float] | np.ndarray,
    dices: Sequence[float] | np.ndarray,
    scans: Sequence[Hashable],
    coverage: float = 0.9,
) -> tuple[float, int]:
    """How often the interval holds, measured by leaving one scan out: its masks are no evidence for one another.

    Args:
        scores, dices, coverage: see :func:`conformal_radius`.
        scans: the scan of each mask.

    Returns:
        share of the masks whose Dice score lies in the interval by the other scans, and the number of masks that have
        one; nan and 0 where none has.

    Raises:
        ValueError: see :func:`conformal_radius`; or there are not as many scans as scores.
    """
    first, second = np.asarray(scores, dtype=float), np.asarray(dices, dtype=float)
    if len(scans) != first.size:
        raise ValueError(f"scans: {len(scans)} for {first.size} scores. Name the scan of each mask.")
    held: list[bool] = []
    for scan in dict.fromkeys(scans):
        own = np.array([other == scan for other in scans])
        radius = conformal_radius(first[~own], second[~own], coverage)
        off = np.abs(first - second)[own]
        held += (off[~np.isnan(off)] <= radius).tolist() if math.isfinite(radius) else []
    return (float(np.mean(held)) if held else math.nan), len(held)
