# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scores of a fold whose support does not show every class."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import MetaTensor

from monai_fss.apps.scoring import FoldScorer


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
