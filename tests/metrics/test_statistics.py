# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Tests of significance against enumeration and an example by hand, intervals against their definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from monai_fss.metrics import holm, mean_interval, wilcoxon_one_sided


def enumerated(difference: np.ndarray) -> float:
    """P(sum of positive ranks >= the observed one) over all signs."""
    ranks = np.argsort(np.argsort(np.abs(difference))) + 1
    observed = ranks[difference > 0].sum()
    sums = [
        sum(r for r, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    return float(np.mean(np.asarray(sums) >= observed))


@pytest.mark.parametrize("seed", range(3))
def test_wilcoxon_by_enumeration(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random(9) + 0.2, rng.random(9)
    test = wilcoxon_one_sided(a, b)
    assert test.p == pytest.approx(enumerated(a - b))
    assert (test.n, test.n_nonzero) == (9, 9)


def test_five_out_of_five_and_the_direction() -> None:
    a, b = [0.9, 0.8, 0.7, 0.6, 0.5], [0.8, 0.6, 0.4, 0.2, 0.0]
    assert wilcoxon_one_sided(a, b).p == pytest.approx(1 / 32)
    assert wilcoxon_one_sided(a, b).statistic == 15
    assert wilcoxon_one_sided(b, a).p == 1.0


def test_nan_pairs_are_dropped_and_zeros_counted() -> None:
    a = [0.9, math.nan, 0.7, 0.6, 0.5, 0.3]
    b = [0.8, 0.6, math.nan, 0.2, 0.0, 0.3]
    test = wilcoxon_one_sided(a, b)
    assert (test.n, test.n_nonzero) == (4, 3)
    assert test.p == pytest.approx(1 / 8)


def test_without_a_difference_or_a_pair() -> None:
    same = wilcoxon_one_sided([0.5, 0.6], [0.5, 0.6])
    assert (same.p, same.n, same.n_nonzero) == (1.0, 2, 0)
    none = wilcoxon_one_sided([math.nan], [0.6])
    assert math.isnan(none.p)
    assert none.n == 0


def test_unequal_lists() -> None:
    with pytest.raises(ValueError, match=r"shapes are \(2,\) and \(3,\)"):
        wilcoxon_one_sided([1, 2], [1, 2, 3])


def test_holm_by_hand() -> None:
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 = 0.02, 0.03, 0.06, 0.04 -> the last is held at 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_bounds_and_nan() -> None:
    assert holm([]) == []
    assert holm([0.7, 0.8]) == [1.0, 1.0]
    adjusted = holm([0.02, math.nan, 0.5])
    assert adjusted[0] == pytest.approx(0.04)
    assert math.isnan(adjusted[1])
    assert adjusted[2] == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        holm([0.5, 1.5])


def test_interval_by_students_t() -> None:
    """Mean 2, standard deviation 1 of three values: 4.3027 (t of two degrees of freedom) times 1 / sqrt(3)."""
    found = mean_interval([1.0, 2.0, math.nan, 3.0])
    assert (found.mean, found.n) == (2.0, 3)
    assert found.t == pytest.approx((2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), abs=1e-4)
    assert mean_interval([1.0, 2.0, 3.0], confidence=0.5).t[1] == pytest.approx(2 + 0.81650 / math.sqrt(3), abs=1e-4)


def test_bootstrap_interval_holds_the_mean_as_often_as_it_says() -> None:
    """Of skewed values, 80 % intervals; of 60 samples 48 are expected, with a standard deviation of 3.1."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        low, high = mean_interval(rng.exponential(size=40), confidence=0.8).bca
        held += low <= 1 <= high
    assert 38 <= held <= 57
    values = rng.exponential(size=40)
    assert mean_interval(values) == mean_interval(values)
    low, high = mean_interval(values).bca
    assert high - values.mean() > values.mean() - low  # longer on the side of the tail


def test_intervals_of_few_and_of_equal_values() -> None:
    assert mean_interval([0.5, 0.5, 0.5]).bca == mean_interval([0.5] * 3).t == (0.5, 0.5)
    assert all(math.isnan(end) for end in (*mean_interval([0.1, 0.9]).t, *mean_interval([]).bca))
    with pytest.raises(ValueError, match="confidence: 95 is not between 0 and 1"):
        mean_interval([0.1, 0.9], confidence=95)
