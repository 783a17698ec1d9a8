# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PPNet: k-means prototypes against a plain loop, similarities by hand, and that the network learns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from known_features import Pixels, directions, random_support

from monai_fss.losses import PrototypeLoss
from monai_fss.networks.blocks import class_features, kmeans_means, max_similarity, part_prototypes, support_prototypes
from monai_fss.networks.nets import PPNet, build_encoder


def plain_kmeans(points: np.ndarray, clusters: int, iterations: int) -> np.ndarray:
    """Lloyd's algorithm, one point and one cluster at a time."""
    centers = [points[int((2 * k + 1) * len(points) // (2 * clusters))].copy() for k in range(clusters)]
    for iteration in range(iterations):
        nearest = [min(range(clusters), key=lambda k, p=p: ((p - centers[k]) ** 2).sum()) for p in points]
        groups = [[p for p, n in zip(points, nearest, strict=True) if n == k] for k in range(clusters)]
        means = [np.mean(group, axis=0) if group else None for group in groups]
        if iteration < iterations - 1:
            centers = [old if mean is None else mean for old, mean in zip(centers, means, strict=True)]
    return np.stack([np.zeros(points.shape[1]) if mean is None else mean for mean in means])


@pytest.mark.parametrize(("count", "clusters", "iterations"), [(300, 5, 10), (40, 3, 1), (12, 5, 4), (7, 1, 10)])
def test_kmeans_is_that_of_a_plain_loop(count: int, clusters: int, iterations: int) -> None:
    points = np.random.default_rng(count).normal(size=(count, 4))
    found, filled = kmeans_means(torch.tensor(points), clusters, iterations)
    assert filled.all()
    np.testing.assert_allclose(found.numpy(), plain_kmeans(points, clusters, iterations), atol=1e-10)


def test_an_empty_cluster_leaves_the_mean_of_the_class() -> None:
    points = torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 2.0]])
    means, filled = kmeans_means(points, 5)
    np.testing.assert_allclose(means.numpy(), plain_kmeans(points.numpy(), 5, 10), atol=1e-6)
    assert filled.sum() == 2 and not means[~filled].any()
    features = points.T.reshape(1, 1, 2, 2, 2)
    found, _ = part_prototypes(features, torch.ones(1, 1, 1, 2, 2), 5, global_weight=0.0)
    expected = torch.where(filled[:, None], means, torch.tensor([0.75, 0.5]))
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-4)
    nothing, filled = kmeans_means(torch.zeros(0, 2), 3)
    assert torch.equal(nothing, torch.zeros(3, 2)) and not filled.any()


def test_gradients_go_through_the_means_alone() -> None:
    """Each point's gradient is that of the mean of its cluster: 1 / its size."""
    points = torch.tensor([[0.0], [0.2], [10.0], [0.1], [10.2]], requires_grad=True)
    means, _ = kmeans_means(points, 2)
    assert sorted(means.flatten().tolist()) == pytest.approx([0.1, 10.1])
    means.sum().backward()
    torch.testing.assert_close(points.grad, torch.tensor([[1 / 3], [1 / 3], [1 / 2], [1 / 3], [1 / 2]]))


def test_features_of_a_class_at_twice_their_size_or_at_the_masks() -> None:
    """A mask of many pixels is laid on features of 8 x 8, one of few on those of 16 x 16; padding gives none."""
    torch.manual_seed(0)
    features, mask = torch.randn(3, 2, 4, 4), torch.zeros(3, 1, 16, 16)
    mask[0, 0, :8, :10] = 1  # 4 x 5 pixels of 8 x 8
    mask[1, 0, 5, 3:7] = 1
    found = class_features(features, mask, upscale=2)
    large, full = (F.interpolate(features, size=size, mode="bilinear", align_corners=False) for size in (8, 16))
    expected = [large[0, :, y, x] for y in range(4) for x in range(5)] + [full[1, :, 5, x] for x in range(3, 7)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_a_prototype_is_the_mean_of_its_cluster_and_a_share_of_the_whole() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 3, 4, 8, 8)
    mask = (torch.rand(2, 3, 1, 8, 8) > 0.4).float()
    mask[0, 2] = 0  # padding
    mask[1] = 0
    found, valid = part_prototypes(features, mask, clusters=5, global_weight=0.8)
    points = torch.cat([features[0, s][:, mask[0, s, 0] > 0].T for s in range(3)])
    expected = plain_kmeans(points.double().numpy(), 5, 10) + 0.8 * support_prototypes(features, mask)[0].numpy()
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-4)
    assert valid.tolist() == [[True] * 5, [False] * 5]
    assert torch.equal(part_prototypes(features[:1, :2], mask[:1, :2], 5, 0.8)[0], found[:1])


