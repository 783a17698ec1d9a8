# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Support sets: which slices, which shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.inferers.support import SupportSet, select_slices, volume_support


def mask(inside: list[int], depth: int = 20) -> np.ndarray:
    label = np.zeros((3, 4, depth), bool)
    label[1, 2, inside] = True
    return label


@pytest.mark.parametrize(
    ("inside", "rule", "expected"),
    [
        (list(range(10, 17)), "middle", [13]),  # 7 slices: index floor(3.5)
        (list(range(10, 16)), "middle", [13]),  # 6: index 3
        ([4], "middle", [4]),
        (list(range(0, 9)), 3, [1, 4, 7]),  # floor(1.5), floor(4.5), floor(7.5)
        (list(range(5, 12)), 3, [6, 8, 10]),  # 7: floor(1.17), floor(3.5), floor(5.83)
        (list(range(10)), 2, [2, 7]),
        ([2, 5, 11, 17], 1, [11]),  # gaps: the list is counted, not the distance
        ([2, 5], 3, [2, 5]),  # fewer slices than asked for
        ([7], 5, [7]),
        ([2, 5, 11], "all", [2, 5, 11]),
        ([], "middle", []),
        ([], 3, []),
        ([], "all", []),
    ],
)
def test_slices_by_hand(inside: list[int], rule: int | str, expected: list[int]) -> None:
    assert select_slices(mask(inside), rule) == expected


@pytest.mark.parametrize("rule", ["most", 0, -1, 1.5, True])
def test_other_rules_are_refused(rule: int | str) -> None:
    with pytest.raises(ValueError, match="must be 'middle', 'all' or a number of at least 1, got"):
        select_slices(mask([3]), rule)


def scan(shape: tuple[int, int, int] = (5, 6, 9)) -> dict[str, torch.Tensor]:
    """Value 2 in slices 1..5, value 5 in slice 7; the image says which slice and scan it is."""
    image = torch.arange(float(shape[2])).expand(2, *shape).clone()
    label = torch.zeros(1, *shape)
    label[0, 1:3, 1:4, 1:6] = 2
    label[0, 2:4, 3:5, 7] = 5
    return {"image": image, "label": label}


def test_ways_shots_and_filling() -> None:
    support = SupportSet.from_volumes([scan()], slices=3)
    assert support.values == (2, 5) and support.shots == [3, 1]
    assert support.image.shape == (2, 3, 2, 5, 6) and support.label.shape == (2, 3, 1, 5, 6)
    assert support.image[0, :, 0, 0, 0].tolist() == [1, 3, 5]  # floor(5/6), floor(15/6), floor(25/6) of 1..5
    assert support.image[1, 0, 0, 0, 0] == 7
    expected = torch.zeros(5, 6)
    expected[1:3, 1:4] = 1
    assert all(torch.equal(support.label[0, s, 0], expected) for s in range(3))
    assert support.label[1, 0].sum() == 4 and support.label[1, 1:].sum() == 0
    assert set(support.label.unique().tolist()) == {0, 1}


def test_values_choose_and_order_the_ways() -> None:
    support = SupportSet.from_volumes([scan()], values=[5, 2])
    assert support.values == (5, 2)
    assert support.image[:, 0, 0, 0, 0].tolist() == [7, 3]


def test_several_scans_of_different_size() -> None:
    small, large = scan((5, 6, 9)), scan((8, 7, 9))
    small["image"] = small["image"] + torch.arange(30.0).reshape(5, 6, 1)
    large["image"] = large["image"] + 100
    large["label"][large["label"] == 5] = 0
    support = SupportSet.from_volumes([small, large])
    assert support.image.shape == (2, 2, 2, 8, 7) and support.shots == [2, 1]
    assert support.image[0, :, 0, 0, 0].tolist() == [3, 103]
    image = support.image[0, 0]
    assert torch.equal(image[:, 5:], image[:, 4:5].expand(-1, 3, -1)), "the border goes on"
    assert torch.equal(image[:, :, 6:], image[:, :, 5:6])
    assert support.label[:, :, :, 5:].sum() == support.label[0, 1, :, 5:].sum()
    assert torch.equal(support.image[0, 0, :, :5, :6], small["image"][..., 3])
    assert support.label[0, 0].sum() == 6


def test_metatensors_become_plain_tensors() -> None:
    item = {key: MetaTensor(value) for key, value in scan().items()}
    support = SupportSet.from_volumes([item])
    assert type(support.image) is torch.Tensor and type(support.label) is torch.Tensor


def test_missing_values_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"label value\(s\) \[3, 4\] do not occur in the 1 support scan\(s\)"
    ) as caught:
        SupportSet.from_volumes([scan()], values=[2, 3, 4])
    assert "present are [2, 5]. Choose among them, or give another support scan." in str(caught.value)
    empty = {"image": torch.ones(1, 2, 2, 2), "label": torch.zeros(1, 2, 2, 2)}
    with pytest.raises(ValueError, match=r"label value\(s\) any do not occur .* present are \[\]"):
        SupportSet.from_volumes([empty])


def test_values_that_float32_merges_are_two_ways() -> None:
    label = torch.zeros(1, 4, 4, 3, dtype=torch.int64)
    label[0, 0, 0, 1], label[0, 3, 3, 1] = 2**24 + 1, 2**24 + 2
    scan = {"image": torch.rand(1, 4, 4, 3), "label": MetaTensor(label)}
    for support in (SupportSet.from_volumes([scan]), volume_support([scan])):
        assert support.values == (2**24 + 1, 2**24 + 2)
        assert support.label.dtype == support.image.dtype == torch.float32
        assert [int(way.sum()) for way in support.label] == [1, 1]
        assert support.label[0, 0, 0, 0, 0].sum() == support.label[1, 0, 0, 3, 3].sum() == 1
