# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Votes that keep volumes: against counts by hand, and where a majority loses an organ."""

from __future__ import annotations

import numpy as np
import pytest

from monai_fss.registration import volume_preserving_vote

SHAPE, SPACING = (24, 16, 8), (2.0, 2.0, 4.0)


def box(start: int, width: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.float32)
    mask[start : start + width, 4:12, 2:6] = 1
    return mask


def fuse(*ways: list[np.ndarray], shown: np.ndarray | None = None) -> np.ndarray:
    masks = np.stack(ways, 1)
    return volume_preserving_vote(masks, np.ones(masks.shape[:2], bool) if shown is None else shown, SPACING)


def test_one_atlas_is_as_it_is() -> None:
    mask = box(5, 4) * 0.7
    np.testing.assert_array_equal(fuse([mask])[0], mask)


@pytest.mark.parametrize("widths", [(4, 4, 4), (3, 5, 7), (1, 2, 9)])
def test_the_volume_is_the_mean_of_the_volumes(widths: tuple[int, int, int]) -> None:
    fused = fuse([box(start, width) for start, width in zip((6, 8, 9), widths, strict=True)])[0]
    wanted = round(np.mean(widths) * 8 * 4)
    assert fused.dtype == np.float32 and fused.min() >= 0 and fused.max() <= 1
    # Voxels that mirror one another are equal, and in or out together.
    assert abs(int((fused > 0.5).sum()) - wanted) <= 8 * 4 / 2


def test_a_thin_organ_that_never_overlaps_is_kept_between_its_places() -> None:
    thin = [box(8, 2), box(11, 2), box(14, 2)]
    assert not (np.mean(thin, 0) > 0.5).any(), "a majority loses it"
    places = np.flatnonzero((fuse(thin)[0] > 0.5).any((1, 2)))
    assert places.size and places.min() >= 8 and places.max() < 16


def test_who_does_not_show_an_organ_does_not_vote() -> None:
    shown = np.array([[True, True], [True, False]])
    fused = fuse([box(5, 4), box(5, 4)], [box(12, 4), box(0, 0)], shown=shown)
    np.testing.assert_array_equal(fused[1], box(12, 4))
    nobody = fuse([box(5, 4)], [box(0, 0)], shown=np.array([[True, False]]))
    assert not nobody[1].any()


def test_what_lies_outside_stays_small() -> None:
    edge = box(5, 4) * 0.3
    assert fuse([edge, edge])[0].max() < 0.5


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"masks \(2, 3, 4\), shown \(1, 1\), spacing 3: do not fit"):
        volume_preserving_vote(np.zeros((2, 3, 4)), np.ones((1, 1), bool), SPACING)
