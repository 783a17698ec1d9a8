# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PBAF against a plain double-precision reference, and on cases whose answer is known."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from monai_fss.registration.fusion import majority_vote, pbaf


def at(volume: np.ndarray, voxel: np.ndarray) -> Any:
    """The value at a voxel, or at the nearest one inside."""
    return volume[tuple(np.clip(voxel, 0, np.array(volume.shape[:3]) - 1))]


def window(size: tuple[int, int, int]) -> list[np.ndarray]:
    return [np.array(o) for o in product(*(range(-(s // 2), s // 2 + 1) for s in size))]


def unit_gradient(volume: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    gradient = np.zeros((*volume.shape, 3))
    for voxel in np.ndindex(volume.shape):
        for axis in range(3):
            step = np.eye(3, dtype=int)[axis]
            gradient[voxel][axis] = (at(volume, voxel + step) - at(volume, voxel - step)) / (2 * spacing[axis])
        gradient[voxel] /= np.linalg.norm(gradient[voxel])
    return gradient


class Reference:
    """The features of one image, voxel by voxel."""

    def __init__(self, volume: np.ndarray, patch: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
        self.volume, self.patch = volume, window(patch)
        self.gradient = unit_gradient(volume, spacing)
        self.median = np.zeros_like(volume)
        for voxel in map(np.array, np.ndindex(volume.shape)):
            self.median[tuple(voxel)] = np.median([at(volume, voxel + offset) for offset in window((3, 3, 1))])
        self.known: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}

    def intensities(self, voxel: np.ndarray) -> np.ndarray:
        return np.array([at(self.volume, voxel + offset) for offset in self.patch])

    def features(self, voxel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those that are scaled, and the binary ones."""
        if tuple(voxel) not in self.known:
            self.known[tuple(voxel)] = self._features(voxel)
        return self.known[tuple(voxel)]

    def _features(self, voxel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        directions = np.concatenate([at(self.gradient, voxel + offset) for offset in self.patch])
        context = []
        for ray in range(8):
            for radius in (4, 8, 16, 32):
                angle = ray * np.pi / 4
                there = voxel + [round(radius * np.cos(angle)), round(radius * np.sin(angle)), 0]
                context.append(at(self.median, there))
        difference = np.array(context) - self.volume[tuple(voxel)]
        return np.concatenate([self.intensities(voxel), directions, difference]), (difference > 0).astype(float)


def plain_pbaf(image, images, labels, values, *, search, patch, k, h, spacing):
    query, *atlases = (Reference(volume, patch, spacing) for volume in (image, *images))
    fused = np.zeros((len(values), *image.shape))
    for voxel in map(np.array, np.ndindex(image.shape)):
        votes = [label[tuple(voxel)] for label in labels if label[tuple(voxel)] >= 0]
        if len(set(votes)) <= 1:
            fused[(slice(None), *voxel)] = [len(votes) > 0 and votes[0] == value for value in values]
            continue
        found = []
        for number, offset in product(range(len(images)), window(search)):
            there = voxel + offset
            if np.all((there >= 0) & (there < image.shape)) and labels[number][tuple(there)] >= 0:
                patches = atlases[number].intensities(there), query.intensities(voxel)
                found.append((np.mean((patches[0] - patches[1]) ** 2), number, tuple(there)))
        found = sorted(found)[:k]
        samples = [atlases[number].features(np.array(there)) for _, number, there in found]
        scaled, binary = np.array([s for s, _ in samples]), np.array([b for _, b in samples])
        target, target_binary = query.features(voxel)
        low, high = scaled.min(0), scaled.max(0)
        varies = high > low
        low, span = np.where(varies, low, -1), np.where(varies, high - low, 2)
        distances = np.sum((2 * (scaled - target) / span) ** 2, 1) + np.sum((binary - target_binary) ** 2, 1)
        weights = np.exp(-(distances - distances.min()) / h)
        for weight, (_, number, there) in zip(weights / weights.sum(), found, strict=True):
            fused[(slice(None), *voxel)] += weight * (np.array(values) == labels[number][there])
    return fused


def scene(shape: tuple[int, int, int], n_atlases: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atlases that look somewhat like the query, their labels, some of it outside the field of view."""
    random = np.random.default_rng(0)
    image = gaussian_filter(random.standard_normal(shape), 1) * 100
    images = np.stack([image + gaussian_filter(random.standard_normal(shape), 1) * 50 for _ in range(n_atlases)])
    labels = np.digitize(images, (-10, 10))
    labels[0, :2], labels[:, :, 0] = -1, -1
    return image.astype(np.float32), images.astype(np.float32), labels


@pytest.mark.parametrize(
    ("search", "patch", "k", "spacing"),
    [
        ((3, 3, 1), (3, 3, 1), 12, (1, 1, 1)),
        ((3, 1, 3), (3, 5, 3), 8, (1, 1.5, 4)),
        ((3, 3, 1), (3, 3, 1), 999, (2, 2, 2)),
    ],
)
def test_equals_a_plain_reference(search: Any, patch: Any, k: int, spacing: Any) -> None:
    """10 slices: more than the 8 that are taken at once."""
    image, images, labels = scene((7, 5, 10), 3)
    settings: dict[str, Any] = {"search": search, "patch": patch, "k": k, "h": 16.0, "spacing": spacing}
    fused = pbaf(image, images, labels, [1, 2], **settings)
    expected = plain_pbaf(np.float64(image), np.float64(images), labels, [1, 2], **settings)
    assert np.mean((expected > 0.01) & (expected < 0.99)) > 0.1
    np.testing.assert_allclose(fused, expected, atol=1e-4)


def edge(shift: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright half space whose border is at row 20 + shift, and its label."""
    random = np.random.default_rng(shift % 100)
    label = np.broadcast_to((np.arange(40) >= 20 + shift)[:, None, None], (40, 12, 3)).astype(int)
    return 100 * label + 2 * random.standard_normal(label.shape), label


def test_recovers_a_border_that_no_atlas_and_no_majority_has() -> None:
    image, truth = edge(0)
    atlases = [edge(shift) for shift in (2, 2, 2, 2, -1)]
    images, labels = np.stack([i for i, _ in atlases]), np.stack([label for _, label in atlases])
    majority = majority_vote(labels, [1])[0] > 0.5
    assert not majority[20:22].any()  # the border is two voxels off
    np.testing.assert_array_equal(pbaf(image, images, labels, [1], k=20)[0] > 0.5, truth == 1)


def test_one_sample_is_the_candidate_with_the_most_similar_patch() -> None:
    random = np.random.default_rng(0)
    images = random.standard_normal((2, 9, 9, 1))
    image = np.roll(images[1], 1, axis=0)  # what is at row x + 1 of the query is at row x of the second atlas
    labels = random.integers(0, 3, (2, 9, 9, 1))
    fused = pbaf(image, images, labels, [0, 1, 2], search=(3, 3, 1), patch=(3, 3, 1), k=1)
    disputed = (labels[0] != labels[1])[3:-3, 3:-3]
    moved = np.roll(labels[1], 1, axis=0)[3:-3, 3:-3]
    np.testing.assert_array_equal(fused[:, 3:-3, 3:-3].argmax(0)[disputed], moved[disputed])
    assert set(np.unique(fused)) == {0, 1}


def test_candidates_that_tie_vote_all() -> None:
    """Flat images: every candidate is as good as any other, so that the share of the labels remains."""
    labels = np.random.default_rng(0).integers(0, 2, (4, 5, 5, 1))
    fused = pbaf(np.zeros((5, 5, 1)), np.full((4, 5, 5, 1), 3), labels, [1], k=2)
    assert len(np.unique(labels[:, 2, 2, 0])) == 2
    assert fused[0, 2, 2, 0] == pytest.approx(labels.mean())


def test_a_common_scale_of_the_intensities_changes_nothing() -> None:
    image, images, labels = scene((9, 8, 3), 3)
    fused = pbaf(image, images, labels, [1, 2])
    np.testing.assert_allclose(pbaf(3 * image + 50, 3 * images + 50, labels, [1, 2]), fused, atol=1e-3)
    gains = np.array([2, 0.5, 7], np.float32).reshape(3, 1, 1, 1)
    matched = pbaf(4 * image - 9, gains * images + gains, labels, [1, 2], normalise=True)
    np.testing.assert_allclose(matched, pbaf(image, images, labels, [1, 2], normalise=True), atol=1e-3)


def test_an_atlas_without_a_view_is_as_no_atlas_and_one_thread_as_two() -> None:
    image, images, labels = scene((9, 8, 20), 3)
    fused = pbaf(image, images, labels, [1, 2], workers=2)
    np.testing.assert_array_equal(pbaf(image, images, labels, [1, 2], workers=1), fused)
    more = np.concatenate([images, images[:1]]), np.concatenate([labels, np.full_like(labels[:1], -1)])
    np.testing.assert_allclose(pbaf(image, *more, [1, 2]), fused, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k: 0 samples. Pass a whole number from 1"),
        ({"k": 1.5}, "k: 1.5 samples. Pass a whole number from 1"),
        ({"h": 0}, "h: 0 is not a positive number"),
        ({"patch": (7, 6, 1)}, r"patch: \(7, 6, 1\) voxels. Pass three odd whole numbers"),
        ({"search": (5, 5)}, r"search: \(5, 5\) voxels. Pass three odd whole numbers"),
        ({"spacing": (1, 1, 0)}, r"spacing: \(1, 1, 0\). Pass three positive lengths"),
        ({"workers": 0}, "workers: 0 threads. Pass a number from 1"),
    ],
)
def test_parameters_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pbaf(*scene((4, 4, 2), 2), [1], **settings)
