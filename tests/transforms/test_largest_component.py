# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Tests of keeping one piece of each class."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from monai_fss.transforms import LargestComponentd, count_pieces, largest_component, usual_pieces


def test_the_larger_piece_stays_and_corners_connect() -> None:
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True  # three voxels that touch by their corners
    mask[5, 4:, 5] = True
    found = largest_component(mask)
    assert found.sum() == 3
    assert found[2, 2, 2]
    assert not found[5, 5, 5]


def test_nothing_and_one_piece_are_left_alone() -> None:
    empty = np.zeros((3, 3), dtype=bool)
    assert not largest_component(empty).any()
    assert largest_component(~empty).all()


def test_as_many_pieces_as_are_asked_for_without_specks() -> None:
    """Pieces of 40, 30, 5 and 3 voxels: the third has more than a tenth of the largest, the fourth less."""
    mask = np.zeros((4, 5, 40), dtype=bool)
    mask[:2, :4, :5] = mask[:2, :3, 10:15] = mask[0, 0, 20:25] = mask[0, 0, 30:33] = True
    assert [int(largest_component(mask, pieces).sum()) for pieces in (1, 2, 3, 4)] == [40, 70, 75, 75]


def test_pieces_are_counted_by_the_scan_that_shows_most() -> None:
    label = torch.zeros(1, 10, 6, 4)
    label[0, :3, :3], label[0, 6:9, :3], label[0, 0, 5, 0] = 2, 2, 2  # two kidneys and a speck of a voxel in 36
    label[0, 5] = 7
    other = (label == 7) * 7 + (label == 2) * (torch.arange(10)[:, None, None] < 5) * 2
    assert count_pieces([other, label.long()]) == {2: 2, 7: 1}
    assert count_pieces([other]) == {2: 1, 7: 1}
    both = LargestComponentd("pred", {2: 2})({"pred": label})["pred"]
    assert (both == 2).sum() == 72 and (both == 7).sum() == 24


def test_pieces_are_usually_those_of_the_middle_label() -> None:
    """Class 1 is in 1, 2, 2 and 3 pieces, class 2 in one where it is shown, class 3 nowhere; -1 is doubt."""
    labels = [torch.full((1, 12, 2, 2), -1.0) for _ in range(4)]
    for label, pieces in zip(labels, (3, 1, 2, 2), strict=True):
        label[0, 1::4] = 0
        label[0, : 4 * pieces : 4] = 1
    labels[2][0, 11] = 2
    assert usual_pieces(labels, 3) == [2, 1, 1] and usual_pieces(labels[:2], 1) == [1]
    assert usual_pieces(labels[:1], 2) == [3, 1]


def test_each_class_keeps_its_own_piece_and_the_geometry() -> None:
    label = torch.zeros(1, 8, 4, 4, dtype=torch.int16)
    label[0, :3], label[0, 4], label[0, 6, 0, 0], label[0, 7, 3, 3] = 2, 7, 2, 7
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    found = LargestComponentd("pred")({"pred": MetaTensor(label, affine=affine)})["pred"]
    assert found.dtype == torch.int16
    assert torch.equal(found.affine, affine)
    assert (found == 2).sum() == 48
    assert (found == 7).sum() == 16
    assert found[0, 6:].sum() == 0
