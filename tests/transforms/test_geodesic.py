# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Geodesic distance against Dijkstra's algorithm on the graph of neighbours, and its closed forms."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from monai_fss.transforms import geodesic_distance


def reference(image: np.ndarray, seeds: np.ndarray, spacing: tuple[float, ...], w: float) -> np.ndarray:
    """Dijkstra on the graph that joins each voxel to its 26 (8) neighbours."""
    index = np.arange(image.size).reshape(image.shape)
    rows, columns, costs = [], [], []
    for move in product((-1, 0, 1), repeat=image.ndim):
        if not any(move):
            continue
        here = tuple(slice(max(-m, 0), n - max(m, 0)) for m, n in zip(move, image.shape, strict=True))
        there = tuple(slice(max(m, 0), n - max(-m, 0)) for m, n in zip(move, image.shape, strict=True))
        step = np.abs(image[here] - image[there]).ravel() + 1e-5
        length = np.linalg.norm(np.multiply(move, spacing))
        rows.append(index[here].ravel())
        columns.append(index[there].ravel())
        costs.append(length / ((1 - w) + w / step))
    graph = coo_array((np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns))), shape=(image.size,) * 2)
    return dijkstra(graph.tocsr(), indices=index[seeds], min_only=True).reshape(image.shape)


def scene(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth random image, 0..1, and a few seeds."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.random(shape), 1.5)
    seeds = np.zeros(shape, bool)
    seeds.ravel()[rng.choice(image.size, 3, replace=False)] = True
    return (image - image.min()) / np.ptp(image), seeds


@pytest.mark.parametrize("w", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((40, 33), (1.0, 1.0)), ((25, 31), (3.0, 0.8)), ((12, 17, 15), (1.0, 1.0, 1.0)), ((15, 11, 14), (1.2, 0.9, 3.0))],
)
def test_settled_distances_are_those_of_dijkstra(shape: tuple[int, ...], spacing: tuple[float, ...], w: float) -> None:
    image, seeds = scene(shape)
    expected = reference(image, seeds, spacing, w)
    got = geodesic_distance(image, seeds, spacing, w, iterations=None)
    assert got.dtype == np.float32 and got.shape == shape
    np.testing.assert_allclose(got, expected, rtol=0.01, atol=1e-6)
    assert (got[seeds] == 0).all()


def test_two_iterations_are_an_upper_bound_and_nearly_enough() -> None:
    image, seeds = scene((16, 20, 18), seed=1)
    expected = reference(image, seeds, (1, 1, 1), 1.0)
    found = {n: geodesic_distance(image, seeds, iterations=n) for n in (1, 2, 8)}
    for got in found.values():
        assert (got >= expected * (1 - 1e-4)).all()
    errors = [
        float(np.mean(got / np.maximum(expected, 1e-3) - expected / np.maximum(expected, 1e-3)))
        for got in found.values()
    ]
    assert errors[0] > errors[1] > errors[2] and errors[1] < 0.1 and errors[2] < 0.005


def test_plain_lengths_are_the_chamfer_distance() -> None:
    seeds = np.zeros((15, 15, 9), bool)
    seeds[7, 7, 4] = True
    rng = np.random.default_rng(0)
    got = geodesic_distance(rng.random(seeds.shape), seeds, (2.0, 2.0, 2.0), intensity_weight=0.0)
    offsets = np.sort(np.abs(np.indices(seeds.shape) - np.array([7, 7, 4]).reshape(3, 1, 1, 1)), axis=0)
    chamfer = 2 * (offsets[0] * np.sqrt(3) + (offsets[1] - offsets[0]) * np.sqrt(2) + (offsets[2] - offsets[1]))
    np.testing.assert_allclose(got, chamfer, rtol=1e-4, atol=1e-4)
    euclidean = distance_transform_edt(~seeds, sampling=2.0)
    assert (got >= euclidean - 1e-4).all()


def test_a_wall_is_walked_around_only_with_enough_scans() -> None:
    """A spiral of dark corridor between bright walls: each turn needs a scan of its own."""
    image = np.ones((23, 23))
    y, x, length = 1, 1, 20
    for turn, (dy, dx) in enumerate([(0, 1), (1, 0), (0, -1), (-1, 0)] * 5):
        if length <= 0:
            break
        for _ in range(length):
            image[y, x] = 0
            y, x = y + dy, x + dx
        image[y, x] = 0
        length -= 2 * (turn % 2) if turn else 0
    seeds = np.zeros(image.shape, bool)
    seeds[1, 1] = True
    settled = geodesic_distance(image, seeds, iterations=None)
    assert settled[y, x] < 0.01 < 0.9 < settled[0, 0]
    assert geodesic_distance(image, seeds, iterations=1)[y, x] > settled[y, x]


def test_no_seed_is_infinitely_far() -> None:
    assert np.isinf(geodesic_distance(np.zeros((4, 5)), np.zeros((4, 5)))).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_the_order_of_the_axes_does_not_matter(order: tuple[int, ...]) -> None:
    image, seeds = scene((8, 11, 14), seed=2)
    spacing = (3.0, 1.0, 2.0)
    expected = geodesic_distance(image, seeds, spacing, iterations=None)
    got = geodesic_distance(
        image.transpose(order), seeds.transpose(order), [spacing[i] for i in order], iterations=None
    )
    np.testing.assert_allclose(got, expected.transpose(order), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seeds": np.zeros((4, 4, 3))}, r"image \(4, 4\), seeds \(4, 4, 3\) and spacing of 2 axes do not belong"),
        ({"spacing": (1.0,)}, "spacing of 1 axes do not belong together"),
        ({"image": np.full((4, 4), np.nan)}, "holds values that are not finite"),
        ({"spacing": (1.0, 0.0)}, r"spacing \[1.0, 0.0\] must be positive"),
        ({"intensity_weight": 1.5}, r"intensity_weight 1.5 within 0..1"),
        ({"iterations": 0}, "iterations 0 must be at least 1, or None"),
    ],
)
def test_arguments_are_checked(change: dict, says: str) -> None:
    good = {"image": np.zeros((4, 4)), "seeds": np.eye(4), "spacing": (1.0, 1.0)}
    with pytest.raises(ValueError, match=says):
        geodesic_distance(**{**good, **change})
