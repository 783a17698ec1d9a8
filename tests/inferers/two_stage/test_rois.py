# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Regions of small organs, each way of finding one, on maps of a few voxels."""

from __future__ import annotations

import numpy as np
import pytest

from monai_fss.inferers.two_stage.rois import Roi, box_on, mean_box, select_roi, smallest_box
from monai_fss.registration import Grid

USUAL = np.array([[0.25, 0.25, 0.25], [0.5, 0.5, 0.5]])
SPACING = (4.0, 4.0, 2.0)


def at(value: float, *places: tuple[int, int, int]) -> np.ndarray:
    volume = np.zeros((20, 20, 20), np.float32)
    for place in places:
        volume[place] = value
    return volume


def chosen(probability: np.ndarray, prior: np.ndarray | None) -> Roi:
    return select_roi(probability, prior, 0.2, 8.0, SPACING, USUAL)


def test_without_a_prior_it_is_the_box_of_the_coarse_map_with_a_margin_in_mm() -> None:
    roi = chosen(at(0.6, (5, 5, 10), (8, 6, 12), (1, 1, 1)) * (at(1, (5, 5, 10), (8, 6, 12)) > 0), None)
    assert (roi.low.tolist(), roi.high.tolist()) == ([3, 3, 6], [11, 9, 17])
    assert roi.text == "region by coarse map" and roi.slices == (slice(3, 11), slice(3, 9), slice(6, 17))


def test_the_prior_takes_what_lies_elsewhere_away() -> None:
    probability = at(0.6, (10, 10, 10), (1, 1, 1))
    roi = chosen(probability, at(0.5, (10, 10, 10), (15, 15, 15)))
    assert (roi.low.tolist(), roi.high.tolist()) == ([8, 8, 6], [13, 13, 15])
    assert roi.source == "coarse map and prior" and not roi.note
    assert chosen(probability, None).low.tolist() == [0, 0, 0]


def test_where_the_coarse_map_shows_nothing_the_prior_decides_and_then_the_usual_place() -> None:
    nothing = at(0.1, (5, 5, 5))
    roi = chosen(nothing, at(0.5, (15, 15, 15)))
    assert roi.low.tolist() == [13, 13, 11] and "prior alone" in roi.source
    roi = chosen(nothing, at(0.1, (15, 15, 15)))
    assert (roi.low.tolist(), roi.high.tolist()) == ([3, 3, 1], [12, 12, 14])
    assert roi.text == "region by usual place, since the coarse map shows nothing; the prior shows nothing"
    assert "usual place, since the coarse map" in chosen(nothing, None).text
    roi = chosen(at(0.6, (5, 5, 10)), at(0.1, (15, 15, 15)))
    assert roi.low.tolist() == [3, 3, 6] and roi.text == "region by coarse map; the prior shows nothing"


@pytest.mark.parametrize("elsewhere", [0.0, 0.6])
def test_what_the_coarse_stage_was_sure_of_is_not_removed_without_a_word(elsewhere: float) -> None:
    probability = at(0.95, (10, 10, 10)) + at(elsewhere, (2, 2, 2))
    roi = chosen(probability, at(0.9, (2, 2, 2)))
    assert roi.low.tolist() == [0, 0, 0] and roi.high.tolist() == [13, 13, 15], "both places"
    assert roi.source == "prior and coarse map" and "was taken in" in roi.note and roi.note in roi.text
    assert not chosen(at(0.85, (10, 10, 10)), at(0.9, (10, 10, 10))).note


def test_of_what_the_coarse_stage_was_sure_of_elsewhere_the_largest_piece_counts() -> None:
    sure = at(0.95, (10, 10, 10), (10, 10, 11), (17, 17, 17))
    roi = chosen(sure, at(0.4, (8, 8, 8)))
    assert (roi.low.tolist(), roi.high.tolist()) == ([6, 6, 4], [13, 13, 16]), "around both; not as far as 17"


def test_a_small_part_in_the_coarse_map_does_not_take_the_rest_of_the_prior_away() -> None:
    prior = at(0.9, (5, 5, 5), (10, 10, 10)) + at(0.4, (15, 15, 15))
    roi = chosen(at(0.6, (10, 10, 10)), prior)
    assert (roi.low.tolist(), roi.high.tolist()) == ([3, 3, 1], [13, 13, 15]), "0.4 alone is no place"
    assert roi.text == "region by coarse map and prior"


def test_boxes() -> None:
    box = smallest_box(at(1, (2, 3, 4), (5, 3, 9)) > 0)
    assert box is not None and (box[0].tolist(), box[1].tolist()) == ([2, 3, 4], [6, 4, 10])
    assert smallest_box(at(0) > 0) is None
    usual = mean_box([at(1, (0, 0, 0)) > 0, at(0) > 0, at(1, (9, 9, 9))[:10, :10, :10] > 0])
    np.testing.assert_allclose(usual, [[0.45] * 3, [0.525] * 3])
    assert mean_box([at(0) > 0]).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_region_on_a_finer_grid_covers_the_same_mm() -> None:
    """Voxels of 4 mm whose edges are those of voxels of 2 mm; one axis runs the other way."""
    coarse = np.diag([-4.0, 4.0, 4.0, 1.0])
    fine = np.diag([2.0, 2.0, 2.0, 1.0])
    fine[:3, 3] = [-4 * 9 - 1, -1, -1]
    roi = box_on(Roi(np.array([2, 3, 0]), np.array([5, 4, 10]), "x"), Grid((10, 10, 10), coarse), Grid((20,) * 3, fine))
    assert (roi.low.tolist(), roi.high.tolist()) == ([10, 6, 0], [16, 8, 20]) and roi.source == "x"
    back = box_on(roi, Grid((20,) * 3, fine), Grid((10, 10, 10), coarse))
    assert (back.low.tolist(), back.high.tolist()) == ([2, 3, 0], [5, 4, 10])
