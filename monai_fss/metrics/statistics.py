# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Significance of a difference between two methods: the one-sided Wilcoxon test and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

__all__ = ["Test", "holm", "wilcoxon_one_sided"]


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