def test_a_pixel_is_as_similar_as_to_the_most_similar_prototype() -> None:
    degrees = [[0.0, 20.0], [100.0, 215.0]]
    banks = directions([[0, 90, 300], [180, 250, 100]]).permute(1, 2, 0)
    valid = torch.tensor([[True, True, True], [True, True, False]])
    found = max_similarity(directions(degrees)[None], banks, valid, scale=20)
    for n, angles in enumerate(((0, 90, 300), (180, 250))):
        expected = [[max(20 * math.cos(math.radians(a - b)) for b in angles) for a in row] for row in degrees]
        torch.testing.assert_close(found[0, n], torch.tensor(expected), rtol=0, atol=1e-4)
    nothing = max_similarity(directions(degrees)[None], banks, torch.zeros(2, 3, dtype=torch.bool))
    assert torch.equal(nothing, torch.zeros(1, 2, 2, 2))


def two_parts() -> tuple[torch.Tensor, torch.Tensor]:
    """A slice 8 x 8 whose organ has a part at 0 and one at 90 degrees, on a background at 180 degrees."""
    image = np.full((8, 8), 180.0)
    image[2:6, :4], image[2:6, 4:] = 0, 90
    label = torch.zeros(1, 8, 8)
    label[:, 2:6] = 1
    return directions(image), label


@pytest.mark.parametrize("share", [0.0, 0.8])
def test_an_organ_of_two_parts_has_a_prototype_of_each(share: float) -> None:
    net = PPNet(Pixels(), clusters=2, global_weight=share).eval()
    image, label = two_parts()
    net.condition(image[None, None], label[None, None])
    whole = share * torch.tensor([0.5, 0.5])
    expected = torch.tensor([[1.0, 0.0], [0.0, 1.0]]) + whole
    found = net.prototypes[0, 1]
    torch.testing.assert_close(found[found[:, 0].argsort(descending=True)], expected, rtol=0, atol=1e-3)
    logits = net(directions([[0, 30], [90, 180]])[None])[0, 1]
    cosine = torch.einsum("dyx,pd->pyx", directions([[0, 30], [90, 180]]), F.normalize(expected, dim=1)).amax(0)
    background = -directions([[0, 30], [90, 180]])[0]  # cosine to the direction of 180 degrees
    torch.testing.assert_close(logits, 20 * (cosine - background), rtol=0, atol=0.05)


def test_an_episode_aligns_the_support_by_clusters_of_the_query() -> None:
    net = PPNet(Pixels(), clusters=2)
    image, label = two_parts()
    out = net(image[None], image[None, None], label[None, None])
    assert ((out["logits"][:, 1] > 0).float() == label).all() and out["aligned"].all()
    assert ((out["aligned_logits"][0, :, 1] > 0).float() == label).all()
    empty = net(directions(np.full((8, 8), 180.0))[None], image[None, None], label[None, None])
    assert not empty["aligned"].any()


@pytest.mark.parametrize("mode", [True, False])
def test_conditioned_network_equals_the_episode(mode: bool) -> None:
    torch.manual_seed(0)
    net = PPNet(build_encoder("compact")).train(mode)
    support_image, support_label = random_support(2, 2, 1, 32)
    support_label[1, 1] = 0  # padding
    query = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        episode = net(query, support_image, support_label)
        for n in range(2):
            net.condition(support_image[n : n + 1], support_label[n : n + 1])
            torch.testing.assert_close(net(query[n : n + 1]), episode["logits"][n : n + 1], rtol=1e-4, atol=1e-3)


def test_an_episode_without_any_mask_trains_nothing() -> None:
    """Augmentation can push the pseudo-organ out of the window; every parameter still takes part in the step."""
    net = PPNet(build_encoder("compact"))
    out = net(torch.randn(1, 1, 32, 32), torch.randn(1, 1, 1, 32, 32), torch.zeros(1, 1, 1, 32, 32))
    assert torch.equal(out["logits"], torch.zeros(1, 2, 32, 32))
    PrototypeLoss()(out, torch.zeros(1, 1, 32, 32)).backward()
    assert all(p.grad is not None and not p.grad.any() for p in net.parameters())


def test_half_precision_stays_close() -> None:
    torch.manual_seed(0)
    net = PPNet(build_encoder("compact"))
    image, label = random_support(2, 1, 1, 32)
    query = image[:, 0] + 0.1 * torch.randn(2, 1, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = net(query, image, label)
    full = net(query, image, label)
    assert half["logits"].dtype == torch.float32
    assert (half["logits"] - full["logits"]).abs().median() < 0.5
    (half["logits"].sum() + half["aligned_logits"].sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("bad", [{"clusters": 0}, {"global_weight": -0.1}, {"alpha": 0.0}])
def test_arguments_are_checked(bad: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        PPNet(Pixels(), **bad)
