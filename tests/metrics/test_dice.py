# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The strict Dice score against counts by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from monai_fss.metrics import Score, score, strict_dice


def cube(start: int, stop: int, size: int = 12) -> np.ndarray:
    mask = np.zeros((size, size, size), dtype=bool)
    mask[start:stop, start:stop, start:stop] = True
    return mask


def test_dice_of_two_cubes_by_hand() -> None:
    # 6^3 and 4^3 voxels, the smaller one inside
    assert strict_dice(cube(2, 8), cube(3, 7)) == pytest.approx(2 * 64 / (216 + 64))
    assert strict_dice(cube(2, 8), cube(2, 8)) == 1.0
    assert strict_dice(cube(0, 3), cube(6, 9)) == 0.0


def test_dice_agrees_with_a_voxel_loop() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        prediction, truth = rng.random((2, 5, 4, 3)) > 0.6
        both = either = 0
        for p, t in zip(prediction.ravel(), truth.ravel(), strict=True):
            both += int(p and t)
            either += int(p) + int(t)
        assert strict_dice(prediction, truth) == pytest.approx(2 * both / either)


def test_torch_and_integer_masks_are_the_same() -> None:
    a, b = cube(2, 8), cube(3, 9)
    expected = strict_dice(a, b)
    assert strict_dice(torch.from_numpy(a), torch.from_numpy(b)) == expected
    assert strict_dice(torch.from_numpy(a).float(), b.astype(np.uint8)) == expected


def test_absent_organ() -> None:
    empty = np.zeros((12, 12, 12), dtype=bool)
    assert math.isnan(strict_dice(empty, empty))
    assert strict_dice(cube(2, 4), empty) == 0.0
    assert strict_dice(empty, cube(2, 4)) == 0.0


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 4, 4\).*\(3, 4, 4\).*same voxel grid"):
        strict_dice(np.ones((1, 4, 4), dtype=bool), np.ones((3, 4, 4), dtype=bool))
    with pytest.raises(ValueError, match=r"\(1, 4, 4\).*\(3, 4, 4\)"):
        score(np.ones((1, 4, 4), dtype=int), np.ones((3, 4, 4), dtype=int), (1, 1, 1))


def test_probability_maps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction: .* 8 voxels differ, such as 0\.25\. Threshold"):
        strict_dice(np.full((2, 2, 2), 0.25), np.ones((2, 2, 2), dtype=bool))


def test_states_and_values_of_four_classes() -> None:
    truth, prediction = np.zeros((2, 12, 12, 12), dtype=np.uint8)
    truth[cube(2, 8)] = 1
    prediction[cube(3, 7)] = 1
    prediction[0, 0, 0] = 2  # 2 is not in the truth
    truth[11, 11, 11] = 3  # 3 is not predicted
    scores = {v: score(torch.from_numpy(prediction == v), truth == v, (1.0, 1.0, 2.0)) for v in (1, 2, 3, 4)}
    assert scores[1].state == "scored"
    assert scores[1].dice == pytest.approx(2 * 64 / (216 + 64))
    assert 0 < scores[1].assd <= scores[1].hd95 <= math.sqrt(1 + 1 + 4) + 1e-6
    assert scores[2].state == "absent_predicted"
    assert scores[2].dice == 0.0
    assert scores[3].state == "scored"
    assert scores[3].dice == 0.0
    assert scores[4].state == "absent"
    assert math.isnan(scores[4].dice)
    for value in (2, 3, 4):
        assert math.isnan(scores[value].hd95)
        assert math.isnan(scores[value].assd)


def test_perfect_score() -> None:
    assert score(cube(2, 8), cube(2, 8), (1, 1, 1)) == Score(1.0, 0.0, 0.0, "scored", 1.0)
