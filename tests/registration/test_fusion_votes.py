# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Majority and locally weighted votes, and what every label fusion refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from monai_fss.registration.fusion import local_weighted_vote, majority_vote, pbaf, staple

SHAPE = (8, 7, 4)
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.standard_normal(SHAPE)
IMAGES = RANDOM.standard_normal((3, *SHAPE))
LABELS = RANDOM.integers(0, 3, (3, *SHAPE))

FUSIONS: dict[str, Callable[..., np.ndarray]] = {
    "majority": lambda image, images, labels, values: majority_vote(labels, values),
    "staple": lambda image, images, labels, values: staple(labels, values),
    "msd": local_weighted_vote,
    "ncc": lambda *arrays: local_weighted_vote(*arrays, similarity="ncc"),
    "pbaf": pbaf,
}
WITH_IMAGES = ["msd", "ncc", "pbaf"]


def voxels(*votes: list[int]) -> np.ndarray:
    """Labels of atlases (one list each) whose voxels lie in a row."""
    return np.array(votes).reshape(len(votes), -1, 1, 1)


def test_majority_by_hand() -> None:
    labels = voxels([1, 0, 2, 7], [1, 1, 2, 0], [1, 2, 0, 0], [1, 2, 1, 1])
    shares = majority_vote(labels, [1, 2])
    assert shares.dtype == np.float32 and shares.shape == (2, 4, 1, 1)
    np.testing.assert_array_equal(shares[:, :, 0, 0], [[1, 0.25, 0.25, 0.25], [0, 0.5, 0.5, 0]])


def test_outside_the_field_of_view_nobody_votes() -> None:
    labels = voxels([1, -1, -1], [0, 1, -1], [-1, 0, -1])
    np.testing.assert_array_equal(majority_vote(labels, [1]).ravel(), [0.5, 0.5, 0])
    np.testing.assert_array_equal(majority_vote(labels, [0]).ravel(), [0.5, 0.5, 0])


def test_weights_count_among_those_that_vote() -> None:
    labels = voxels([1, -1], [0, 1], [0, 0])
    np.testing.assert_allclose(majority_vote(labels, [1], weights=[3, 1, 0]).ravel(), [0.75, 1])
    np.testing.assert_allclose(majority_vote(labels, [1], weights=[2, 1, 1]).ravel(), [0.5, 0.5])


@pytest.mark.parametrize("weights", [[1, 1], [1, -1, 1], [0, 0, 0], [1, np.nan, 1]])
def test_weights_are_checked(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"weights: .* for 3 atlases. Pass one number from 0 for each"):
        majority_vote(LABELS, [1], weights=weights)


@pytest.mark.parametrize("similarity", ["msd", "ncc"])
def test_the_atlas_that_looks_alike_decides_where_it_does(similarity: str) -> None:
    random = np.random.default_rng(1)
    image, other, third = (gaussian_filter(random.standard_normal((24, 24, 6)), 1.5) for _ in range(3))
    images, labels = np.stack([image, other, third]), np.zeros((3, 24, 24, 6), int)
    images[0, 12:], images[1, 12:] = other[12:], image[12:]  # the first is right above, the second below
    labels[0, :12], labels[1, 12:] = 1, 1  # each labels its own half; the third says no everywhere
    assert np.all(majority_vote(labels, [1]) < 0.5)
    fused = local_weighted_vote(image, images, labels, [1], similarity=similarity, gain=3)[0]
    assert fused[:9].mean() > 0.9 and fused[15:].mean() > 0.9


def test_difference_weights_by_hand() -> None:
    """One voxel is the whole patch: m is the squared difference of the standardised images."""
    image, images = np.array([0.0, 2.0]), np.array([[0.0, 2.0], [2.0, 0.0]])  # standardised: -1, 1
    labels = voxels([1, 1], [2, 2])
    fused = local_weighted_vote(
        image.reshape(2, 1, 1), images.reshape(2, 2, 1, 1), labels, [1, 2], patch=(1, 1, 1), gain=0.5
    )
    weights = np.array([1e-3, 4 + 1e-3]) ** -0.5
    np.testing.assert_allclose(fused[:, :, 0, 0], np.stack([weights / weights.sum()] * 2, 1), rtol=1e-5)


def test_correlation_ignores_local_brightness_and_contrast() -> None:
    image, ramp = IMAGE, np.linspace(1, 2, 8)[:, None, None]
    images = np.stack([3 * image + 5, IMAGES[1], -image])
    fused = local_weighted_vote(image, images, LABELS, [1, 2], similarity="ncc")
    again = local_weighted_vote(image, images * 2 - 7, LABELS, [1, 2], similarity="ncc")
    np.testing.assert_allclose(fused, again, atol=1e-5)
    only = local_weighted_vote(image, np.stack([image * ramp, -image]), LABELS[:2], [1], similarity="ncc")[0]
    np.testing.assert_allclose(only, LABELS[0] == 1, atol=1e-3)


