# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What an atlas knows of a labelled scan, and what it says of labels that cannot be carried over well."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.data import InputWarning
from monai_fss.inferers import Atlas
from monai_fss.inferers.labelled import OUTSIDE, LabelledScan, why_unseen
from monai_fss.registration import DisplacementField, Grid

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
        Atlas([scan()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Atlas([scan()], [1])


def test_an_organ_that_is_not_found_is_too_small_or_lies_elsewhere() -> None:
    """One voxel of 24 mm3 within the grid, moved out of it, and an organ that is too large not to be seen."""
    known = LabelledScan.of(scan())
    grid = Grid((20, 20, 20), torch.diag(torch.tensor([3.0, 3.0, 3.0, 1.0])).numpy())
    here, away = np.eye(4), np.eye(4)
    away[:3, 3] = 200
    fields = [DisplacementField.from_affine(matrix, grid) for matrix in (here, away)]
    assert [known.lies_in(4, grid, field) for field in fields] == [True, False] and not known.lies_in(7, grid)
    said = [why_unseen(4, [(known, field)], grid) for field in fields]
    assert said[0].startswith("its 24 mm3 are too few for the grid of 3 x 3 x 3 mm") and said[1] == OUTSIDE
    assert why_unseen(4, [(known, fields[1]), (known, fields[0])], grid) == said[0], "one of two finds it"
    assert why_unseen(1, [(known, fields[0])], grid) == OUTSIDE, "1,296 mm3 would fill 48 voxels"
