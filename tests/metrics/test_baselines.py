# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The two baselines without learning, against brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from monai_fss.metrics.baselines import affine_moved_mask, best_threshold_interval, best_threshold_mask, body_mask


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("seed", range(5))
def test_threshold_is_as_good_as_trying_every_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 40, (8, 8, 4))
    label = (np.abs(image - 20) < 6) ^ (rng.random(image.shape) < 0.15)
    best = max(dice((image >= a) & (image <= b), label) for a in range(40) for b in range(a, 40))
    assert dice(best_threshold_mask(image, label, image), label) == pytest.approx(best)


def test_threshold_fitted_on_the_support_is_applied_to_the_query() -> None:
    support = np.asarray([[[1.0, 5.0, 6.0, 9.0]]])
    low, high = best_threshold_interval(support, (support > 4) & (support < 8))
    assert (low, high) == (5, 6)
    query = np.asarray([[[4.9, 5.0], [5.5, 6.1]]])
    np.testing.assert_array_equal(best_threshold_mask(support, support == 5, query), query == 5)
    np.testing.assert_array_equal(best_threshold_mask(support, (support > 4) & (support < 8), query)[0, :, 0], [0, 1])


def body(low: tuple[int, ...], size: tuple[int, ...], shape: tuple[int, ...] = (40, 40, 12)) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 10, shape)
    image[tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))] = 300
    return image


def test_body_is_the_largest_bright_component_without_holes() -> None:
    image = body((5, 6, 2), (20, 16, 8))
    image[10:14, 10:14] = 0
    image[36:38, 36:38] = 300  # the table
    expected = np.zeros(image.shape, bool)
    expected[5:25, 6:22, 2:10] = True
    np.testing.assert_array_equal(body_mask(image), expected)


def test_suppressed_fat_belongs_to_the_body() -> None:
    image = body((5, 5, 0), (30, 30, 12))
    image[5:35, 5:35] = 90
    image[12:28, 12:28] = 600
    assert body_mask(image).sum() == 30 * 30 * 12


def test_mask_moves_and_scales_with_the_body() -> None:
    support, query = body((4, 6, 2), (10, 12, 8)), body((9, 3, 1), (20, 24, 8), (44, 40, 10))
    label = np.zeros(support.shape, np.uint8)
    label[6:9, 8:13, 4:6] = 1  # 2 to 5 voxels from the body's corner along the first axis, and so on
    expected = np.zeros(query.shape, bool)
    expected[13:19, 7:17, 3:5] = True
    np.testing.assert_array_equal(affine_moved_mask(support, label, query), expected)


def test_mask_pasted_into_its_own_scan_is_itself() -> None:
    image = body((3, 5, 1), (30, 25, 9))
    label = np.random.default_rng(1).random(image.shape) > 0.9
    np.testing.assert_array_equal(affine_moved_mask(image, label, image), label)


@pytest.mark.parametrize("method", [best_threshold_mask, affine_moved_mask])
def test_refusals(method) -> None:
    image = body((3, 5, 1), (30, 25, 9))
    with pytest.raises(ValueError, match=r"image \(40, 40, 12\) and label \(2, 2\) differ in shape. Give a pair"):
        method(image, np.ones((2, 2)), image)
    with pytest.raises(ValueError, match="the label has no voxel. Give a labelled support"):
        method(image, np.zeros(image.shape), image)


def test_constant_image_has_no_body() -> None:
    with pytest.raises(ValueError, match="all voxels are 7, there is no body"):
        body_mask(np.full((4, 4, 4), 7))
