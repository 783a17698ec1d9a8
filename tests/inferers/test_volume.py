# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whole volumes: supports of labelled volumes, the sliding window, and the protocols with a 3-D network."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from known_features import directions
from monai.data import MetaTensor
from protocol_scans import by_ep1, by_ep2, probability, query_scan, support_scan
from torch import nn

from monai_fss.inferers import (
    FewShotVolumeInferer,
    ReverseAccuracy,
    SupportSet,
    reverse_accuracy,
    support_of,
    volume_support,
)
from monai_fss.networks.nets import ADNet, CompactEncoder, CompactEncoder3D


class Directions(nn.Module):
    """Features are the volume's two channels."""

    out_channels, spatial_dims = 2, 3

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes.append((len(x), *x.shape[2:]))
        return x * self.weight


def network() -> ADNet:
    torch.manual_seed(0)
    return ADNet(CompactEncoder3D(features=(4, 4, 6, 8, 10), out_channels=8)).eval()


def labelled(support: SupportSet, way: int, shot: int = 0) -> list[int]:
    return support.label[way, shot, 0].flatten(0, 1).any(0).nonzero().flatten().tolist()


def mean_angle(degrees: list[float]) -> float:
    radians = np.radians(degrees)
    return math.degrees(math.atan2(np.sin(radians).mean(), np.cos(radians).mean()))


@pytest.mark.parametrize(
    ("rule", "one", "four"),
    [("all", list(range(2, 11)), list(range(6))), ("middle", [6], [3]), (3, [3, 6, 9], [1, 3, 5]), (1, [6], [3])],
)
def test_slices_of_a_volume_that_are_labelled(rule: int | str, one: list[int], four: list[int]) -> None:
    scan = support_scan()
    support = volume_support([scan], slices=rule)
    assert support.values == (1, 4) and support.shots == [1, 1]
    assert support.image.shape == (2, 1, 2, 4, 5, 12) and support.label.shape == (2, 1, 1, 4, 5, 12)
    assert torch.equal(support.image[0, 0], scan["image"]) and torch.equal(support.image[1, 0], scan["image"])
    assert (labelled(support, 0), labelled(support, 1)) == (one, four)
    for way, value in enumerate((1, 4)):
        kept = labelled(support, way)
        assert torch.equal(support.label[way, 0][..., kept], (scan["label"] == value).float()[..., kept])


def test_ways_share_the_memory_of_the_image() -> None:
    image = volume_support([support_scan()]).image
    assert image[0].data_ptr() == image[1].data_ptr()


def test_several_scans_of_different_size_are_shots() -> None:
    small, large = support_scan(), support_scan()
    large = {key: torch.nn.functional.pad(value, (3, 0, 2, 0, 1, 0)) for key, value in large.items()}
    large["label"][large["label"] == 4] = 0
    support = volume_support([small, {key: MetaTensor(value) for key, value in large.items()}], slices="all")
    assert support.image.shape == (2, 2, 2, 5, 7, 15) and support.shots == [2, 1]
    assert type(support.image) is torch.Tensor and type(support.label) is torch.Tensor
    assert torch.equal(support.image[0, 0, :, :4, :5, :12], small["image"])
    assert support.image[0, 0, :, 4:].isnan().all() and torch.equal(support.image[0, 1], large["image"])
    assert support.image[0, 0].isnan().sum() == 2 * (5 * 7 * 15 - 4 * 5 * 12)
    assert labelled(support, 0, 1) == list(range(5, 14)) and labelled(support, 1, 1) == []


