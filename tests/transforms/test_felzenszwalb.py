# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The graph segmentation against a plain-Python reference, and what it promises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from monai_fss.transforms import felzenszwalb


def reference(
    image: np.ndarray, min_size: int, spacing: Sequence[float], scale: float = 1.0, sigma: float = 0.0
) -> np.ndarray:
    """Felzenszwalb and Huttenlocher's algorithm over sets of voxels, slow and plain."""
    grey = ((image - image.min()) * (255 / (float(image.max()) - float(image.min())))).astype(np.float32)
    if sigma:
        grey = ndimage.gaussian_filter(grey, sigma)
    links = []
    for move in product((-1, 0, 1), repeat=image.ndim):
        moved = [axis for axis, step in enumerate(move) if step]
        if moved and move[moved[0]] > 0:
            length = math.sqrt(sum((spacing[a] / min(spacing[:2])) ** 2 for a in moved) / len(moved))
            links += [(length, move, v, tuple(np.add(v, move))) for v in np.ndindex(image.shape)]
    links = [link for link in links if all(0 <= i < n for i, n in zip(link[3], image.shape, strict=True))]
    step = 255 * max(link[0] for link in links) / 65535
    edges = []
    for length, move, a, b in links:
        between_slices = len(move) == 3 and move[2] != 0
        edges.append((int(abs(grey[a] - grey[b]) / step * length + 0.5), between_slices, move, a, b))
    edges.sort()
    segments = {v: {v} for v in np.ndindex(image.shape)}
    internal = {id(segment): 0.0 for segment in segments.values()}

    def join(a: tuple[int, ...], b: tuple[int, ...], weight: float) -> None:
        both = segments[a] | segments[b]
        internal[id(both)] = weight
        for voxel in both:
            segments[voxel] = both

    kept = [segments.copy()]  # keeps every set alive, so that no id is used twice
    for level, *_, a, b in edges:
        c, d, weight = segments[a], segments[b], level * step
        limits = [internal[id(s)] + scale / 255 / len(s) for s in (c, d)]
        if c is not d and weight < min(limits):
            join(a, b, weight)
            kept.append({a: segments[a]})
    for *_, a, b in edges:
        c, d = segments[a], segments[b]
        if c is not d and min(len(c), len(d)) < min_size:
            join(a, b, 0)
    numbers: dict[int, int] = {}
    flat = [numbers.setdefault(id(segments[v]), len(numbers)) for v in np.ndindex(image.shape)]
    return np.array(flat).reshape(image.shape)


def blobs(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.standard_normal(shape), 1.5)
    return (np.digitize(smooth / smooth.std(), (-0.8, 0.3, 1)) * 100 + random.integers(0, 20, shape)).astype(np.int16)


@pytest.mark.parametrize("sigma", [0.0, 1.0])
@pytest.mark.parametrize("scale", [1.0, 3e4])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((12, 9), (1, 1)),
        ((8, 11), (0.7, 1.4)),
        ((1, 20), (1, 1)),
        ((7, 6, 5), (1, 1, 1)),
        ((7, 6, 5), (1.25, 1.25, 7.7)),
        ((6, 7, 4), (2.0, 1.5, 0.8)),
        ((6, 7, 1), (1.25, 1.25, 8)),
    ],
)
@pytest.mark.parametrize("kind", ["random", "structured"])
def test_equals_the_plain_algorithm(
    kind: str, shape: tuple[int, ...], spacing: tuple[float, ...], scale: float, sigma: float
) -> None:
    image = np.random.default_rng(1).normal(100, 30, shape) if kind == "random" else blobs(shape)
    for min_size in (1, 5, 12):
        labels = felzenszwalb(image, min_size=min_size, spacing=spacing, scale=scale, sigma=sigma)
        np.testing.assert_array_equal(labels, reference(image, min_size, spacing, scale, sigma))
        assert labels.dtype == np.int32


@pytest.mark.parametrize("shape", [(60, 50), (24, 20, 10)])
@pytest.mark.parametrize("min_size", [1, 30, 200])
def test_segments_are_large_enough_connected_and_consecutive(shape: tuple[int, ...], min_size: int) -> None:
    labels = felzenszwalb(blobs(shape), min_size=min_size, spacing=(1, 1, 4)[: len(shape)])
    sizes = np.bincount(labels.ravel())
    assert len(sizes) > 1
    assert sizes.min() >= min_size
    for label in range(len(sizes)):
        assert ndimage.label(labels == label, structure=np.ones((3,) * len(shape)))[1] == 1


def test_two_halves() -> None:
    image = np.full((8, 10, 6), -1000.0)
    image[:, 4:] = 500
    labels = felzenszwalb(image, min_size=100, spacing=(1, 1, 5))
    np.testing.assert_array_equal(labels, np.broadcast_to((np.arange(10) >= 4)[:, None], image.shape))


def test_constant_image_is_one_segment() -> None:
    assert not felzenszwalb(np.full((5, 5, 5), 7, np.uint8), min_size=2).any()


