# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Tests of keeping one piece of each class."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor

from monai_fss.transforms import LargestComponentd, largest_component


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
