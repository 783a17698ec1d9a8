# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scores of a fold whose support does not show every class."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from monai_fss.apps.evaluate.scorer import FoldScorer


def scorer(names: dict[int, str]) -> FoldScorer:
    """Of a support that shows label value 1; the protocol must not be asked for anything."""

    def protocol(*asked: Any) -> torch.Tensor:
        raise AssertionError(f"asked for {asked[-1]}")

    item = {"label": MetaTensor(torch.tensor([0, 1]).reshape(1, 1, 1, 2)), "case": "a"}
    return FoldScorer(lambda item: item, [item], [item], names, protocol)  # type: ignore[arg-type]


def test_classes_that_the_support_does_not_show_are_left_out_and_none_is_no_error() -> None:
    some, none = scorer({1: "liver", 4: "spleen"}), scorer({4: "spleen"})
    assert (some.names, some.left_out) == ({1: "liver"}, ["spleen"])
    assert (none.names, none.left_out) == ({}, ["spleen"])
    assert none.entries(torch.nn.Identity(), "m", 0, 0) == []


@pytest.mark.parametrize("ways", ["independent", "compete"])
@pytest.mark.parametrize(("protocol", "dice"), [("ep1", 1.0), ("ep2", 0.5)])
def test_an_answer_on_a_grid_of_its_own_counts_in_the_slices_that_are_told(
    protocol: str, dice: float, ways: str
) -> None:
    """Half a scan is called the organ, on voxels of twice the size; the organ is in one third of its slices."""

    class Known:
        name = protocol

        def __call__(self, *asked: Any) -> torch.Tensor:
            found = torch.zeros(1, 4, 4, 6)
            found[:, :2] = 1
            affine = torch.diag(torch.tensor([2.0, 2, 2, 1], dtype=torch.float64))
            affine[:3, 3] = 0.5
            return MetaTensor(found, affine=affine)

    label = torch.zeros(1, 8, 8, 12, dtype=torch.int16)
    label[:, :4, :, 4:8] = 3
    truth = MetaTensor(label, affine=torch.eye(4, dtype=torch.float64))
    item = {
        "image": MetaTensor(torch.zeros(1, 8, 8, 12), affine=truth.affine),
        "label": truth,
        "truth": truth,
        "case": "a",
    }
    scored = FoldScorer(lambda item: item, [item], [item], {3: "organ"}, Known(), ways)  # type: ignore[arg-type]
    (entry,) = scored.entries(torch.nn.Identity(), "m", 4, 1)
    assert (entry.fold, entry.run, entry.method, entry.name) == (4, 1, "m", "organ")
    assert entry.dice == pytest.approx(dice)
