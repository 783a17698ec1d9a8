# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""STAPLE: label fusion that estimates how reliable each atlas is, from the agreement of the atlases alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from .checks import check_labels, check_positive, to_classes

__all__ = ["staple"]

# How sure the estimation is, at its start, that an atlas is right; ITK's value too.
FIRST_ACCURACY = 0.99999
# Keeps log(0) out: one voxel cannot veto a class.
LEAST_PROBABILITY = 1e-12


class _Patterns(NamedTuple):
    """The distinct combinations of votes. Voxels with the same votes have the same probabilities."""

    votes: np.ndarray  # (N, P) class numbers, -1 where an atlas does not vote
    counts: np.ndarray  # (P,) number of voxels
    of_voxel: np.ndarray  # (voxels,) number of each voxel's pattern


def staple(
    labels: np.ndarray,
    values: Sequence[int],
    *,
    disputed_only: bool = False,
    max_iterations: int = 1000,
    tolerance: float = 1e-5,
) -> np.ndarray:
    """Simultaneous truth and performance level estimation, for one class or several at once.

    Expectation maximisation in turn estimates the probability of each class at each voxel, given how reliable the
    atlases are, and how often each atlas says s where t is true (a confusion matrix for each atlas), given the
    probabilities. The prior of a class is its share of all votes, and stays. Every label value that is not asked for
    is one further class. With one value this is the binary algorithm of the paper and equals
    ``itk.STAPLEImageFilter``, which cannot leave out a vote; ITK's filter for several classes is not in its Python
    package and gives labels, not probabilities.

    Voxels are taken by their pattern of votes, so that time depends on the number of distinct patterns. Atlases that
    are displaced, rather than wrong at random, make organs grow, small ones most: majority vote then is better.

    Args:
        labels: warped labels of N atlases, whole numbers of shape (N, H, W, D); -1 does not vote.
        values: the label values of W classes.
        disputed_only: estimate from the voxels where the atlases disagree only, and copy the others, so that the size
            of the background has no influence. The published form, and ITK's, takes all (the default).
        max_iterations: the end if the estimates do not settle before; a warning is given then.
        tolerance: the estimates have settled if no entry of a confusion matrix changes by more.

    Returns:
        float32 of shape (W, H, W, D): the probabilities; 0 where nobody votes.

    Raises:
        TypeError: if the labels are not whole numbers.
        ValueError: if shapes, values or parameters do not fit.

    Source: S. K. Warfield, K. H. Zou, W. M. Wells, Simultaneous truth and performance level estimation (STAPLE), IEEE
    Transactions on Medical Imaging 23, 2004, equations 14, 18 and 19; several classes and undisputed voxels left out:
    T. Rohlfing, D. B. Russakoff, C. R. Maurer, Performance-based classifier combination in atlas-based image
    segmentation using expectation-maximization parameter estimation, ibid.
    """
    check_labels(labels, values)
    check_positive("max_iterations", max_iterations)
    check_positive("tolerance", tolerance)
    n_classes = len(values) + 1
    patterns = _patterns(to_classes(labels, values), n_classes)
    highest, lowest = patterns.votes.max(0), np.where(patterns.votes < 0, n_classes, patterns.votes).min(0)
    probabilities = np.eye(n_classes)[np.maximum(highest, 0)]
    estimated = (highest > lowest) if disputed_only else (highest >= 0)
    if estimated.any():
        probabilities[estimated] = _estimate(
            patterns.votes[:, estimated], patterns.counts[estimated], n_classes, max_iterations, tolerance
        )
    probabilities[highest < 0] = 0
    fused = probabilities.T[1:].astype(np.float32)[:, patterns.of_voxel]
    return fused.reshape(len(values), *labels.shape[1:])


def _patterns(classes: np.ndarray, n_classes: int) -> _Patterns:
    code, n_codes = np.zeros(classes[0].size, np.int64), 1
    for atlas in classes.reshape(len(classes), -1):
        if n_codes > np.iinfo(np.int64).max // (n_classes + 1):
            distinct, code = np.unique(code, return_inverse=True)
            n_codes = len(distinct)
        code = code * (n_classes + 1) + atlas + 1
        n_codes *= n_classes + 1
    _, first, of_voxel, counts = np.unique(code, return_index=True, return_inverse=True, return_counts=True)
    return _Patterns(classes.reshape(len(classes), -1)[:, first], counts, of_voxel)


def _estimate(
    votes: np.ndarray, counts: np.ndarray, n_classes: int, max_iterations: int, tolerance: float
) -> np.ndarray:
    """Probabilities (P, classes) of the patterns ``votes`` (N, P) that ``counts`` (P,) voxels have."""
    n_atlases, n_patterns = votes.shape
    atlas, pattern = np.nonzero(votes >= 0)
    ones = (np.ones(len(atlas)), (pattern, atlas * n_classes + votes[atlas, pattern]))
    said = csr_matrix(ones, shape=(n_patterns, n_atlases * n_classes))
    share = (counts @ said).reshape(n_atlases, n_classes).sum(0)
    log_prior = np.log(np.maximum(share / share.sum(), LEAST_PROBABILITY))
    start = np.full((n_classes, n_classes), (1 - FIRST_ACCURACY) / (n_classes - 1))
    np.fill_diagonal(start, FIRST_ACCURACY)
    confusion = np.tile(start, (n_atlases, 1, 1))  # [atlas, said, true]
    for _ in range(max_iterations):
        likelihood = said @ np.log(np.maximum(confusion, LEAST_PROBABILITY)).reshape(-1, n_classes) + log_prior
        probabilities = np.exp(likelihood - likelihood.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)  # eq. 14
        before = confusion
        together = (said.T @ (counts[:, None] * probabilities)).reshape(confusion.shape)
        confusion = together / np.maximum(together.sum(1, keepdims=True), LEAST_PROBABILITY)  # eq. 18, 19
        if np.abs(confusion - before).max() <= tolerance:
            return probabilities
    warnings.warn(
        f"STAPLE: the confusion matrices still change by more than {tolerance} after {max_iterations} iterations. "
        "Raise max_iterations or tolerance.",
        stacklevel=3,
    )
    return probabilities
