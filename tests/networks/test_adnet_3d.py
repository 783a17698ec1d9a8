# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ADNet on volumes: prototypes, probabilities and alignment against loops, and what only volumes have."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from monai_fss.losses import ADNetLoss
from monai_fss.networks.blocks import masked_average_pooling, support_prototypes
from monai_fss.networks.nets import ADNet, CompactEncoder3D, PositionedEncoder, build_encoder


class Cells(nn.Module):
    """Features are the volume's channels, averaged over cells in plane."""

    def __init__(self, channels: int = 3, cell: int = 2) -> None:
        super().__init__()
        self.out_channels, self.cell, self.spatial_dims = channels, cell, 3
        self.volumes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.volumes.append(len(x))
        return F.avg_pool3d(x, (self.cell, self.cell, 1))


def small() -> CompactEncoder3D:
    return CompactEncoder3D(features=(4, 4, 6, 8, 10), out_channels=8)


def support(ways: int, shots: int, channels: int = 1, size: tuple[int, int, int] = (32, 32, 5)) -> list[torch.Tensor]:
    label = (torch.rand(ways, shots, 1, *size) > 0.6).float()
    return [torch.randn(ways, shots, channels, *size), label]


def upsampled_mean(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Eq. 1 as it stands: (C, h, w, d) resized to (H, W, D), then the mean under the mask."""
    full = F.interpolate(features[None], size=mask.shape, mode="trilinear", align_corners=False)[0]
    total = torch.stack([full[:, y, x, z] for y, x, z in mask.nonzero().tolist()]).sum(0)
    return total / (mask.sum() + 1e-5)


@pytest.mark.parametrize("small_size", [(4, 4, 5), (3, 2, 2), (8, 9, 5)])
def test_pooling_by_the_mask_equals_resizing_the_features(small_size: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    features, mask = torch.randn(2, 3, *small_size), (torch.rand(2, 1, 8, 9, 5) > 0.7).float()
    got = masked_average_pooling(features, mask)
    for n in range(2):
        torch.testing.assert_close(got[n], upsampled_mean(features[n], mask[n, 0]), rtol=1e-4, atol=1e-5)


def test_pooling_by_the_mask_has_the_gradient_of_resizing() -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 2, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    mask, direction = torch.rand(1, 1, 6, 7, 5, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    resized = F.interpolate(features, size=mask.shape[2:], mode="trilinear", align_corners=False)
    mean = (resized * mask).flatten(2).sum(2) / (mask.sum() + 1e-5)
    expected = torch.autograd.grad((mean * direction).sum(), features)[0]
    got = torch.autograd.grad((masked_average_pooling(features, mask) * direction).sum(), features)[0]
    torch.testing.assert_close(got, expected)


def test_the_published_nearest_mask_is_another_prototype() -> None:
    """What the choice in masked_average_pooling does: a one-voxel organ between the sampled voxels disappears."""
    features = torch.arange(8.0).reshape(1, 1, 4, 2, 1)
    mask = torch.zeros(1, 1, 8, 4, 1)
    mask[0, 0, 3, 1] = 1
    nearest = F.interpolate(mask, size=features.shape[2:], mode="nearest")
    assert masked_average_pooling(features, nearest).item() == 0
    # Voxel 3 of 8 lies a quarter of the way from cell 1 to cell 2, voxel 1 of 4 likewise from cell 0 to cell 1.
    assert masked_average_pooling(features, mask).item() == pytest.approx(2 * 1.25 + 0.25, abs=1e-4)


def test_pooling_of_large_organs_stays_finite_in_half_precision() -> None:
    features, mask = torch.full((1, 2, 16, 16, 10), 7.0, dtype=torch.float16), torch.ones(1, 1, 128, 128, 10)
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            got = masked_average_pooling(features, mask)
        assert got.dtype == torch.float16 and got.tolist() == [[7.0, 7.0]]


def test_an_empty_mask_gives_zeros() -> None:
    assert masked_average_pooling(torch.randn(1, 2, 2, 2, 3), torch.zeros(1, 1, 4, 4, 3)).tolist() == [[0.0, 0.0]]


def test_probabilities_are_interpolated_with_aligned_corners() -> None:
    torch.manual_seed(0)
    net = ADNet(Cells()).eval()
    volume = torch.randn(1, 3, 6, 8, 3)
    net.prototypes = torch.tensor([[1.0, 2.0, -1.0]])
    with torch.no_grad():
        got = torch.softmax(net(volume), 1)[0, 1].numpy()
    assert got.shape == (6, 8, 3)
    features = F.avg_pool3d(volume, (2, 2, 1))[0].numpy()
    direction = np.array([1.0, 2.0, -1.0]) / math.sqrt(6)
    p = np.zeros((3, 4, 3))
    for y, x, z in np.ndindex(*p.shape):
        cosine = features[:, y, x, z] @ direction / np.linalg.norm(features[:, y, x, z])
        p[y, x, z] = 1 / (1 + math.exp(-0.5 * (20 * cosine - 10)))
    for y, x, z in np.ndindex(*got.shape):
        v, u = y * (3 - 1) / (6 - 1), x * (4 - 1) / (8 - 1)
        i, j = min(int(v), 1), min(int(u), 2)
        a, b = v - i, u - j
        top = (1 - b) * p[i, j, z] + b * p[i, j + 1, z]
        bottom = (1 - b) * p[i + 1, j, z] + b * p[i + 1, j + 1, z]
        assert got[y, x, z] == pytest.approx((1 - a) * top + a * bottom, abs=2e-6)


def test_condition_makes_one_prototype_of_a_volume_and_their_mean_of_several() -> None:
    torch.manual_seed(0)
    image, label = support(2, 3, channels=3, size=(8, 6, 4))
    label[1, 2] = 0  # padding
    net = ADNet(Cells()).condition(image, label)
    for way, shots in enumerate((3, 2)):
        expected = torch.stack(
            [upsampled_mean(F.avg_pool3d(image[way, s], (2, 2, 1)), label[way, s, 0]) for s in range(shots)]
        ).mean(0)
        torch.testing.assert_close(net.prototypes[way], expected, rtol=1e-4, atol=1e-5)
    features = F.avg_pool3d(image.flatten(0, 1), (2, 2, 1)).unflatten(0, (2, 3))
    torch.testing.assert_close(net.prototypes, support_prototypes(features, label))


def test_a_volume_that_ways_share_is_encoded_once_and_padding_never() -> None:
    image, label = support(3, 2, channels=3, size=(8, 6, 4))
    label[1, 1] = 0
    net = ADNet(Cells()).condition(image[:1].expand(3, -1, -1, -1, -1, -1), label)
    assert net.encoder.volumes == [1, 1]
    apart = ADNet(Cells()).condition(image[:1].repeat(3, 1, 1, 1, 1, 1), label)
    assert apart.encoder.volumes == [1, 1] and torch.equal(net.prototypes, apart.prototypes)
    different = ADNet(Cells()).condition(image, label)
    assert different.encoder.volumes == [1] * 5


def test_the_middle_slice_alone_is_labelled_but_all_are_seen() -> None:
    torch.manual_seed(0)
    image, label = support(1, 1)
    middle = torch.zeros_like(label)
    middle[..., 2] = label[..., 2]
    net = ADNet(small()).eval()
    of_volume = net.condition(image, middle).prototypes
    elsewhere = image.clone()
    elsewhere[..., 4] += torch.randn(32, 32)
    assert not torch.allclose(net.condition(elsewhere, middle).prototypes, of_volume)
    alone = net.condition(image[..., 2:3], label[..., 2:3]).prototypes
    assert not torch.allclose(alone, of_volume)


@pytest.mark.parametrize("mode", [True, False])
def test_conditioned_network_equals_the_episode(mode: bool) -> None:
    torch.manual_seed(0)
    net = ADNet(small()).train(mode)
    support_image, support_label = support(2, 2)
    support_label[1, 1] = 0
    query = torch.randn(2, 1, 32, 32, 5)
    with torch.no_grad():
        episode = net(query, support_image, support_label)
        for n in range(2):
            net.condition(support_image[n : n + 1], support_label[n : n + 1])
            torch.testing.assert_close(net(query[n : n + 1]), episode["logits"][n : n + 1], rtol=1e-3, atol=1e-3)
    assert episode["aligned_logits"].shape == (2, 2, 2, 32, 32, 5)


def test_aligned_branch_is_the_reversed_roles() -> None:
    """Eq. 5: prototype of the query's features under its predicted mask, applied to the support volume."""
    torch.manual_seed(0)
    net = ADNet(Cells())
    (support_image, support_label), query = support(1, 1, 3, (8, 8, 3)), torch.randn(1, 3, 8, 8, 3)
    with torch.no_grad():
        out = net(query, support_image, support_label)
    features = F.avg_pool3d(query[0], (2, 2, 1))
    prototype = upsampled_mean(F.avg_pool3d(support_image[0, 0], (2, 2, 1)), support_label[0, 0, 0])
    selected = 20 * F.cosine_similarity(features, prototype[:, None, None, None], dim=0) > 10
    assert 0 < selected.sum() < selected.numel() and out["aligned"].tolist() == [True]
    reverse = features[:, selected].mean(1)
    cosine = F.cosine_similarity(F.avg_pool3d(support_image[0, 0], (2, 2, 1)), reverse[:, None, None, None], dim=0)
    p = torch.sigmoid(0.5 * (20 * cosine - 10))[None, None]
    p = F.interpolate(p, size=(8, 8, 3), mode="trilinear", align_corners=True)[0, 0]
    torch.testing.assert_close(torch.sigmoid(out["aligned_logits"][0, 0, 1]), p, rtol=1e-4, atol=1e-5)


def test_the_loss_of_an_episode_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    net = ADNet(small(), threshold=0.0)
    support_image, support_label = support(2, 1)
    query, label = torch.randn(2, 1, 32, 32, 5), (torch.rand(2, 1, 32, 32, 5) > 0.5).float()
    loss = ADNetLoss()(net(query, support_image, support_label), label)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_permuted_ways_permute_the_outputs() -> None:
    torch.manual_seed(0)
    net = ADNet(small()).eval()
    image, label = support(3, 2)
    query, order = torch.randn(1, 1, 32, 40, 6), [2, 0, 1]
    with torch.no_grad():
        one = net.condition(image, label)(query)
        two = net.condition(image[order], label[order])(query)
    torch.testing.assert_close(two[:, 1:], one[:, 1:][:, order])
    assert not torch.allclose(one[:, 1], one[:, 2]) and one.shape == (1, 4, 32, 40, 6)


def test_dimensions_are_the_encoders() -> None:
    assert ADNet(build_encoder("compact")).spatial_dims == 2
    assert ADNet(build_encoder("compact", positions=[0.5])).spatial_dims == 2
    assert ADNet(small()).spatial_dims == ADNet(PositionedEncoder(small(), [0.5])).spatial_dims == 3


def test_conditioned_network_with_positions_scripts_and_reloads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = ADNet(PositionedEncoder(small(), [0.4, 0.3, 0.5])).eval().condition(*support(2, 1, channels=4))
    query = torch.randn(1, 4, 33, 40, 7)
    torch.jit.script(net).save(str(tmp_path / "net.ts"))
    with torch.no_grad():
        expected = net(query)
        torch.testing.assert_close(torch.jit.load(str(tmp_path / "net.ts"))(query), expected, rtol=0, atol=1e-5)
    assert expected.shape == (1, 3, 33, 40, 7)


def test_positions_of_volumes_by_hand() -> None:
    """The cosine of two feature vectors is the weighted mean of texture and of place, across slices too."""
    weights = [0.5, 0.3, 0.8]
    encoder = PositionedEncoder(Cells(2, cell=1), weights)
    torch.manual_seed(0)
    volume = torch.cat([torch.rand(1, 2, 1, 1, 2) + 0.1, torch.rand(1, 3, 1, 1, 2) * 2 - 1], dim=1)
    features = encoder(volume)
    a, b = features[0, :, 0, 0, 0], features[0, :, 0, 0, 1]
    texture = float(torch.cosine_similarity(volume[0, :2, 0, 0, 0], volume[0, :2, 0, 0, 1], dim=0))
    apart = (volume[0, 2:, 0, 0, 0] - volume[0, 2:, 0, 0, 1]).tolist()
    place = sum(w**2 * math.cos(math.pi / 2 * d) for w, d in zip(weights, apart, strict=True))
    expected = (texture + place) / (1 + sum(w**2 for w in weights))
    assert float(torch.cosine_similarity(a, b, dim=0)) == pytest.approx(expected, abs=1e-6)


def test_conditioned_under_autocast_it_runs_without() -> None:
    torch.manual_seed(0)
    network = ADNet(build_encoder("compact_3d")).eval()
    image, label = torch.rand(1, 1, 1, 32, 32, 4), torch.ones(1, 1, 1, 32, 32, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network.condition(image, label)
    assert network.prototypes.dtype == torch.float32
    assert torch.isfinite(network(image[0])).all()
