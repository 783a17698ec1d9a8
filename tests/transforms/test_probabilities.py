# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Probabilities of ways, and labels of competing ways."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.transforms.probabilities import WayProbabilitiesd, WaysToLabeld


def test_each_way_stands_against_the_background_alone() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 2, 3, 2)
    data: dict[Any, Any] = {"pred": logits, "other": 1}
    got = WayProbabilitiesd("pred")(data)
    assert got["other"] == 1 and got["pred"].shape == (3, 2, 3, 2) and data["pred"] is logits
    for w, y, x, z in np.ndindex(3, 2, 3, 2):
        a, b = math.exp(logits[0, y, x, z]), math.exp(logits[w + 1, y, x, z])
        assert got["pred"][w, y, x, z].item() == pytest.approx(b / (a + b), abs=1e-6)


def test_labels_by_hand() -> None:
    probability = torch.tensor(
        [[0.9, 0.2, 0.7, 0.5, 0.51], [0.1, 0.3, 0.8, 0.5, 0.51], [0.3, 0.49, 0.6, 0.1, 0.2]]
    ).reshape(3, 5, 1, 1)
    got = WaysToLabeld("pred", values=[3, 7, 300])({"pred": probability})["pred"]
    assert got.dtype == torch.int16 and got.shape == (1, 5, 1, 1)
    # most probable; none; most probable of three; exactly on the threshold is background; a tie goes to the first way
    assert got.flatten().tolist() == [3, 0, 7, 0, 3]


def test_threshold() -> None:
    probability = torch.tensor([[0.2, 0.4], [0.3, 0.1]]).reshape(2, 2, 1)
    assert WaysToLabeld("pred", [1, 2], threshold=0.25)({"pred": probability})["pred"].flatten().tolist() == [2, 1]
    assert WaysToLabeld("pred", [1, 2], threshold=0.35)({"pred": probability})["pred"].flatten().tolist() == [0, 1]


def test_labels_equal_the_argmax_of_the_logits() -> None:
    torch.manual_seed(0)
    logits = torch.cat([torch.zeros(1, 8, 8, 4), torch.randn(3, 8, 8, 4)])
    data = WaysToLabeld("pred", [1, 2, 3])(WayProbabilitiesd("pred")({"pred": logits}))
    assert torch.equal(data["pred"], logits.argmax(0, keepdim=True).to(torch.int16))


def test_meta_data_are_kept() -> None:
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    logits = MetaTensor(torch.randn(3, 4, 4, 2), affine=affine)
    probability = WayProbabilitiesd("pred")({"pred": logits})
    label = WaysToLabeld("pred", [1, 2])(probability)["pred"]
    for array in (probability["pred"], label):
        assert isinstance(array, MetaTensor) and torch.equal(array.affine, affine)


def test_values_have_to_fit_the_ways() -> None:
    with pytest.raises(ValueError, match="pred: 3 ways but 2 label values"):
        WaysToLabeld("pred", [1, 2])({"pred": torch.rand(3, 2, 2)})


def test_large_label_values_do_not_overflow() -> None:
    got = WaysToLabeld("pred", values=[2, 50000])({"pred": torch.tensor([[0.1, 0.9], [0.8, 0.2]])})["pred"]
    assert got.tolist() == [[50000, 2]] and got.dtype == torch.int32
