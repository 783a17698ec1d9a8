# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Refinement by the query's own appearance, on volumes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from monai_fss.registration.refinement import AppearanceRefinement, signed_distance, winners

SPACING = (2.0, 2.0, 4.0)
SHAPE = (48, 48, 20)


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """Voxels within ``radius`` mm of a point in mm."""
    grid = np.stack(np.meshgrid(*[np.arange(n) * s for n, s in zip(SHAPE, SPACING, strict=True)], indexing="ij"), -1)
    return ((grid - np.asarray(centre)) ** 2).sum(-1) <= radius**2


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two organs of different brightness that touch, and their labels propagated 8 mm off."""
    truth = np.stack([ball((40, 48, 40), 18), ball((70, 48, 40), 14)])
    truth[1] &= ~truth[0]
    rng = np.random.default_rng(0)
    image = 0.2 + 0.3 * truth[0] + 0.6 * truth[1] + rng.normal(0, 0.03, SHAPE)
    moved = np.stack([ball((40, 56, 40), 18), ball((70, 56, 40), 14)])
    moved[1] &= ~moved[0]
    return np.clip(image, 0, 1).astype(np.float32), truth, moved.astype(np.float32)


def test_a_shifted_label_finds_its_organ(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, truth, moved = scene
    # 8 mm are nearly as far as the defaults let a boundary move, so appearance is given more weight here.
    refined = AppearanceRefinement(cap=3.0)(image, moved, SPACING)
    assert refined.dtype == np.float32 and refined.shape == moved.shape
    assert refined.min() >= 0 and refined.max() <= 1
    result = winners(refined)
    for way in range(2):
        assert dice(moved[way] > 0.5, truth[way]) < 0.75
        assert dice(result == way, truth[way]) > 0.9


def test_a_limit_bounds_how_far_a_boundary_moves(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, _, moved = scene
    result = winners(AppearanceRefinement(limit=3.0)(image, moved, SPACING))
    for way in range(2):
        distance = signed_distance(moved[way] > 0.5, SPACING)
        assert distance[result == way].min() >= -3.0
        others = (result != way) & (result >= 0)
        assert not ((distance > 3.0) & ~(result == way) & ~others).any()


def test_no_rounds_and_plain_images_change_nothing(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, _, moved = scene
    np.testing.assert_array_equal(AppearanceRefinement(rounds=0)(image, moved, SPACING), moved)
    # Where the image says nothing the ratio is 0 and the propagated boundary stays.
    flat = np.full_like(image, 0.5)
    np.testing.assert_array_equal(winners(AppearanceRefinement()(flat, moved, SPACING)), winners(moved))


def test_an_organ_that_was_not_propagated_stays_absent(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, truth, moved = scene
    moved[1] = 0.1
    refined = AppearanceRefinement()(image, moved, SPACING)
    np.testing.assert_array_equal(refined[1], moved[1])
    assert dice(winners(refined) == 0, truth[0]) > 0.9


def test_evidence_is_added_to_the_log_odds(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, truth, moved = scene
    flat = np.full_like(image, 0.5)
    evidence = np.where(truth, 20.0, -20.0).astype(np.float32)
    refined = winners(AppearanceRefinement()(flat, moved, SPACING, evidence))
    for way in range(2):
        assert dice(refined == way, truth[way]) == 1.0
    weak = AppearanceRefinement(evidence_weight=0.0)(flat, moved, SPACING, evidence)
    np.testing.assert_array_equal(winners(weak), winners(moved))


def test_permuting_the_ways_permutes_the_result(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, _, moved = scene
    one = AppearanceRefinement()(image, moved, SPACING)
    other = AppearanceRefinement()(image, moved[::-1], SPACING)
    np.testing.assert_allclose(other[::-1], one, atol=1e-6)


def test_signed_distance_against_a_half_space() -> None:
    mask = np.zeros((10, 4, 4), bool)
    mask[4:] = True
    # To the nearest voxel of the other kind: 1 step of 2 mm on either side of the border.
    np.testing.assert_allclose(signed_distance(mask, SPACING)[:, 0, 0], [-8, -6, -4, -2, 2, 4, 6, 8, 10, 12])
    assert (signed_distance(np.zeros((2, 2, 2), bool), SPACING) == -np.inf).all()
    assert (signed_distance(np.ones((2, 2, 2), bool), SPACING) == np.inf).all()


def test_refusals(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    image, _, moved = scene
    with pytest.raises(ValueError, match=r"image \(48, 48, 19\) and probabilities \(2, 48, 48, 20\) do not match"):
        AppearanceRefinement()(image[..., :-1], moved, SPACING)
    with pytest.raises(ValueError, match="tau 0.0"):
        AppearanceRefinement(tau=0.0)
