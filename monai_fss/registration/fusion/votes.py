# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Label fusion by votes: one vote for each atlas, or votes that count more where the atlas looks like the query."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import uniform_filter

from .checks import check_images, check_labels, check_odd

__all__ = ["local_weighted_vote", "majority_vote"]

# A mean squared difference of this share of the images' variance is as good as none.
LEAST_DIFFERENCE = 1e-3
# What a vote counts where an atlas does not correlate at all: decides only where none of them does.
LEAST_WEIGHT = 1e-6
# Above this, float32 cannot hold the weights.
MAX_GAIN = 10


def majority_vote(
    labels: np.ndarray, values: Sequence[int], *, weights: Sequence[float] | np.ndarray | None = None
) -> np.ndarray:
    """The share of the atlases that say each value.

    Args:
        labels: warped labels of N atlases, whole numbers of shape (N, H, W, D). -1 marks what is outside an atlas'
            field of view: it does not vote there.
        values: the label values of W classes.
        weights: how much each atlas counts, (N,), 0 or more. Default: all the same.

    Returns:
        float32 of shape (W, H, W, D): the shares among those that vote; 0 where nobody does. Over the classes they
        add up to less than 1 where atlases say values that are not asked for.

    Raises:
        TypeError: if the labels are not whole numbers.
        ValueError: if shapes, values or weights do not fit.

    Source: R. A. Heckemann et al., Automatic anatomical brain MRI segmentation combining label propagation and
    decision fusion, NeuroImage 33, 2006.

    Example:
        >>> majority_vote(np.array([1, 1, 2, 1]).reshape(4, 1, 1, 1), [1, 2]).ravel()
        array([0.75, 0.25], dtype=float32)
    """
    check_labels(labels, values)
    given = np.ones(len(labels)) if weights is None else np.asarray(weights, float)
    if given.shape != (len(labels),) or not (np.isfinite(given).all() and given.min() >= 0 and given.max() > 0):
        raise ValueError(
            f"weights: {given.tolist()} for {len(labels)} atlases. Pass one number from 0 for each, not all of them 0."
        )
    return _shares(labels, values, lambda atlas: given[atlas])


def local_weighted_vote(
    image: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    values: Sequence[int],
    *,
    patch: Sequence[int] = (5, 5, 3),
    similarity: str = "msd",
    gain: float = 2.0,
) -> np.ndarray:
    """Votes weighted, at each voxel, by how much the atlas looks like the query around it.

    With ``"msd"`` the weight is ``(m + 0.001) ** -gain``, where m is the mean squared difference of the two images
    over the patch, each image scaled to mean 0 and variance 1 over its volume. With ``"ncc"`` it is
    ``max(c, 0) ** gain + 1e-6``, where c is their correlation over the patch: for images whose intensities differ by
    more than a factor and a constant. Patches that reach over the edge repeat the outermost voxels.

    Args:
        image: the query, (H, W, D), any unit.
        images: the atlases' images, warped onto the query's grid, (N, H, W, D).
        labels: their labels, whole numbers of shape (N, H, W, D); -1 does not vote.
        values: the label values of W classes.
        patch: size of the patch in voxels, odd. The default suits slices thicker than their voxels are wide.
        similarity: ``"msd"`` or ``"ncc"``.
        gain: the larger, the more the best atlas decides alone; 0 is the majority vote. The default was the best
            of 0.5 to 10 for ``"msd"`` on synthetic scans; ``"ncc"`` gained up to 8.

    Returns:
        float32 of shape (W, H, W, D): weighted shares; 0 where nobody votes.

    Raises:
        TypeError: if the labels are not whole numbers, or an image is not real.
        ValueError: if shapes, values or parameters do not fit.

    Source: X. Artaechevarria, A. Munoz-Barrutia, C. Ortiz-de-Solorzano, Combination strategies in multi-atlas image
    segmentation: application to brain MR data, IEEE Transactions on Medical Imaging 28, 2009: local weighted voting
    with a power of the local similarity. Patch size and gain are choices of this package.
    """
    check_labels(labels, values)
    check_images(image, images, labels)
    check_odd("patch", patch)
    if similarity not in ("msd", "ncc"):
        raise ValueError(f"similarity: {similarity!r} is not known. Pass 'msd' or 'ncc'.")
    if not 0 <= gain <= MAX_GAIN:
        raise ValueError(f"gain: {gain} is out of range. Pass a number from 0 to {MAX_GAIN}.")
    measure = _difference_weights if similarity == "msd" else _correlation_weights
    query = _standardised(image)
    return _shares(labels, values, lambda atlas: measure(query, _standardised(images[atlas]), patch, gain))


def _shares(labels: np.ndarray, values: Sequence[int], weigh: Callable[[int], float | np.ndarray]) -> np.ndarray:
    """Weighted shares of each value among the atlases that vote; ``weigh`` is called once for each atlas."""
    votes = np.zeros((len(values), *labels.shape[1:]), np.float32)
    total = np.zeros(labels.shape[1:], np.float32)
    for number, atlas in enumerate(labels):
        weight = np.where(atlas >= 0, np.float32(weigh(number)), np.float32(0))
        total += weight
        for value, vote in zip(values, votes, strict=True):
            np.add(vote, weight, out=vote, where=atlas == value)
    return np.divide(votes, total, out=votes, where=total > 0)


def _standardised(image: np.ndarray) -> np.ndarray:
    """The image as float32 with mean 0 and variance 1; all 0 if it is constant."""
    centred = image - image.mean(dtype=np.float64)
    deviation = centred.std(dtype=np.float64)
    return (centred / deviation if deviation > 0 else np.zeros_like(centred)).astype(np.float32)


def _difference_weights(query: np.ndarray, atlas: np.ndarray, patch: Sequence[int], gain: float) -> np.ndarray:
    difference = uniform_filter((query - atlas) ** 2, patch, mode="nearest")
    # The filter's running sums leave values slightly below 0.
    return (np.maximum(difference, 0) + LEAST_DIFFERENCE) ** -gain


def _correlation_weights(query: np.ndarray, atlas: np.ndarray, patch: Sequence[int], gain: float) -> np.ndarray:
    def mean(array: np.ndarray) -> np.ndarray:
        return uniform_filter(array, patch, mode="nearest", output=np.float64)

    query, atlas = query.astype(np.float64), atlas.astype(np.float64)
    query_mean, atlas_mean = mean(query), mean(atlas)
    covariance = mean(query * atlas) - query_mean * atlas_mean
    variances = (mean(query**2) - query_mean**2) * (mean(atlas**2) - atlas_mean**2)
    textured = variances > LEAST_DIFFERENCE**4
    correlation = covariance / np.sqrt(np.where(textured, variances, np.inf))
    return np.clip(correlation, 0, 1) ** gain + LEAST_WEIGHT