@torch.no_grad()
def test_a_small_scan_beside_a_large_one_counts_as_by_itself() -> None:
    """Instance norm would take what fills it up for a part of the body."""
    net, rng = network(), torch.Generator().manual_seed(0)
    scans = []
    for size in ((32, 32, 6), (40, 36, 9)):
        label = torch.zeros(1, *size)
        label[:, 8:20, 8:20, 2:5] = 1
        scans.append({"image": torch.rand(1, *size, generator=rng), "label": label})
    alone = [volume_support([scan], slices="all") for scan in scans]
    prototypes = [net.condition(s.image, s.label).prototypes for s in alone]
    both = volume_support(scans, slices="all")
    torch.testing.assert_close(net.condition(both.image, both.label).prototypes, (prototypes[0] + prototypes[1]) / 2)
    assert not torch.allclose(*prototypes, rtol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("windows", [None, (4, 5, 8), (3, 5, 4)])
def test_the_protocols_look_at_the_query_through_their_windows(windows: tuple[int, int, int] | None) -> None:
    net = ADNet(Directions()).eval()
    query, sizes = query_scan()[0], (4, 5, 14) if windows is None else windows
    own: dict[str, Any] = {} if windows is None else {"roi_size": windows, "overlap": 0}
    for protocol in (by_ep2, by_ep1):
        protocol(net, [support_scan()], query, [1, 4], **own)
        assert {shape[1:] for shape in net.encoder.shapes} == {(4, 5, 12), sizes}, "the support is seen whole"
        net.encoder.shapes.clear()
    reverse_accuracy(net, support_scan(), [support_scan()], [1], inferer=FewShotVolumeInferer(**own))
    assert net.encoder.shapes[-1][1:] == (windows or (4, 5, 12))


def test_missing_values_are_named() -> None:
    with pytest.raises(ValueError, match=r"label value\(s\) \[3\] do not occur .* present are \[1, 4\]. Choose among"):
        volume_support([support_scan()], [1, 3])


def test_the_support_follows_the_networks_dimensions() -> None:
    scan = support_scan()
    assert support_of(network(), [scan], [1], "all").image.shape == (1, 1, 2, 4, 5, 12)
    assert support_of(ADNet(CompactEncoder()), [scan], [1], "all").image.shape == (1, 9, 2, 4, 5)


def given(ways: int = 2) -> SupportSet:
    generator = torch.Generator().manual_seed(1)
    label = (torch.rand(ways, 1, 1, 32, 32, 6, generator=generator) > 0.5).float()
    return SupportSet(torch.rand(ways, 1, 1, 32, 32, 6, generator=generator), label, tuple(range(1, ways + 1)))


@torch.no_grad()
@pytest.mark.parametrize("size", [(40, 33, 7), (48, 48, 8)])
def test_a_volume_that_fits_into_one_window_is_segmented_as_by_the_network(size: tuple[int, int, int]) -> None:
    net, support, volume = network(), given(), torch.rand(2, 1, *size)
    got = FewShotVolumeInferer(support, roi_size=(48, 48, 8))(volume, net)
    expected = network().condition(support.image, support.label)(volume)
    assert got.shape == (2, 3, *size)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert (got[:, 1] != got[:, 2]).any()


@torch.no_grad()
def test_a_larger_volume_is_the_gaussian_mean_of_its_windows() -> None:
    net, support, volume = network(), given(), torch.rand(1, 1, 32, 32, 11)
    got = FewShotVolumeInferer(support, roi_size=(64, 32, 8), overlap=0.5)(volume, net)
    net = network().condition(support.image, support.label)
    first, last = net(volume[..., :8]), net(volume[..., 3:])
    torch.testing.assert_close(got[..., :3], first[..., :3], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[..., 8:], last[..., 5:], rtol=1e-4, atol=1e-4)
    # A Gaussian of an eighth of each side around the window's middle, which MONAI keeps from falling below 1e-3.
    sides = [np.exp(-((np.arange(n) - (n - 1) / 2) ** 2) / 2 / (n / 8) ** 2) for n in (32, 32, 8)]
    weight = torch.from_numpy(np.maximum(np.einsum("y,x,z->yxz", *sides), 1e-3)).float()
    for z in range(3, 8):
        a, b = weight[..., z], weight[..., z - 3]
        torch.testing.assert_close(
            got[..., z], (a * first[..., z] + b * last[..., z - 3]) / (a + b), rtol=1e-3, atol=1e-3
        )


@torch.no_grad()
def test_the_support_is_encoded_once_for_any_number_of_windows_and_volumes() -> None:
    net = ADNet(Directions()).eval()
    inferer = FewShotVolumeInferer(volume_support([support_scan()]), roi_size=(4, 5, 8), overlap=0)
    for _ in range(2):
        inferer(query_scan()[0]["image"][None], net)
    assert net.encoder.shapes == [(1, 4, 5, 12)] + 2 * 2 * [(1, 4, 5, 8)]  # both ways share the support volume


def test_windows_must_have_three_sides_and_a_network_a_condition() -> None:
    with pytest.raises(ValueError, match=r"roi_size must be \(H, W, slices\), each at least 1, got \(64, 64\)"):
        FewShotVolumeInferer(roi_size=(64, 64))
    with pytest.raises(ValueError, match="network has not been conditioned"):
        FewShotVolumeInferer()(torch.rand(1, 1, 32, 32, 4), network())


@pytest.mark.parametrize(
    ("slices", "angles"),
    [
        ("middle", (60, 210)),
        ("all", (mean_angle([10 * z for z in range(2, 11)]), 180 + mean_angle([0, 10, 20, 30, 40, 50]))),
    ],
)
def test_ep2_of_a_3d_network(slices: str, angles: tuple[float, float]) -> None:
    net, (query, seen) = ADNet(Directions()), query_scan()
    got = by_ep2(net, [support_scan()], query, [1, 4], slices)
    assert got.shape == (2, 4, 5, 14) and not got.requires_grad
    for w, y, x, z in np.ndindex(*got.shape):
        assert got[w, y, x, z].item() == pytest.approx(probability(seen[y, x, z], angles[w]), abs=1e-4)
    assert net.encoder.shapes == [(1, 4, 5, 12), (1, 4, 5, 14)]  # whole, once each


def test_ep1_of_a_3d_network_uses_the_middle_slice_of_the_part() -> None:
    query, seen = query_scan()
    got = by_ep1(ADNet(Directions()), [support_scan()], query, [1, 4])
    one = {3: 30, 4: 30, 5: 60, 6: 60, 7: 90, 8: 90, 9: 90}  # as in 2-D, see test_ep1
    four = {8: 180 + 30, 9: 180 + 50}
    for w, used in enumerate((one, four)):
        for y, x, z in np.ndindex(4, 5, 14):
            expected = probability(seen[y, x, z], used[z]) if z in used else 0.0
            assert got[w, y, x, z].item() == pytest.approx(expected, abs=1e-4)


def test_reverse_accuracy_of_a_3d_network() -> None:
    """Two directions, each a class: a right result leads back to the label, a wrong one does not."""
    angles = np.zeros((4, 5, 6))
    angles[:, 3:] = 120
    label = torch.zeros(1, 4, 5, 6)
    label[0, :, :3] = 1
    scan = {"image": directions(angles), "label": label}
    quality = ReverseAccuracy(ADNet(Directions()), [scan], [1], "all")
    output = {"image": MetaTensor(directions(angles)), "working": label}
    assert quality(output) == {1: 1.0}
    assert quality({**output, "working": 1 - label}) == {1: 0.0}
