# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Medoid and farthest-first ranking against brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from monai_fss.metrics import coverage, farthest_first, medoid, nearest_to_average

LINE = np.array([0.0, 1.0, 2.0, 4.0, 10.0])


def distances_of(points: np.ndarray) -> np.ndarray:
    points = points.reshape(len(points), -1)
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def test_a_line_is_ranked_as_by_hand() -> None:
    ranking = farthest_first(distances_of(LINE))
    # sums of distances: 17, 14, 13, 15, 33; then 10 is 8 away from 2; 0 and 4 are both 2 away: the first goes first
    assert [choice.index for choice in ranking] == [2, 4, 0, 3, 1]
    assert math.isnan(ranking[0].nearest)
    assert [choice.nearest for choice in ranking[1:]] == [8, 2, 2, 1]
    assert [choice.largest for choice in ranking] == [8, 2, 2, 1, 0]
    np.testing.assert_allclose([choice.mean for choice in ranking], np.array([13, 5, 3, 1, 0]) / 5)


def test_those_chosen_already_count_but_are_not_ranked() -> None:
    ranking = farthest_first(distances_of(LINE), chosen=[4, 4], count=2)
    assert [choice.index for choice in ranking] == [0, 3]
    assert [choice.nearest for choice in ranking] == [10, 4]
    np.testing.assert_array_equal(coverage(distances_of(LINE), [4, 0]), [0, 1, 2, 4, 0])
    assert farthest_first(distances_of(LINE), chosen=range(5)) == []


@pytest.mark.parametrize("seed", range(5))
def test_against_brute_force(seed: int) -> None:
    points = np.random.default_rng(seed).normal(size=(9, 3))
    matrix = distances_of(points)
    order = [choice.index for choice in farthest_first(matrix)]
    assert sorted(order) == list(range(9))
    assert order[0] == min(range(9), key=lambda i: sum(matrix[i, j] for j in range(9)))
    for step in range(1, 9):
        before, rest = order[:step], order[step:]
        assert rest[0] == max(rest, key=lambda i: min(matrix[i, j] for j in before))
    for step, choice in enumerate(farthest_first(matrix), 1):
        reach = [min(matrix[i, j] for j in order[:step]) for i in range(9)]
        assert (choice.mean, choice.largest) == pytest.approx((sum(reach) / 9, max(reach)))
        best = min(
            max(min(matrix[i, j] for j in some) for i in range(9)) for some in itertools.combinations(range(9), step)
        )
        assert choice.largest <= 2 * best + 1e-12


def test_the_medoid_of_squared_distances_is_closest_to_the_average() -> None:
    for seed in range(20):
        points = np.random.default_rng(seed).normal(size=(12, 4))
        closest = np.argmin(np.linalg.norm(points - points.mean(0), axis=1))
        assert medoid(distances_of(points) ** 2) == closest


def test_ties_and_single_examples() -> None:
    assert [choice.index for choice in farthest_first(1.0 - np.eye(4))] == [0, 1, 2, 3]
    (only,) = farthest_first(np.zeros((1, 1)))
    assert (only.index, only.mean, only.largest) == (0, 0, 0)


def test_errors() -> None:
    good = distances_of(LINE)
    with pytest.raises(ValueError, match=r"their shape is \(2, 3\)"):
        medoid(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="negative or not finite"):
        medoid(np.array([[0, math.nan], [math.nan, 0]]))
    with pytest.raises(ValueError, match="not symmetric, or not 0"):
        medoid(np.array([[0.0, 1], [2, 0]]))
    with pytest.raises(ValueError, match="not symmetric, or not 0"):
        medoid(np.ones((2, 2)))
    with pytest.raises(ValueError, match="count: 0 is less than 1"):
        farthest_first(good, count=0)
    with pytest.raises(ValueError, match=r"chosen: \[5\] are not indices of 5 examples"):
        farthest_first(good, chosen=[5])
    with pytest.raises(ValueError, match=r"chosen: \[\] are not"):
        coverage(good, [])


def test_the_mask_nearest_to_the_average_has_the_greatest_soft_dice() -> None:
    """Rows of 10 voxels: [0, 4), [2, 6), [5, 9). Of the means the second has most: 4 of its 12 sums are shared."""
    masks = [np.array([first <= i < first + 4 for i in range(10)], np.uint8) * 255 for first in (0, 2, 5)]
    mean = np.mean(masks, axis=0) / 255
    dice = [2 * (mask / 255 * mean).sum() / (4 + mean.sum()) for mask in masks]
    np.testing.assert_allclose(dice, np.array([4 + 2, 4 + 2 + 1, 4 + 1]) / 12)
    assert nearest_to_average(masks) == 1 and nearest_to_average(masks[::2]) == 0, "the first of equal ones"
    large = [np.ones(10), *masks]
    assert nearest_to_average(large) == 2, "size counts: all of it is not the average"
    with pytest.raises(ValueError, match="2 of them, and none has a voxel"):
        nearest_to_average([np.zeros(3), np.zeros(3)])
