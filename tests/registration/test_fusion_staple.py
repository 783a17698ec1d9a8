# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""STAPLE against closed forms and against ITK."""

from __future__ import annotations

from itertools import product

import itk
import numpy as np
import pytest

from monai_fss.registration.fusion import majority_vote, staple


def exact_raters(accuracies: list[float], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth (V, 1, 1), half of it 1, and labels (N, V, 1, 1) that err independently in exactly these shares."""
    truth, labels = [], []
    for is_true, *wrong in product((0, 1), repeat=1 + len(accuracies)):
        share = np.prod([1 - a if w else a for a, w in zip(accuracies, wrong, strict=True)])
        count = round(n / 2 * share)
        truth += [is_true] * count
        labels += [[is_true ^ w for w in wrong]] * count
    return np.array(truth).reshape(-1, 1, 1), np.array(labels).T.reshape(len(accuracies), -1, 1, 1)


def rated(n_atlases: int, n_classes: int, seed: int) -> np.ndarray:
    """Labels (N, 20, 20, 10) of a random truth; atlases of different accuracy."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, n_classes, (20, 20, 10))
    return np.stack(
        [
            np.where(random.random(truth.shape) < 0.6 + 0.07 * n, truth, random.integers(0, n_classes, truth.shape))
            for n in range(n_atlases)
        ]
    )


def test_one_reliable_atlas_outvotes_two_poor_ones() -> None:
    """Errors of 5 %, 30 % and 30 %: three independent raters determine their accuracies, so EM has to find them.

    By them the best decision always follows the first atlas: log(.95 / .05) > 2 log(.7 / .3). A majority vote errs in
    .05 * (1 - .7^2) + .95 * .3^2 = 11.1 % of the voxels.
    """
    truth, labels = exact_raters([0.95, 0.7, 0.7], 20_000)
    fused = staple(labels, [1], tolerance=1e-9, max_iterations=5000)[0]
    assert np.mean((fused > 0.5) != truth) == pytest.approx(0.05, abs=1e-6)
    assert np.mean((majority_vote(labels, [1])[0] > 0.5) != truth) == pytest.approx(0.111, abs=1e-6)
    alone = fused[(labels[0] == 1) & (labels[1] == 0) & (labels[2] == 0)]
    np.testing.assert_allclose(alone, 0.95 * 0.3**2 / (0.95 * 0.3**2 + 0.05 * 0.7**2), atol=1e-3)


def plain_em(votes: np.ndarray, n_classes: int, iterations: int) -> np.ndarray:
    """Posteriors (V, classes) of votes (N, V), voxel by voxel and atlas by atlas."""
    prior = np.array([np.sum(votes == t) for t in range(n_classes)]) / np.sum(votes >= 0)
    wrong = 1e-5 / (n_classes - 1)
    confusion = np.full((len(votes), n_classes, n_classes), wrong) + np.eye(n_classes) * (0.99999 - wrong)
    for _ in range(iterations):
        posterior = np.tile(prior, (votes.shape[1], 1))
        for matrix, said in zip(confusion, votes, strict=True):
            posterior[said >= 0] *= matrix[said[said >= 0]]
        posterior /= posterior.sum(1, keepdims=True)
        for matrix, said in zip(confusion, votes, strict=True):
            for value in range(n_classes):
                matrix[value] = posterior[said == value].sum(0) / posterior[said >= 0].sum(0)
    return posterior


@pytest.mark.parametrize("seed", range(3))
def test_one_class_equals_itk(seed: int) -> None:
    labels = rated(4, 2, seed)
    reference = itk.STAPLEImageFilter[itk.Image[itk.F, 3], itk.Image[itk.F, 3]].New()
    for number, atlas in enumerate(labels):
        reference.SetInput(number, itk.image_from_array(atlas.astype(np.float32)))
    reference.SetForegroundValue(1)
    reference.Update()
    fused = staple(labels, [1], tolerance=1e-9, max_iterations=5000)[0]
    np.testing.assert_allclose(fused, itk.array_from_image(reference.GetOutput()), atol=1e-4)


def test_several_classes_equal_a_plain_reference() -> None:
    labels = rated(4, 3, 0)
    labels[0, :5], labels[2, :, :3] = -1, -1
    expected = plain_em(labels.reshape(4, -1), 3, 300)
    fused = staple(labels, [0, 1, 2], tolerance=1e-9, max_iterations=5000)
    np.testing.assert_allclose(fused.reshape(3, -1).T, expected, atol=1e-4)


def test_values_not_asked_for_are_one_class() -> None:
    labels = rated(4, 2, 0)
    renamed = np.where(labels == 0, 7, labels)
    np.testing.assert_array_equal(staple(labels, [1]), staple(renamed, [1]))


def test_votes_outside_the_field_of_view_do_not_count() -> None:
    labels = rated(4, 3, 0)
    absent = np.concatenate([labels, np.full((1, *labels.shape[1:]), -1)])
    np.testing.assert_allclose(staple(absent, [1, 2]), staple(labels, [1, 2]), atol=1e-6)
    labels[:, 0] = -1
    fused = staple(labels, [1, 2])
    np.testing.assert_array_equal(fused[:, 0], 0)
    np.testing.assert_allclose(fused[:, 1:], staple(labels[:, 1:], [1, 2]), atol=1e-6)


def test_disputed_only_does_not_depend_on_the_background() -> None:
    labels = rated(4, 2, 0)
    padded = np.pad(labels, ((0, 0), (20, 20), (20, 20), (0, 0)))
    inner = (slice(None), slice(20, -20), slice(20, -20))
    fused = staple(padded, [1], disputed_only=True)
    np.testing.assert_allclose(fused[inner], staple(labels, [1], disputed_only=True), atol=1e-6)
    assert np.abs(staple(padded, [1])[inner] - staple(labels, [1])).max() > 0.01
    agreed = labels.min(0) == labels.max(0)
    np.testing.assert_array_equal(fused[inner][0][agreed], labels[0][agreed])


def test_more_patterns_than_a_number_holds() -> None:
    """45 atlases of two classes: 3^45 possible patterns. They say the truth, so the posterior is certain."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, (10, 10, 4))
    labels = truth ^ (random.random((45, *truth.shape)) < 0.2)
    np.testing.assert_allclose(staple(labels, [1])[0], truth, atol=1e-3)


def test_one_atlas_is_copied() -> None:
    labels = rated(1, 3, 0)
    for disputed_only in (False, True):
        fused = staple(labels, [1, 2], disputed_only=disputed_only)
        np.testing.assert_allclose(fused, np.stack([labels[0] == 1, labels[0] == 2]), atol=1e-3)


def test_an_unsettled_estimate_warns() -> None:
    with pytest.warns(UserWarning, match="STAPLE: the confusion matrices still change .* after 2 iterations"):
        staple(rated(4, 2, 0), [1], max_iterations=2)


def test_parameters_are_checked() -> None:
    with pytest.raises(ValueError, match="max_iterations: 0 is not a positive number"):
        staple(rated(2, 2, 0), [1], max_iterations=0)
    with pytest.raises(ValueError, match="tolerance: -1 is not a positive number"):
        staple(rated(2, 2, 0), [1], tolerance=-1)
