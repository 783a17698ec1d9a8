# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""EP1, and EP2 by the bundles' inferer, on a network whose answer is known: ADNet over features that are directions."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from known_features import directions
from monai.data import MetaTensor
from protocol_scans import by_ep1, by_ep2, probability, query_scan, support_scan
from torch import nn

from monai_fss.inferers import EP1_RULES, QueryLabels, chunks, shown_slices
from monai_fss.inferers.ep1 import support_place
from monai_fss.networks.nets.adnet import ADNet


class Pixels(nn.Module):
    out_channels = 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.sizes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        return x * self.weight


def network() -> ADNet:
    return ADNet(Pixels())


@pytest.mark.parametrize(
    ("slices", "parts", "expected"),
    [
        (range(10, 17), 3, [[10, 11], [12, 13], [14, 15, 16]]),  # borders 0, 2.33, 4.67, 7
        (range(9), 3, [[0, 1, 2], [3, 4, 5], [6, 7, 8]]),
        (range(8), 3, [[0, 1], [2, 3, 4], [5, 6, 7]]),  # borders 0, 2.67, 5.33, 8
        ([4, 9], 3, [[], [4], [9]]),  # borders 0, 0.67, 1.33, 2
        ([4], 3, [[], [], [4]]),
        ([], 3, [[], [], []]),
        ([1, 2, 8], 1, [[1, 2, 8]]),
        ([1, 2, 8, 9], 2, [[1, 2], [8, 9]]),
    ],
)
def test_chunks_by_hand(slices: list[int], parts: int, expected: list[list[int]]) -> None:
    assert chunks(slices, parts) == expected


def alpnet_part(z: int, shown: list[int], parts: int) -> int:
    """The part of a query slice, as ALPNet's validation has it: its distance from the lowest slice of the class, in
    units of a part of the class's extent, floored, and at most the last part; one slice alone is in the first."""
    extent = (max(shown) - min(shown)) / parts
    number = 0 if extent == 0 else int((z - min(shown)) // extent)
    return min(number, parts - 1)


ALPNET = [
    [4],
    [4, 5],
    [4, 9],
    [4, 5, 6],
    [0, 3],
    list(range(10, 17)),
    list(range(8)),
    [3, 4, 5, 9, 10, 30],  # gaps
    [2, 20, 21, 22],
    [1, 2, 8],
]


@pytest.mark.parametrize("parts", [1, 3, 5])
@pytest.mark.parametrize("shown", ALPNET, ids=str)
def test_alpnets_parts_are_those_of_its_rule(shown: list[int], parts: int) -> None:
    found = chunks(shown, parts, "range")
    expected: list[list[int]] = [[] for _ in range(parts)]
    for z in range(min(shown), max(shown) + 1):
        expected[alpnet_part(z, shown, parts)].append(z)
    assert found == expected


def test_alpnets_three_parts_of_any_extent() -> None:
    """Borders that a division without rounding falls on, and those where rounding might put a slice to another part."""
    for extent in range(200):
        shown = [7, 7 + extent]
        for part, slices in enumerate(chunks(shown, 3, "range")):
            assert all(alpnet_part(z, shown, 3) == part for z in slices)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([4], [[4], [], []]),
        ([4, 5], [[4], [], [5]]),
        ([4, 9], [[4, 5], [6, 7], [8, 9]]),  # thirds of 5: 4 to 5.67, to 7.33, to 9
        ([10, 11, 13, 16], [[10, 11], [12, 13], [14, 15, 16]]),  # thirds of 6; 16 in a part of its own is in the last
        (range(8), [[0, 1, 2], [3, 4], [5, 6, 7]]),
        ([], [[], [], []]),
    ],
)
def test_alpnets_parts_by_hand(slices: list[int], expected: list[list[int]]) -> None:
    assert chunks(slices, rule="range") == expected


def test_where_the_rules_differ_without_gaps() -> None:
    for n in range(2, 100):
        adnet, alpnet = ([len(part) for part in chunks(range(n), rule=rule)] for rule in EP1_RULES[:2])
        more = 1 if n % 3 == 2 else 0
        assert alpnet == [adnet[0] + more, adnet[1] - more, adnet[2]]
    assert chunks([5]) == [[], [], [5]] and chunks([5], rule="range") == [[5], [], []]


