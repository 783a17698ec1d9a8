# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What grew beside an organ is taken away, what is of it stays."""

from __future__ import annotations

import numpy as np
import pytest

from monai_fss.transforms import remove_leaks


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bright block in a dark ground: image, what grew (the block), scribbles (a line; 9: background)."""
    mask = np.zeros((20, 20, 12), np.int16)
    mask[4:12, 4:14, 3:9] = 1
    image = np.where(mask == 1, 0.6, 0.2).astype(np.float32)
    scribbles = np.zeros_like(mask)
    scribbles[8, 5:13, 6], scribbles[17, :, 6] = 1, 9
    return image, mask, scribbles


def test_what_is_unlike_the_scribbles_goes() -> None:
    image, block, scribbles = scene()
    leaked = block.copy()
    leaked[12:18, 6:12, 4:8] = 1  # into the ground
    kept = remove_leaks(leaked, image, scribbles)
    assert kept.dtype == leaked.dtype and not kept[12:].any()
    assert not (kept & ~block).any() and (block != kept).sum() < 100, "edges alone are rounded"
    image[12:18] = 0.65  # within 0.1 of the scribbles, it could be of the organ
    assert remove_leaks(leaked, image, scribbles)[13:17, 7:11, 5:7].all()
    assert not remove_leaks(leaked, image, scribbles, tolerance=0.04)[12:].any()


def test_a_bridge_breaks_and_what_lies_beyond_goes() -> None:
    image, leaked, scribbles = scene()
    leaked[12:15, 8:10, 5:7], leaked[15:19, 4:14, 3:9] = 1, 1
    kept = remove_leaks(leaked, np.full_like(image, 0.6), scribbles)
    assert kept[5:11, 5:13, 4:8].all() and not kept[13:].any()


def test_a_few_points_astray_do_not_count() -> None:
    image, leaked, scribbles = scene()
    leaked[12:18, 6:12, 4:8] = 1
    astray = scribbles.copy()
    astray[8, 12, 6], astray[14, 8, 6] = 0, 1  # one of eight in the ground
    image[14, 8, 6] = 0.2
    low = np.percentile([0.2] + [0.6] * 7, 10)
    assert low - 0.1 > 0.2
    assert np.array_equal(remove_leaks(leaked, image, astray), remove_leaks(leaked, image, scribbles))


def test_holes_are_filled_but_with_no_other_class() -> None:
    image, mask, scribbles = scene()
    mask[mask == 1], scribbles[scribbles == 1] = 5, 0
    scribbles[5, 5:13, 6] = 5
    image[7:10, 6:8, 5:7] = 1.0  # a vessel
    mask[6:9, 10:13, 4:8], scribbles[7, 11, 5] = 2, 2
    kept = remove_leaks(mask, image, scribbles)
    assert (kept[7:10, 6:8, 5:7] == 5).all()
    assert kept[7, 11, 5] == 2 and kept[7, 11, 6] == 2 and (kept[6:9, 10:13, 4:8] == 2).sum() > 10


def test_a_hole_is_of_the_class_around_it() -> None:
    """A class within another one, with a hole of its own, whichever value is larger."""
    for outer, inner in ((1, 2), (2, 1)):
        mask = np.zeros((17, 17, 17), np.int16)
        mask[1:16, 1:16, 1:16], mask[4:13, 4:13, 4:13], mask[8, 8, 8] = outer, inner, 0
        kept = remove_leaks(mask, mask.astype(float), np.zeros_like(mask))
        assert kept[8, 8, 8] == inner and kept[8, 8, 2] == outer


def test_each_piece_that_was_scribbled_stays() -> None:
    mask, scribbles = np.zeros((30, 12, 12), np.int16), np.zeros((30, 12, 12), np.int16)
    mask[2:12, 2:10, 2:10], mask[16:24, 2:10, 2:10], mask[27:30, 2:6, 2:6] = 1, 1, 1
    scribbles[5, 3:9, 5], scribbles[18, 3:9, 5], scribbles[28, 4, 4] = 1, 1, 1
    kept = remove_leaks(mask, mask.astype(float), scribbles)
    assert kept[4:10, 4:8, 4:8].all() and kept[18:22, 4:8, 4:8].all()
    assert not kept[27:].any(), "one point of 13 is astray"


def test_a_thin_organ_is_not_opened() -> None:
    mask, scribbles = np.zeros((30, 14, 14), np.int16), np.zeros((30, 14, 14), np.int16)
    mask[2:27, 6:8, 6:8], mask[24:28, 4:10, 4:10] = 1, 1  # with a leak at its end
    scribbles[3:16, 6, 6] = 1
    assert remove_leaks(mask, mask.astype(float), scribbles)[2:24, 6:8, 6:8].all()


def test_a_step_that_would_leave_nothing_is_not_taken() -> None:
    image, mask, scribbles = scene()
    thin = np.where(np.arange(12) == 6, mask, 0).astype(mask.dtype)
    assert np.array_equal(remove_leaks(thin, image, scribbles), thin)
    assert remove_leaks(mask, image, np.zeros_like(scribbles)).any(), "without scribbles there is nothing to compare"
    assert not remove_leaks(np.zeros_like(mask), image, scribbles).any()
    plane = remove_leaks(mask[:, :, 6], image[:, :, 6], scribbles[:, :, 6])
    assert plane.shape == (20, 20) and plane[5:11, 5:13].all()


def test_arguments_are_checked() -> None:
    image, mask, scribbles = scene()
    with pytest.raises(ValueError, match=r"image \(20, 20, 11\) and scribbles .* must have one shape"):
        remove_leaks(mask, image[..., 1:], scribbles)
    with pytest.raises(ValueError, match="and tolerance -1 be at least 0"):
        remove_leaks(mask, image, scribbles, -1)
