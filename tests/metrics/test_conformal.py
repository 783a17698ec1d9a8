# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The interval about a quality score, by hand and by how often it holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_fss.metrics import conformal_interval, conformal_radius, coverage_left_out


def test_the_radius_is_an_order_statistic() -> None:
    """Nine differences 0.01 .. 0.09: k = ceil(10 x 0.9) = 9; of eight it would be the ninth."""
    off = np.arange(1, 10) / 100
    assert conformal_radius(0.5 + off, [0.5] * 9) == pytest.approx(0.09)
    assert conformal_radius([*(0.5 - off), math.nan], [0.5] * 10) == pytest.approx(0.09)
    assert conformal_radius((0.5 + off)[:8], [0.5] * 8) == math.inf
    assert conformal_radius(0.5 + off, [0.5] * 9, coverage=0.5) == pytest.approx(0.05)


def test_interval_stays_within_a_dice_score() -> None:
    assert conformal_interval(0.5, 0.2) == pytest.approx((0.3, 0.7))
    assert conformal_interval(0.9, 0.2) == pytest.approx((0.7, 1.0))
    assert conformal_interval(0.5, math.inf) == (0.0, 1.0)


def test_it_holds_as_often_as_it_says_whatever_the_score_is_worth() -> None:
    """2,000 draws of 19 checked masks and one more; the score errs to one side, by up to 0.4: 90 % and not more."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        dices = rng.uniform(0.4, 1, 20)
        scores = dices - rng.beta(1, 4, 20) * 0.4
        held += abs(scores[-1] - dices[-1]) <= conformal_radius(scores[:-1], dices[:-1])
    assert 0.88 <= held / 2000 <= 0.92


def test_a_scan_is_no_evidence_for_itself() -> None:
    """Nine masks of one scan differ by 0; the one of another scan by 0.3, and it is never held."""
    scores, dices, scans = [0.5] * 9 + [0.5], [0.5] * 9 + [0.8], ["a"] * 9 + ["b"]
    assert coverage_left_out(scores, dices, scans) == (0.0, 1)  # of "a" there is one other mask, which is too few
    share, count = coverage_left_out([0.5] * 20, [0.5] * 19 + [0.9], list(range(20)))
    assert (share, count) == (0.95, 20)
    assert math.isnan(coverage_left_out([0.5], [0.5], ["a"])[0])


def test_errors() -> None:
    with pytest.raises(ValueError, match="coverage: 90 is not between 0 and 1"):
        conformal_radius([0.5], [0.5], coverage=90)
    with pytest.raises(ValueError, match=r"their shapes are \(1,\) and \(2,\)"):
        conformal_radius([0.5], [0.5, 0.6])
    with pytest.raises(ValueError, match="scans: 1 for 2 scores"):
        coverage_left_out([0.5, 0.5], [0.5, 0.5], ["a"])
