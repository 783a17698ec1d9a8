# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Label fusion by patches with augmented features (PBAF; Bai et al., Medical Image Analysis 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from typing import NamedTuple

import numba
import numpy as np

from .checks import check_images, check_labels, check_odd, check_positive, to_classes
from .pbaf_features import CONTEXT, LEAST_RANGE, RAYS, Maps, build_maps, describe, least_ranges

__all__ = ["pbaf"]

# Slices are taken in slabs whose features fill about this much memory for each thread (6 floats a voxel and image).
SLAB_BYTES = 64 * 2**20
MAX_SLAB = 8


class _Parameters(NamedTuple):
    search: tuple[int, ...]  # half sizes along H, W, D
    patch: tuple[int, ...]  # sizes along H, W, D
    rays: np.ndarray
    least_ranges: np.ndarray
    k: int
    h: float


def pbaf(
    image: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    values: Sequence[int],
    *,
    search: Sequence[int] = (5, 5, 1),
    patch: Sequence[int] = (7, 7, 1),
    k: int = 100,
    h: float = 16.0,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    normalise: bool = False,
    workers: int | None = None,
) -> np.ndarray:
    """Fuse labels by comparing each disputed voxel of the query with voxels around the same place in all atlases.

    Where all atlases that vote agree, their class is copied with probability 1. Elsewhere the candidates are the
    voxels of the search window in every atlas. The k candidates whose patches have the lowest mean squared difference
    to the query's patch (and those that tie with the last of them, so that the order of the atlases never matters)
    vote with the weight ``exp(-S / h)`` for the class of their centre voxel. S is the squared distance of the
    features: intensities (49 for a patch of 7 x 7 x 1), gradient directions (147), context (32) and binary context
    (32). Each feature is scaled so that it spans -1 to 1 over the k samples, and the query's feature in the same way;
    the binary ones are not. A feature that is the same in all samples adds the same to every S, and so cancels.

    Context is taken on 8 rays in the plane of the first two axes at 4, 8, 16 and 32 voxels (nearest voxel on the
    diagonals): the median of 3 x 3 voxels there minus the intensity of the centre. Choices of this package: that
    median's size; binary context is 1 where context is above 0, else 0; candidates outside the
    volume or the atlas' field of view are left out; everything else that reaches over the edge takes the nearest
    voxel's value; gradients are zero where they are below 1e-5 of the image's range.

    Time grows with the number of disputed voxels and of atlases. Besides input and output, memory holds 2 bytes for
    each label and about 200 MB for each thread (more if one slice of all atlases has over 2 million voxels).

    Args:
        image: the query, (H, W, D). All intensities must be on one scale (HU, or see ``normalise``).
        images: the atlases' images, warped onto the query's grid, (N, H, W, D).
        labels: their labels, whole numbers of shape (N, H, W, D); -1 does not vote.
        values: the label values of W classes. All others are one further class.
        search: size of the search window in voxels along H, W, D, odd.
        patch: size of the patch in voxels, odd. The defaults of these and of ``k`` and ``h`` are those of the
            two-stage organ segmentation that used PBAF on whole-body MR.
        k: number of samples.
        h: bandwidth of the weights. Smaller: the most similar sample decides.
        spacing: voxel size along H, W, D in mm, for the gradient's direction; only ratios matter.
        normalise: scale each image to mean 0 and variance 1 first, for MR without a common scale.
        workers: number of threads. Default: ``NUMBA_NUM_THREADS``, all cores if it is not set.

    Returns:
        float32 of shape (W, H, W, D): the probabilities; 0 where nobody votes.

    Raises:
        TypeError: if the labels are not whole numbers, or an image is not real.
        ValueError: if shapes, values or parameters do not fit.

    Source: W. Bai, W. Shi, C. Ledig, D. Rueckert, Multi-atlas segmentation with augmented features for cardiac MR
    images, Medical Image Analysis 19, 2015; parameters: V. V. Valindria et al., Small organ segmentation in whole-body
    MRI using a two-stage FCN and weighting schemes, MLMI 2018.
    """
    check_labels(labels, values)
    check_images(image, images, labels)
    check_odd("search", search)
    check_odd("patch", patch)
    _check_parameters(k, h, spacing, workers)
    if normalise:
        image, images = _standardised(image), np.stack([_standardised(atlas) for atlas in images])
    classes = to_classes(labels, values)
    disputed, agreed = _agreement(classes)
    fused = np.stack([np.float32(agreed == number) for number in range(1, len(values) + 1)])
    parameters = _Parameters(
        tuple(int(s) // 2 for s in search), tuple(map(int, patch)), RAYS, least_ranges(patch), int(k), float(h)
    )

    def fuse(slices: tuple[int, int]) -> None:
        _fuse_slab(image, images, classes, disputed, fused, slices, spacing, parameters)

    with ThreadPoolExecutor(workers or numba.config.NUMBA_NUM_THREADS) as threads:  # type: ignore[attr-defined]
        list(threads.map(fuse, _slabs(disputed, len(images))))
    return fused


def _check_parameters(k: int, h: float, spacing: Sequence[float], workers: int | None) -> None:
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k: {k!r} samples. Pass a whole number from 1.")
    check_positive("h", h)
    if len(spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing: {tuple(spacing)}. Pass three positive lengths.")
    if workers is not None and workers < 1:
        raise ValueError(f"workers: {workers} threads. Pass a number from 1, or None for all cores.")


def _standardised(image: np.ndarray) -> np.ndarray:
    deviation = image.std(dtype=np.float64)
    return ((image - image.mean(dtype=np.float64)) / (deviation if deviation > 0 else 1.0)).astype(np.float32)


def _agreement(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the atlases that vote differ, and elsewhere the class that they agree on (-1 if none votes)."""
    highest, lowest = classes.max(0), np.full(classes.shape[1:], np.iinfo(classes.dtype).max, classes.dtype)
    for atlas in classes:
        np.minimum(lowest, atlas, out=lowest, where=atlas >= 0)
    disputed = (highest >= 0) & (lowest < highest)
    return disputed, np.where(disputed, -1, highest)


def _slabs(disputed: np.ndarray, n_atlases: int) -> list[tuple[int, int]]:
    """Runs of slices that hold disputed voxels."""
    height, width, depth = disputed.shape
    thickness = int(np.clip(SLAB_BYTES // (24 * (1 + n_atlases) * height * width), 1, MAX_SLAB))
    slabs = [(z, min(z + thickness, depth)) for z in range(0, depth, thickness)]
    return [(first, last) for first, last in slabs if disputed[..., first:last].any()]


def _fuse_slab(
    image: np.ndarray,
    images: np.ndarray,
    classes: np.ndarray,
    disputed: np.ndarray,
    fused: np.ndarray,
    slices: tuple[int, int],
    spacing: Sequence[float],
    parameters: _Parameters,
) -> None:
    """Write the probabilities of the disputed voxels of some slices to ``fused`` (W, H, W, D)."""
    reach = parameters.search[2]
    first, last = max(0, slices[0] - reach), min(image.shape[2], slices[1] + reach)
    maps = build_maps(image, images, (first, last), parameters.patch, spacing)
    x, y, z = np.nonzero(disputed[..., slices[0] : slices[1]])
    z += slices[0]
    order = np.lexsort((y, x, z))  # neighbours in turn: their patches are in the processor's cache
    x, y, z = x[order], y[order], z[order]
    votes = np.zeros((len(x), len(fused) + 1), np.float32)
    nearby = np.ascontiguousarray(np.moveaxis(classes[..., first:last], -1, 1))
    _fuse_voxels(np.stack([z - first, x, y], 1), maps, nearby, parameters, votes)
    fused[:, x, y, z] = votes[:, 1:].T


@numba.njit(cache=True, nogil=True)
def _fuse_voxels(
    voxels: np.ndarray, maps: Maps, classes: np.ndarray, parameters: _Parameters, votes: np.ndarray
) -> None:
    """Add the votes for ``voxels`` (V, 3: slice, row, column) to ``votes`` (V, classes)."""
    search, patch = parameters.search, parameters.patch
    window = (2 * search[0] + 1) * (2 * search[1] + 1) * (2 * search[2] + 1)
    distances = np.empty(len(classes) * window, np.float32)
    candidates = np.empty((len(distances), 4), np.int64)
    samples = np.empty((len(distances), len(parameters.least_ranges)), np.float32)
    voters = np.empty(len(distances), np.int64)
    target = np.empty(len(parameters.least_ranges), np.float32)
    for number in range(len(voxels)):
        z, x, y = voxels[number]
        describe(maps, 0, z, x, y, patch, parameters.rays, target)
        count = _search(voxels[number], maps.grey, classes, search, patch, candidates, distances)
        limit = np.inf if count <= parameters.k else np.partition(distances[:count], parameters.k - 1)[parameters.k - 1]
        chosen = 0
        for candidate in range(count):
            if distances[candidate] <= limit:
                atlas, z, x, y = candidates[candidate]
                describe(maps, atlas + 1, z, x, y, patch, parameters.rays, samples[chosen])
                voters[chosen] = classes[atlas, z, x, y]
                chosen += 1
        weights = _weights(samples[:chosen], target, parameters.least_ranges, parameters.h)
        for sample in range(chosen):
            votes[number, voters[sample]] += weights[sample]


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _search(
    voxel: np.ndarray,
    grey: np.ndarray,
    classes: np.ndarray,
    search: tuple[int, ...],
    patch: tuple[int, ...],
    candidates: np.ndarray,
    distances: np.ndarray,
) -> int:
    """List the candidates (atlas, slice, row, column) and their patches' mean squared differences; their number."""
    z, x, y = voxel
    _, depth, height, width = classes.shape
    count = 0
    for atlas in range(len(classes)):
        for cz in range(max(z - search[2], 0), min(z + search[2] + 1, depth)):
            for cx in range(max(x - search[0], 0), min(x + search[0] + 1, height)):
                for cy in range(max(y - search[1], 0), min(y + search[1] + 1, width)):
                    if classes[atlas, cz, cx, cy] < 0:
                        continue
                    total = np.float32(0)
                    for dz in range(patch[2]):
                        for dx in range(patch[0]):
                            for dy in range(patch[1]):
                                step = grey[0, z + dz, x + dx, y + dy] - grey[atlas + 1, cz + dz, cx + dx, cy + dy]
                                total += step * step
                    distances[count] = total / (patch[0] * patch[1] * patch[2])
                    candidates[count] = (atlas, cz, cx, cy)
                    count += 1
    return count


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _weights(samples: np.ndarray, target: np.ndarray, least_ranges: np.ndarray, h: float) -> np.ndarray:
    """Normalised weights exp(-S / h) of the samples (K, features)."""
    low, high = samples[0].copy(), samples[0].copy()
    for number in range(1, len(samples)):
        for feature in range(len(low)):
            low[feature] = min(low[feature], samples[number, feature])
            high[feature] = max(high[feature], samples[number, feature])
    scale = np.ones_like(low)
    for feature in range(len(low) - CONTEXT):
        size = max(abs(low[feature]), abs(high[feature]))
        span = high[feature] - low[feature]
        constant = span <= max(least_ranges[feature], np.float32(LEAST_RANGE) * size)
        scale[feature] = 0 if constant else 4 / (span * span)
    distances = np.zeros(len(samples), np.float32)
    for number in range(len(samples)):
        total = np.float32(0)
        for feature in range(len(target)):
            step = samples[number, feature] - target[feature]
            total += scale[feature] * step * step
        distances[number] = total
    # Relative to the nearest sample, so that no exponential underflows for all of them.
    weights = np.exp((distances.min() - distances) / h)
    return weights / weights.sum()
