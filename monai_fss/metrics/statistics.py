# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How sure a mean is, and a difference of two methods: confidence intervals, Wilcoxon's test, Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap, t, wilcoxon

__all__ = ["FEW", "Interval", "Test", "holm", "mean_interval", "wilcoxon_one_sided"]

FEW = 50
"""With fewer cases an interval must not be read without their number: its shape is guessed from little."""
_RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """Confidence intervals of a mean.

    Args:
        mean: of the values; nan where there is none.
        n: number of values, nan left out.
        t: lower and upper end by Student's t distribution; nan with fewer than three values.
        bca: the same by the bootstrap, bias-corrected and accelerated.
    """

    mean: float
    n: int
    t: tuple[float, float]
    bca: tuple[float, float]


@dataclass(frozen=True)
class Test:
    """Outcome of a one-sided Wilcoxon signed-rank test.

    Args:
        p: the p value; nan where there is no pair.
        n: number of pairs, those with a nan left out.
        n_nonzero: number of pairs that differ: only these enter the statistic.
        statistic: sum of the ranks of the positive differences.
    """

    __test__ = False  # pytest would collect a class of this name

    p: float
    n: int
    n_nonzero: int
    statistic: float


def wilcoxon_one_sided(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> Test:
    """One-sided Wilcoxon signed-rank test of "a is greater than b" on pairs.

    Pairs with a nan on either side are left out. Pairs without a difference are discarded (Wilcoxon's own method);
    the p value is exact up to 50 pairs without ties, else as scipy's ``method="auto"`` chooses.

    Args:
        a: one value for each query.
        b: one value for each of the same queries, in the same order.

    Returns:
        See :py:class:`Test`. Without any difference there is no evidence: ``p`` is 1. Without any pair ``p`` is nan.

    Raises:
        ValueError: where the numbers of values differ, or the values are no plain list.

    Source: the test of the ADNet paper's tables (one-sided Wilcoxon signed-rank tests, section 5).
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            f"a, b: the test needs two lists of one length, but their shapes are {first.shape} and {second.shape}. "
            "Give one value of each method for every query."
        )
    difference = first - second
    difference = difference[~np.isnan(difference)]
    n, n_nonzero = difference.size, int(np.count_nonzero(difference))
    if n_nonzero == 0:
        return Test(1.0 if n else math.nan, n, 0, 0.0)
    # Discarding the zeros here is zero_method="wilcox", and keeps the exact p value available.
    result = wilcoxon(difference[difference != 0], zero_method="wilcox", alternative="greater")
    return Test(float(result.pvalue), n, n_nonzero, float(result.statistic))


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Confidence intervals of the mean of independent values, such as one Dice score for each patient.

    By Student's t, which is right for values that are nearly normal, and by the bootstrap (9,999 resamples,
    bias-corrected and accelerated), which follows skewed ones; scores near 0 or 1 are. With fewer than :data:`FEW`
    values neither is worth much: say how many there are.

    Args:
        values: a nan (no value) is left out.
        confidence: Default 0.95.
        seed: of the resamples, so that a table is the same each time.

    Returns:
        See :class:`Interval`. Where all values are equal both ends are that value.

    Raises:
        ValueError: where the confidence is not between 0 and 1.

    Source: Efron, Better bootstrap confidence intervals, J. Am. Stat. Assoc. 82 (1987).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: {confidence} is not between 0 and 1.")
    data = np.asarray(values, dtype=float)
    data = data[~np.isnan(data)]
    mean, nothing = float(data.mean()) if data.size else math.nan, (math.nan, math.nan)
    if data.size < 3:
        return Interval(mean, data.size, nothing, nothing)
    if np.ptp(data) == 0:
        return Interval(mean, data.size, (mean, mean), (mean, mean))
    half = float(t.ppf((1 + confidence) / 2, data.size - 1) * data.std(ddof=1) / math.sqrt(data.size))
    own = bootstrap(
        (data,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=max(1, 1_000_000 // data.size),
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, data.size, (mean - half, mean + half), (float(own.low), float(own.high)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values of one family of tests by Holm's step-down method.

    The i-th smallest of m values becomes the largest of ``(m - j + 1) p_(j)`` over ``j <= i``, at most 1. It controls
    the chance of any false finding without assuming that the tests are independent.

    Args:
        p_values: one p value for each test; a nan (a test without data) stays nan and is not counted in m.

    Returns:
        The adjusted values in the order given.

    Raises:
        ValueError: where a value is outside 0..1.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979).
    """
    values = np.asarray(p_values, dtype=float)
    if np.any((values < 0) | (values > 1)):
        raise ValueError(f"p_values: {list(p_values)} holds a value outside 0..1. Give p values.")
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]
    adjusted = np.full(values.shape, math.nan)
    factors = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    return adjusted.tolist()
