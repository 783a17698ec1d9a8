# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Masked average pooling, prototypes and cosines against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_fss.networks.blocks.prototype import cosine_similarity, masked_average_pooling, support_prototypes


def weights(size: int, target: int) -> np.ndarray:
    """(target, size) matrix of linear interpolation with pixel centres aligned (align_corners False)."""
    matrix = np.zeros((target, size))
    for row in range(target):
        position = min(max((row + 0.5) * size / target - 0.5, 0), size - 1)
        low = int(position)
        matrix[row, low] += 1 - (position - low)
        matrix[row, min(low + 1, size - 1)] += position - low
    return matrix


def upsampled(features: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    for axis, target in enumerate(size):
        matrix = weights(features.shape[1 + axis], target)
        features = np.moveaxis(np.tensordot(matrix, features, axes=(1, 1 + axis)), 0, 1 + axis)
    return features


@pytest.mark.parametrize("size", [((4, 5), (8, 10)), ((4, 4), (9, 7)), ((2, 3, 2), (4, 6, 5)), ((4, 5), (4, 5))])
def test_pooling_is_upsample_then_average(size: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    small, large = size
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 3, *small))
    mask = rng.random((2, 1, *large)) > 0.6
    got = masked_average_pooling(torch.from_numpy(features), torch.from_numpy(mask))
    for n in range(2):
        full = upsampled(features[n], large)
        total = np.zeros(3)
        for index in np.argwhere(mask[n, 0]):
            total += full[(slice(None), *index)]
        np.testing.assert_allclose(got[n].numpy(), total / (mask[n].sum() + 1e-5), rtol=1e-6, atol=1e-12)


def test_pooling_with_soft_mask_and_empty_mask() -> None:
    features = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    mask = torch.tensor([[[[1.0, 0.5], [0.0, 0.5]]]])
    assert masked_average_pooling(features, mask, eps=0.0).item() == pytest.approx((1 + 1.5 + 3.5) / 2)
    assert masked_average_pooling(features, torch.zeros_like(mask)).item() == 0


def test_prototype_is_the_mean_of_shots_not_of_pixels() -> None:
    features = torch.zeros(1, 2, 1, 2, 2)
    features[0, 0], features[0, 1] = 1.0, 4.0
    mask = torch.zeros(1, 2, 1, 2, 2)
    mask[0, 0, 0, 0, 0] = 1  # one pixel of 1, four pixels of 4: the mean over shots is 2.5, over pixels 3.4
    mask[0, 1] = 1
    assert support_prototypes(features, mask).item() == pytest.approx(2.5, abs=1e-4)


def test_prototypes_of_ways_equal_a_loop_and_empty_shots_do_not_count() -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 4, 5, 4, 4)
    mask = (torch.rand(3, 4, 1, 8, 8) > 0.5).float()
    mask[1, 2] = 0
    mask[2] = 0
    got = support_prototypes(features, mask)
    for way in range(3):
        shots = [
            masked_average_pooling(features[way, s][None], mask[way, s][None])[0]
            for s in range(4)
            if mask[way, s].any()
        ]
        expected = torch.stack(shots).mean(0) if shots else torch.zeros(5)
        torch.testing.assert_close(got[way], expected)


def test_cosine_equals_a_loop() -> None:
    rng = np.random.default_rng(1)
    features, shared = rng.normal(size=(2, 4, 3, 5)), rng.normal(size=(3, 4))
    own = rng.normal(size=(2, 2, 4))
    got = cosine_similarity(torch.from_numpy(features), torch.from_numpy(shared)).numpy()
    got_own = cosine_similarity(torch.from_numpy(features), torch.from_numpy(own)).numpy()
    assert got.shape == (2, 3, 3, 5) and got_own.shape == (2, 2, 3, 5)
    for b, y, x in np.ndindex(2, 3, 5):
        f = features[b, :, y, x]
        for w in range(3):
            assert got[b, w, y, x] == pytest.approx(f @ shared[w] / np.linalg.norm(f) / np.linalg.norm(shared[w]))
        for w in range(2):
            p = own[b, w]
            assert got_own[b, w, y, x] == pytest.approx(f @ p / np.linalg.norm(f) / np.linalg.norm(p))


def test_cosine_of_known_angles() -> None:
    features = torch.tensor([[1.0, 0.0], [-3.0, 0.0], [0.0, 2.0], [1.0, 1.0], [0.0, 0.0]]).T.reshape(1, 2, 5, 1)
    got = cosine_similarity(features, torch.tensor([[5.0, 0.0], [0.0, 0.0]]))[0, :, :, 0]
    torch.testing.assert_close(got[0], torch.tensor([1.0, -1.0, 0.0, 2**-0.5, 0.0]))
    assert torch.equal(got[1], torch.zeros(5))


def test_cosine_in_three_dimensions() -> None:
    torch.manual_seed(0)
    features, prototypes = torch.randn(1, 3, 2, 3, 4), torch.randn(2, 3)
    expected = cosine_similarity(features.flatten(3), prototypes).reshape(1, 2, 2, 3, 4)
    torch.testing.assert_close(cosine_similarity(features, prototypes), expected)


def test_cosine_has_a_finite_gradient_at_zero_features() -> None:
    features = torch.zeros(1, 2, 1, 1, requires_grad=True)
    cosine_similarity(features, torch.ones(1, 2)).sum().backward()
    assert features.grad is not None and torch.isfinite(features.grad).all()
