# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The body mask on generated slices."""

from __future__ import annotations

import numpy as np
import pytest

from monai_fss.transforms import foreground_mask


def body() -> tuple[np.ndarray, np.ndarray]:
    """A slice with a body, a hole in it and a smaller bright spot outside; and the mask wanted."""
    image = np.zeros((20, 20))
    image[3:12, 4:14] = 100
    wanted = image > 0
    image[6:8, 6:9] = 0
    image[16:18, 16:18] = 255
    return image, wanted


def test_largest_region_with_holes_filled() -> None:
    image, wanted = body()
    np.testing.assert_array_equal(foreground_mask(image), wanted)


def test_each_slice_by_itself_and_empty_slices_stay_empty() -> None:
    image, wanted = body()
    volume = np.stack([image, np.zeros_like(image), image.T], axis=-1)
    found = foreground_mask(volume)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, np.stack([wanted, np.zeros_like(wanted), wanted.T], axis=-1))


def test_slices_share_the_range_of_the_volume() -> None:
    image, wanted = body()
    faint = np.where(wanted, 5.0, 0.0)
    found = foreground_mask(np.stack([image, faint], axis=-1))
    assert found[..., 0].any()
    assert not found[..., 1].any()
    assert foreground_mask(np.stack([image, faint], axis=-1), threshold=4)[..., 1].sum() == wanted.sum()


def test_hounsfield_units_and_scaling_change_nothing() -> None:
    image, wanted = body()
    np.testing.assert_array_equal(foreground_mask((image * 8 - 1024).astype(np.int16)), wanted)


def test_threshold_is_exclusive_and_on_the_rescaled_range() -> None:
    image = np.array([[0, 10, 11, 255]], float)
    np.testing.assert_array_equal(foreground_mask(image), [[False, False, True, True]])
    np.testing.assert_array_equal(foreground_mask(image * 3 + 7, threshold=11), [[False, False, False, True]])


def test_corners_connect() -> None:
    image = np.zeros((6, 6))
    image[0, 0] = image[1, 1] = image[2, 2] = 1
    image[4, 4] = image[4, 5] = 1
    assert np.argwhere(foreground_mask(image)).tolist() == [[0, 0], [1, 1], [2, 2]]


def test_constant_image_has_no_foreground() -> None:
    assert not foreground_mask(np.full((4, 4, 2), 9)).any()


@pytest.mark.parametrize(
    ("image", "threshold", "message"),
    [
        (np.zeros(4), 10, r"image: shape \(4,\). Pass"),
        (np.zeros((0, 4)), 10, "non-empty"),
        (np.array([[np.nan, 1]]), 10, "NaN or infinite voxels. Replace"),
        (np.eye(3), 255, "threshold: 255 is outside 0..255"),
        (np.eye(3), -1, "threshold: -1 is outside"),
    ],
)
def test_errors(image: np.ndarray, threshold: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        foreground_mask(image, threshold)
