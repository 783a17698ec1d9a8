# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How far a value lies from those of its like, whatever a few wrong ones among them do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import median_abs_deviation

__all__ = ["FEWEST", "FAR", "robust_z"]

FEWEST = 5
"""Values below which nothing is said: of three or four the middle and its deviation are no measure."""
FAR = 3.5
"""Scores from here on are outliers (Iglewicz and Hoaglin 1993, How to detect and handle outliers)."""


def robust_z(values: Sequence[float], of: Sequence[float] | None = None) -> list[float | None]:
    """
    Distance of each value from the median, in robust standard deviations.

    The deviation is the median absolute deviation (MAD) times 1.4826, which of normal values is the standard deviation.

    Args:
        values: to be scored.
        of: values that say what is usual. Default: ``values`` themselves.

    Returns:
        one score for each value; None for all where there are fewer than :data:`FEWEST` in ``of``, or more than half of
        them are equal.
    """
    usual = np.asarray(values if of is None else of, float)
    if len(usual) < FEWEST:
        return [None] * len(values)
    deviation = float(median_abs_deviation(usual, scale="normal"))
    if deviation == 0:
        return [None] * len(values)
    middle = float(np.median(usual))
    return [(float(value) - middle) / deviation for value in values]