@pytest.mark.parametrize("parts", [1, 2, 3, 10])
def test_se_nets_pairs_by_loops(parts: int) -> None:
    """A part begins where the public code begins it, and ends where the next one begins; each slice is in one."""
    for n in range(1, 40):
        starts = [round(i * (n - 1) / max(parts - 1, 1)) for i in range(parts)]
        expected: list[list[int]] = [[] for _ in range(parts)]
        for z in range(n):
            expected[max(i for i in range(parts) if starts[i] <= z)].append(5 + z)
        assert chunks([5, 5 + n - 1], parts, "paired") == expected
        places = [support_place(n, part, parts, "paired") for part in range(parts)]
        assert places == [round(i * (n - 1) / parts) + (n // parts) // 2 for i in range(parts)]
        assert places[0] >= 0 and places[-1] < n
    assert [support_place(7, part, 3, "paired") for part in range(3)] == [1, 3, 5]
    assert chunks([], rule="paired") == [[], [], []]


def test_the_range_is_told_by_alpnets_rule() -> None:
    truth = torch.zeros(1, 2, 2, 9)
    truth[0, 0, 0, [2, 3, 6]] = 1
    truth[0, 1, 1, [0, 8]] = 4
    whole = [2, 3, 4, 5, 6], [*range(9)]
    for rule, one, four in (("shown", [2, 3, 6], [0, 8]), ("range", *whole), ("paired", *whole)):
        told = shown_slices(truth, [1, 4, 5], rule)
        assert [np.flatnonzero(own).tolist() for own in told] == [one, four, []]


def test_an_unknown_rule_is_refused() -> None:
    says = "the rule of EP1 must be one of shown, range, paired, got 'panet'"
    for call in (lambda: chunks([1], 3, "panet"), lambda: shown_slices(torch.zeros(1, 1, 1, 1), [1], "panet")):
        with pytest.raises(ValueError, match=says):
            call()
    with pytest.raises(ValueError, match=says):
        by_ep1(network(), [support_scan()], query_scan()[0], [1], rule="panet")


def test_ep1_by_alpnets_rule_segments_gaps_too() -> None:
    """Class 1 in slices 3, 4 and 9 of the query: thirds of six slices; support slices 3, 6 and 9, as by ADNet's."""
    query, angles = query_scan()
    query["truth"][0, 1, 2, 5:9] = 0
    used = {
        "shown": {3: 30, 4: 60, 9: 90},
        "range": {3: 30, 4: 30, 5: 60, 6: 60, 7: 90, 8: 90, 9: 90},
    }
    for rule, of in used.items():
        got = by_ep1(network(), [support_scan()], query, [1], rule=rule)
        for y, x, z in np.ndindex(4, 5, 14):
            expected = probability(angles[y, x, z], of[z]) if z in of else 0.0
            assert got[0, y, x, z].item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_ep2_uses_the_middle_slice_everywhere(batch: int) -> None:
    net = network()
    query, angles = query_scan()
    got = by_ep2(net, [support_scan()], query, [1, 4], slices_per_batch=batch)
    assert got.shape == (2, 4, 5, 14) and got.dtype == torch.float32
    middles = (60, 210)  # class 1: index 4 of 2..10 = 6; class 4: index 3 of 0..5 = 3
    for w, y, x, z in np.ndindex(*got.shape):
        assert got[w, y, x, z].item() == pytest.approx(probability(angles[y, x, z], middles[w]), abs=1e-4)
    assert net.encoder.sizes == [2] + [batch] * (14 // batch) + [14 % batch] * (14 % batch > 0)


def test_ep2_with_several_slices_averages_their_prototypes() -> None:
    query, angles = query_scan()
    got = by_ep2(network(), [support_scan()], query, [1], 3)
    shots = np.radians([30, 60, 90])  # of 2..10: indices 1, 4, 7
    mean = math.degrees(math.atan2(np.sin(shots).mean(), np.cos(shots).mean()))
    for y, x, z in np.ndindex(4, 5, 14):
        assert got[0, y, x, z].item() == pytest.approx(probability(angles[y, x, z], mean), abs=1e-4)


@pytest.mark.parametrize("batch", [1, 8])
def test_ep1_uses_the_middle_slice_of_the_part(batch: int) -> None:
    query, angles = query_scan()
    got = by_ep1(network(), [support_scan()], query, [1, 4], slices_per_batch=batch)
    # Class 1, support slices 2..10: indices 1, 4, 7 are slices 3, 6, 9. Query slices 3..9: parts 2, 2, 3 slices long.
    one = {3: 30, 4: 30, 5: 60, 6: 60, 7: 90, 8: 90, 9: 90}
    # Class 4, support slices 0..5: indices 1, 3, 5. Query slices 8, 9: no first part.
    four = {8: 180 + 30, 9: 180 + 50}
    for w, used in enumerate((one, four)):
        for y, x, z in np.ndindex(4, 5, 14):
            expected = probability(angles[y, x, z], used[z]) if z in used else 0.0
            assert got[w, y, x, z].item() == pytest.approx(expected, abs=1e-4)
        outside = [z for z in range(14) if z not in used]
        assert got[w][..., outside].abs().sum() == 0


def test_ep1_ways_together_equal_each_way_alone() -> None:
    query, _ = query_scan()
    together = by_ep1(network(), [support_scan()], query, [4, 1])
    for w, value in enumerate((4, 1)):
        alone = by_ep1(network(), [support_scan()], query, [value])
        torch.testing.assert_close(together[w], alone[0])


def test_ep1_of_an_absent_class_is_zero_without_a_forward_pass() -> None:
    query, _ = query_scan()
    query["truth"] = torch.zeros_like(query["truth"])
    net = network()
    assert by_ep1(net, [support_scan()], query, [1]).abs().sum() == 0
    assert net.encoder.sizes == []


def test_ep1_with_other_parts() -> None:
    query, angles = query_scan()
    got = by_ep1(network(), [support_scan()], query, [1], parts=1)
    for z in range(3, 10):
        assert got[0, 0, 0, z].item() == pytest.approx(probability(angles[0, 0, z], 60), abs=1e-4)


def test_ep1_encodes_the_support_once_for_each_part() -> None:
    query, _ = query_scan()
    net = network()
    by_ep1(net, [support_scan()], query, [1, 4])
    # two ways of one shot, then the slices of the part: {3, 4}, {5, 6, 8}, {7, 8, 9}
    assert net.encoder.sizes == [2, 2, 2, 3, 2, 3]


def test_two_support_scans_are_two_shots() -> None:
    second = support_scan()
    second["image"] = directions(np.full((4, 5, 12), 100.0))
    query, angles = query_scan()
    got = by_ep1(network(), [support_scan(), second], query, [1])
    for z, support in {3: 30, 5: 60, 7: 90}.items():
        mean = (support + 100) / 2
        assert got[0, 1, 1, z].item() == pytest.approx(probability(angles[1, 1, z], mean), abs=1e-4)


def test_the_networks_own_condition_and_mode_are_left() -> None:
    net = network().train()
    net.prototypes = torch.tensor([[3.0, 4.0]])
    query, _ = query_scan()
    got = by_ep1(net, [support_scan()], query, [1])
    assert net.training and torch.equal(net.prototypes, torch.tensor([[3.0, 4.0]])) and not got.requires_grad


@pytest.mark.parametrize("protocol", [by_ep1, by_ep2])
def test_a_class_that_the_support_has_not_is_an_error(protocol: Callable[..., torch.Tensor]) -> None:
    query, _ = query_scan()
    query["truth"][0, 0, 0, 0] = 9
    with pytest.raises(ValueError, match=r"label value\(s\) \[9\] do not occur .* present are \[1, 4\]"):
        protocol(network(), [support_scan()], query, [1, 9])


def test_labels_of_queries_are_found_by_name_and_turned_as_scans_are(tmp_path: Path) -> None:
    """A scan whose slices are stored along the first axis: they lie along the last one afterwards."""
    stored = np.zeros((12, 8, 9), np.int16)
    stored[3:5, 2, 7] = 4
    affine = np.array([[0.0, 1, 0, 0], [0, 0, 1, 0], [5, 0, 0, 0], [0, 0, 0, 1]])
    nib.Nifti1Image(stored, affine).to_filename(tmp_path / "case_07.nii.gz")
    image = MetaTensor(torch.zeros(1, 8, 9, 12), meta={"filename_or_obj": "images/case_07.nii.gz"})
    labels = QueryLabels([tmp_path / "case_07.nii.gz"])
    found = labels(image)
    assert found.shape == (1, 8, 9, 12)
    assert [np.flatnonzero(own).tolist() for own in shown_slices(found, [4, 9])] == [[3, 4], []]
    large = found.as_tensor().clone()
    assert not any(own.any() for own in shown_slices(large, [4 + 2**16])), "a value that int16 does not hold"
    image.meta["filename_or_obj"] = "images/case_08.nii.gz"
    with pytest.raises(KeyError, match="case_08: no label is known. Labels are of case_07"):
        labels(image)