def test_thick_slices_make_flat_segments() -> None:
    """Each voxel differs as much from its neighbour in the plane as from that along z."""
    x, y, z = np.indices((12, 12, 12))
    image = 10.0 * ((x + y) % 2) + 10.0 * (z % 2)
    image += np.random.default_rng(0).uniform(0, 1, image.shape)

    def slices(spacing: tuple[float, ...]) -> float:
        labels = felzenszwalb(image, min_size=100, spacing=spacing)
        return float(np.mean([np.ptp(np.nonzero(labels == i)[2]) + 1 for i in range(labels.max() + 1)]))

    assert slices((1, 1, 6)) < slices((1, 1, 1))


def test_larger_scale_makes_fewer_segments() -> None:
    image = blobs((24, 24, 8)).astype(np.float32)
    counts = [felzenszwalb(image, min_size=1, scale=scale).max() for scale in (1, 1e4, 1e6)]
    assert counts[0] > counts[1] > counts[2] > 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64, ">i2"])
def test_type_layout_offset_and_repetition_change_nothing(dtype: str) -> None:
    image = np.random.default_rng(3).integers(0, 120, (16, 16, 8))
    expected = felzenszwalb(image, min_size=20, spacing=(1, 1, 3))
    same = np.asfortranarray(image.astype(dtype))
    before = same.copy()
    np.testing.assert_array_equal(felzenszwalb(same, min_size=20, spacing=(1, 1, 3)), expected)
    np.testing.assert_array_equal(same, before)


def test_full_range_of_integers_does_not_overflow() -> None:
    image = np.zeros((6, 6), np.int16)
    image[:, :2], image[:, 4:] = -32768, 32767
    assert felzenszwalb(image, min_size=5)[0].tolist() == [0, 0, 1, 1, 2, 2]


def test_spacing_counts_only_by_its_ratios() -> None:
    image = blobs((14, 14, 6))
    unit = felzenszwalb(image, min_size=20, spacing=(1, 1, 6))
    np.testing.assert_array_equal(unit, felzenszwalb(image, min_size=20, spacing=(0.5, 0.5, 3)))
    assert (unit != felzenszwalb(image, min_size=20)).any()


def ellipsoids(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image and its true regions."""
    random = np.random.default_rng(seed)
    grid = np.indices((64, 64, 16)).astype(float)
    truth = np.zeros(grid.shape[1:], int)
    for region, (centre, radii) in enumerate(
        [((32, 32, 8), (29, 27, 12)), ((22, 24, 8), (12, 10, 5)), ((44, 40, 7), (9, 12, 5)), ((40, 20, 9), (6, 6, 4))],
        1,
    ):
        inside = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1
        truth[inside] = region
    means = np.array([0, 80, 160, 120, 200])
    return means[truth] + random.normal(0, 8, truth.shape), truth


def borders(labels: np.ndarray) -> np.ndarray:
    """Voxels whose right or lower neighbour in the plane has another label."""
    found = np.zeros(labels.shape, bool)
    found[:-1] |= labels[:-1] != labels[1:]
    found[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return found


def test_boundary_recall_beats_a_regular_grid() -> None:
    image, truth = ellipsoids()
    labels = felzenszwalb(image, min_size=400, spacing=(1.25, 1.25, 5), sigma=0)
    count = int(labels.max()) + 1
    x, y, z = np.indices(image.shape)
    across = math.ceil(math.sqrt(count / 2))
    grid = np.asarray((x * across // 64) * across * 2 + (y * across // 64) * 2 + z // 8)
    assert len(np.unique(grid)) >= count > 5
    recall, by_grid = (borders(found)[borders(truth)].mean() for found in (labels, grid))
    assert recall > 0.9
    assert recall > by_grid + 0.5


@pytest.mark.parametrize(
    ("image", "arguments", "error", "message"),
    [
        (np.zeros(5), {"min_size": 1}, ValueError, r"image: 1 axes, shape \(5,\)\. Pass"),
        (np.zeros((2, 2), complex), {"min_size": 1}, TypeError, "voxels of type complex128. Pass real"),
        (np.array([[0, np.nan, np.inf]]), {"min_size": 1}, ValueError, "2 of 3 voxels are NaN or infinite. Replace"),
        (np.eye(3), {"min_size": 0}, ValueError, r"min_size: 0 voxels.*Pass a number from 1 to 9"),
        (np.eye(3), {"min_size": 10}, ValueError, r"min_size: 10 voxels, but the image of shape \(3, 3\) has 9"),
        (np.eye(3), {"min_size": 1.5}, TypeError, "min_size: 1.5 is no whole number"),
        (np.zeros((0, 3)), {"min_size": 1}, ValueError, "has 0"),
        (np.eye(3), {"min_size": 1, "scale": 0}, ValueError, "scale: 0 is not a positive number"),
        (np.eye(3), {"min_size": 1, "sigma": -1}, ValueError, "sigma: -1 is negative"),
        (np.eye(3), {"min_size": 1, "spacing": (1, 1, 1)}, ValueError, r"spacing: \(1.0, 1.0, 1.0\) for an image of 2"),
        (np.eye(3), {"min_size": 1, "spacing": (1, 0)}, ValueError, "Pass one positive length for each axis"),
    ],
)
def test_errors(image: np.ndarray, arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        felzenszwalb(image, **arguments)


def test_too_many_edges_are_refused() -> None:
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (2**14, 2**14), (0, 0), writeable=False)
    with pytest.raises(ValueError, match="268435456 voxels .* numbered with 32 bits. Resample"):
        felzenszwalb(huge, min_size=1)
