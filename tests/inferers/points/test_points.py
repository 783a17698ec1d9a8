# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Points of a query: drawn, boxed, and their centres."""

from __future__ import annotations

import numpy as np
import pytest

from monai_fss.inferers import LocatedPoints, box_of

SPACING = np.array([2.0, 1.0, 3.0])
VOXELS = np.array([[0, 0, 0], [1, 2, 1], [1, 2, 1], [2, 1, 0]])
FOUND = LocatedPoints(VOXELS, VOXELS * SPACING, np.array([3, 5, 4, 9]), np.array([0.5, 0.9, 0.7, 0.8]))


def test_points_above_tau_are_drawn_the_most_similar_on_top() -> None:
    drawn = FOUND.scribbles((3, 3, 2))
    assert drawn.dtype == np.int16 and drawn[1, 2, 1] == 5 and drawn[2, 1, 0] == 9 and drawn[0, 0, 0] == 0
    assert FOUND.scribbles((3, 3, 2), tau=0.4)[0, 0, 0] == 3 and not FOUND.scribbles((3, 3, 2), tau=0.9).any()


def test_one_box_holds_the_points_found_rightly() -> None:
    voxels = np.array([[10, 20, 5], [14, 22, 8], [30, 30, 15], [2, 2, 2]])
    points = LocatedPoints(voxels, voxels * SPACING, np.array([1, 1, 2, 3]), np.array([0.9, 0.8, 0.6, 0.2]))

    def box(tau: float, margin: float, without: tuple[int, ...] = ()) -> list[list[int]]:
        return [corner.tolist() for corner in box_of(points, tau, margin, (36, 44, 24), SPACING, without)]

    assert box(0.85, 0, (2, 3)) == [[10, 20, 5], [11, 21, 6]]
    assert box(0.7, 0, (2, 3)) == [[10, 20, 5], [15, 23, 9]]
    assert box(0.7, 4, (2, 3)) == [[8, 16, 3], [17, 27, 11]]  # 2, 4 and 4 / 3 voxels
    assert box(0.5, 12, (3,)) == [[4, 8, 1], [36, 43, 20]]
    assert box(0.7, 0, (3,)) == [[10, 20, 5], [31, 31, 16]], "no point of label 2 is above tau: all of its count"
    assert box(0.9, 0) == [[2, 2, 2], [31, 31, 16]]
    assert box(0.5, 900) == [[0, 0, 0], [36, 44, 24]]
    with pytest.raises(ValueError, match=r"no point is left, values are \[1, 2, 3\] without \[1, 2, 3\]"):
        box(0.5, 0, (3, 1, 2))
    with pytest.raises(ValueError, match="margin must be at least 0 mm, got -2"):
        box(0.5, -2)