@pytest.mark.parametrize("similarity", ["msd", "ncc"])
def test_no_gain_and_flat_images_are_the_majority(similarity: str) -> None:
    majority = majority_vote(LABELS, [1, 2])
    for image, images, gain in ((IMAGE, IMAGES, 0), (np.zeros(SHAPE), np.full((3, *SHAPE), 4), 3)):
        fused = local_weighted_vote(image, images, LABELS, [1, 2], similarity=similarity, gain=gain)
        np.testing.assert_allclose(fused, majority, atol=1e-6)


@pytest.mark.parametrize("name", FUSIONS)
def test_the_order_of_atlases_and_values_changes_nothing(name: str) -> None:
    labels = LABELS.copy()
    labels[0, :3] = -1
    fused = FUSIONS[name](IMAGE, IMAGES, labels, [1, 2])
    np.testing.assert_allclose(FUSIONS[name](IMAGE, IMAGES[[2, 0, 1]], labels[[2, 0, 1]], [1, 2]), fused, atol=1e-5)
    np.testing.assert_allclose(FUSIONS[name](IMAGE, IMAGES, labels, [2, 1]), fused[::-1], atol=1e-5)


@pytest.mark.parametrize("name", FUSIONS)
def test_results_are_shares_of_all_values(name: str) -> None:
    labels = LABELS.copy()
    labels[:, 0], labels[:, 1], labels[:, 2] = -1, 2, 9
    fused = FUSIONS[name](IMAGE, IMAGES, labels, [0, 1, 2])
    assert fused.dtype == np.float32 and fused.shape == (3, *SHAPE)
    assert fused.min() >= 0
    total = fused.sum(0)
    np.testing.assert_array_equal(total[0], 0)
    np.testing.assert_allclose(fused[:, 1, 0, 0], [0, 0, 1], atol=1e-6)
    assert total[2].max() < 1e-6
    # STAPLE shares the class of the 9s among all voxels; PBAF searches 2 rows away.
    np.testing.assert_allclose(total[5:], 1, atol=0.2 if name == "staple" else 1e-5)


@pytest.mark.parametrize("name", FUSIONS)
def test_labels_and_values_are_checked(name: str) -> None:
    def fuse(labels: Any, values: list[Any]) -> None:
        FUSIONS[name](IMAGE, IMAGES, labels, values)

    with pytest.raises(ValueError, match=r"labels: 3 axes, shape \(8, 7, 4\). Pass \(N, H, W, D\)"):
        fuse(LABELS[0], [1])
    with pytest.raises(ValueError, match=r"labels: no atlas, shape \(0, 8, 7, 4\). Pass at least one"):
        fuse(LABELS[:0], [1])
    with pytest.raises(TypeError, match="labels: voxels of type float64. Pass whole numbers"):
        fuse(LABELS * 0.5, [1])
    with pytest.raises(ValueError, match="labels: the value -2. Pass 0 and above"):
        fuse(LABELS - 2, [1])
    with pytest.raises(ValueError, match="values: empty. Pass the label values"):
        fuse(LABELS, [])
    for values in ([1, 1], [-1], [1.5]):
        with pytest.raises(ValueError, match="values: .*. Pass each label value once"):
            fuse(LABELS, values)


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_images_are_checked(name: str) -> None:
    def fuse(image: np.ndarray, images: np.ndarray) -> None:
        FUSIONS[name](image, images, LABELS, [1])

    with pytest.raises(ValueError, match=r"image: shape \(7, 7, 4\), but the labels are on a grid of \(8, 7, 4\)"):
        fuse(IMAGE[1:], IMAGES)
    with pytest.raises(ValueError, match=r"images: shape \(2, 8, 7, 4\), but the labels have \(3, 8, 7, 4\)"):
        fuse(IMAGE, IMAGES[1:])
    with pytest.raises(TypeError, match="images: voxels of type complex128. Pass real numbers"):
        fuse(IMAGE, IMAGES + 1j)
    broken = IMAGE.copy()
    broken[0, 0, :2] = np.nan
    with pytest.raises(ValueError, match="image: 2 of 224 voxels are NaN or infinite"):
        fuse(broken, IMAGES)


def test_parameters_are_checked() -> None:
    with pytest.raises(ValueError, match=r"patch: \(4, 5, 3\) voxels. Pass three odd whole numbers"):
        local_weighted_vote(IMAGE, IMAGES, LABELS, [1], patch=(4, 5, 3))
    with pytest.raises(ValueError, match="similarity: 'mi' is not known. Pass 'msd' or 'ncc'"):
        local_weighted_vote(IMAGE, IMAGES, LABELS, [1], similarity="mi")
    with pytest.raises(ValueError, match="gain: -1 is out of range. Pass a number from 0 to 10"):
        local_weighted_vote(IMAGE, IMAGES, LABELS, [1], gain=-1)
