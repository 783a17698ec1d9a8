# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What an atlas knows of a labelled scan, and what it says of labels that cannot be carried over well."""

from __future__ import annotations

import warnings

import pytest
import torch
from monai.data import MetaTensor

from monai_fss.data import InputWarning
from monai_fss.inferers import Atlas
from monai_fss.inferers.atlas import OUTSIDE
from monai_fss.inferers.labelled import LabelledScan
from monai_fss.registration import Grid

AFFINE = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))


def scan() -> dict[str, MetaTensor]:
    """Value 1 in slices 2 to 7, 2 in slice 5 alone, 3 in every second slice, 4 in one voxel."""
    label = torch.zeros(1, 10, 10, 12, dtype=torch.int16)
    label[0, :3, :3, 2:8], label[0, 5:8, :3, 5], label[0, :3, 6:, 1:10:2], label[0, 9, 9, 3] = 1, 2, 3, 4
    image = MetaTensor(torch.ones(1, 10, 10, 12), affine=AFFINE, meta={"filename_or_obj": "in/known.nii.gz"})
    return {"image": image, "label": MetaTensor(label, affine=AFFINE)}


def test_volume_and_pieces_by_hand() -> None:
    known = LabelledScan.of(scan())
    assert [known.mm3(value) for value in (1, 2, 4, 7)] == [9 * 6 * 24.0, 9 * 24.0, 24.0, 0.0]
    assert known.thin([1, 2, 3, 4, 7]) == [2, 3, 4]
    assert Atlas([scan()], [1]).pieces == {1: 1, 2: 1, 3: 5, 4: 1}


def test_labels_that_are_drawn_in_single_slices_are_said() -> None:
    with pytest.warns(
        InputWarning, match=r"known: label value\(s\) 2, 3, 4 are drawn in one slice, or with slices left"
    ):
        atlas = Atlas([scan()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Atlas([scan()], [1])
    fine, coarse = (Grid((20, 20, 20), torch.diag(torch.tensor([mm, mm, mm, 1.0])).numpy()) for mm in (2.0, 3.0))
    assert atlas._why_unseen(4, fine) == OUTSIDE, "24 mm3 are three voxels of 8"
    assert atlas._why_unseen(4, coarse).startswith("its 24 mm3 are too few for the grid of 3 x 3 x 3 mm")
