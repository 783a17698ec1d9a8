# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Robust scores by hand."""

from __future__ import annotations

import pytest

from monai_fss.metrics import robust_z


def test_scores_are_by_median_and_mad() -> None:
    """Median 12, absolute deviations 2, 1, 0, 1, 88: their median 1, times 1.4826 one robust deviation."""
    assert robust_z([10, 11, 12, 13, 100]) == pytest.approx(
        [-2 / 1.4826, -1 / 1.4826, 0, 1 / 1.4826, 88 / 1.4826], rel=1e-4
    )
    assert robust_z([0.0], [10, 11, 12, 13, 100]) == pytest.approx([-12 / 1.4826], rel=1e-4)


def test_nothing_is_said_of_few_values_or_of_equal_ones() -> None:
    assert robust_z([1, 2, 3, 4]) == [None] * 4
    assert robust_z([7, 7, 7, 7, 9]) == [None] * 5
    assert robust_z([1.0, 2.0], []) == [None, None]
