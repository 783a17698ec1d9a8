# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which examples to take: the most typical one first, then always the one that is covered worst."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Choice", "coverage", "expected_gains", "farthest_first", "likeness", "medoid", "nearest_to_average"]


@dataclass(frozen=True)
class Choice:
    """One example of a ranking.

    Args:
        index: which one, counted from 0.
        nearest: distance to the nearest of those chosen before; nan for the first of all.
        mean: mean distance of all examples to the nearest chosen one, this one included.
        largest: the largest of these distances: how badly the worst covered example is covered.
    """

    index: int
    nearest: float
    mean: float
    largest: float


def medoid(distances: np.ndarray) -> int:
    """The example of the smallest mean distance to all others.

    Where the distances are squared Euclidean ones it is the example closest to the average of all, because the sum
    over j of ``|x_i - x_j|^2`` is ``n |x_i - mean|^2`` and a constant.

    Args:
        distances: (n, n), symmetric, not negative, 0 on the diagonal.

    Returns:
        Its index; the first of equal ones.

    Raises:
        ValueError: where this is no matrix of distances.
    """
    return int(np.argmin(_checked(distances).mean(axis=1)))


def nearest_to_average(masks: Sequence[np.ndarray]) -> int:
    """The mask that has the greatest soft Dice, 2 sum(m a) / (sum(m) + sum(a)), with the mean a of all masks.

    Args:
        masks: of one shape, not negative, in one frame.

    Returns:
        Its index; the first of equal ones.

    Raises:
        ValueError: there is none, or all are empty.
    """
    if not masks or not any(mask.any() for mask in masks):
        raise ValueError(f"masks: {len(masks)} of them, and none has a voxel. Give masks of one organ.")
    average = np.mean([mask.astype(float) for mask in masks], axis=0)
    scores = [2 * float((mask * average).sum()) / float(mask.sum(dtype=float) + average.sum()) for mask in masks]
    return int(np.argmax(np.round(scores, 12)))


def coverage(distances: np.ndarray, chosen: Iterable[int]) -> np.ndarray:
    """Distance of each example to the nearest chosen one.

    Args:
        distances: (n, n), see :func:`medoid`.
        chosen: indices; at least one.

    Returns:
        (n,) distances, 0 for those chosen.

    Raises:
        ValueError: where nothing is chosen, an index is outside 0..n-1, or this is no matrix of distances.
    """
    matrix, indices = _checked(distances), list(chosen)
    if not indices or not all(0 <= index < len(matrix) for index in indices):
        raise ValueError(f"chosen: {indices} are not indices of {len(matrix)} examples. Give one or more of them.")
    return matrix[:, indices].min(axis=1)


def farthest_first(distances: np.ndarray, chosen: Iterable[int] = (), count: int | None = None) -> list[Choice]:
    """Rank examples: the medoid first, then greedily the one whose smallest distance to the chosen ones is largest.

    For distances that obey the triangle inequality, and without ``chosen``, the worst covered example is at each step
    at most twice as far from its nearest chosen one as with the best choice of as many.

    Args:
        distances: (n, n), see :func:`medoid`. Of equal examples the first goes before: sort them by name.
        chosen: indices of those that are chosen already; they are not ranked. Without any, the medoid comes first.
        count: how many to rank at most. Default: all that are left.

    Returns:
        The ranking with the coverage after each step.

    Raises:
        ValueError: where ``count`` is below 1, an index is outside 0..n-1, or this is no matrix of distances.

    Source: Gonzalez, Clustering to minimize the maximum intercluster distance, Theoretical Computer Science 38 (1985).
    """
    matrix, taken = _checked(distances), sorted(set(chosen))
    if count is not None and count < 1:
        raise ValueError(f"count: {count} is less than 1. Rank at least one example.")
    reach = coverage(matrix, taken) if taken else np.full(len(matrix), math.inf)
    left = [index for index in range(len(matrix)) if index not in taken]
    ranking: list[Choice] = []
    for _ in range(len(left) if count is None else min(count, len(left))):
        first = not taken and not ranking
        index = medoid(matrix) if first else max(left, key=lambda i: (reach[i], -i))
        nearest = math.nan if first else float(reach[index])
        left.remove(index)
        reach = np.minimum(reach, matrix[:, index])
        ranking.append(Choice(index, nearest, float(reach.mean()), float(reach.max())))
    return ranking


def likeness(distances: np.ndarray) -> np.ndarray:
    """``exp(-d)`` of distances whose unit is an average pair: 1 of equal examples, 0.37 of an average pair."""
    return np.exp(-np.asarray(distances, dtype=float))


def expected_gains(distances: np.ndarray, quality: Sequence[float]) -> np.ndarray:
    """
    What a label of each example may bring to all of them: the sum over them of (1 - quality) x likeness.

    An example that is bad gains itself, as it is 1 alike to itself; one that is like many bad ones helps these too.
    The unit is an example that is wholly bad and becomes wholly right. What several labels bring together is not
    considered: ask again after each.

    Args:
        distances: (n, n), see :func:`medoid`; 1 is an average pair, see :func:`likeness`.
        quality: (n,) from 0 to 1; 1 for those that are labelled already.

    Returns:
        (n,), not negative.

    Raises:
        ValueError: a quality is not within 0 to 1, their number is another one, or this is no matrix of distances.
    """
    matrix, rated = _checked(distances), np.asarray(quality, dtype=float)
    if rated.shape != (len(matrix),) or not ((rated >= 0) & (rated <= 1)).all():
        raise ValueError(f"quality: {rated} is not a number from 0 to 1 for each of {len(matrix)} examples.")
    return likeness(matrix) @ (1 - rated)


def _checked(distances: np.ndarray) -> np.ndarray:
    matrix = np.asarray(distances, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(f"distances: their shape is {matrix.shape}. Give a square matrix.")
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise ValueError("distances: they hold values that are negative or not finite. Give distances.")
    if not np.array_equal(matrix, matrix.T) or np.diagonal(matrix).any():
        raise ValueError("distances: they are not symmetric, or not 0 on the diagonal. Give distances.")
    return matrix
