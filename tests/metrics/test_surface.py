# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Surface distances against closed forms and a brute-force reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

from monai_fss.metrics import assd, hd95, normalised_surface_dice, surface_distances, surface_scores


def brute_force(a: np.ndarray, b: np.ndarray, spacing: tuple[float, ...]) -> tuple[float, float]:
    """Distances between all pairs of surface voxels, from the definition."""

    def surface(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        inside = padded.copy()
        for axis in range(mask.ndim):
            for step in (-1, 1):
                inside &= np.roll(padded, step, axis)
        return np.argwhere(padded & ~inside) * np.asarray(spacing)

    points_a, points_b = surface(a), surface(b)
    distance = np.linalg.norm(points_a[:, None] - points_b[None], axis=-1)
    there, back = distance.min(axis=1), distance.min(axis=0)
    return max(np.percentile(there, 95), np.percentile(back, 95)), np.concatenate([there, back]).mean()


def plates(shift: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.zeros((2, 10, 10, 10), dtype=bool)
    index: list[slice | int] = [slice(None)] * 3
    index[axis] = 2
    first[tuple(index)] = True
    index[axis] = 2 + shift
    second[tuple(index)] = True
    return first, second


@pytest.mark.parametrize(("axis", "expected"), [(0, 3 * 1.25), (1, 3 * 2.0), (2, 3 * 7.7)])
def test_parallel_plates_are_as_far_as_the_shift_in_mm(axis: int, expected: float) -> None:
    first, second = plates(3, axis)
    assert surface_distances(first, second, (1.25, 2.0, 7.7)) == pytest.approx((expected, expected), rel=1e-5)


def test_shifted_cubes() -> None:
    # A cube of 2 x 2 x 2 has surface voxels only. Shifted by 2 voxels of 3 mm, one half of them is 3 mm and the other
    # half 6 mm from the other cube.
    first, second = np.zeros((2, 12, 8, 8), dtype=bool)
    first[2:4, 2:4, 2:4] = True
    second[4:6, 2:4, 2:4] = True
    assert hd95(first, second, (3.0, 1.0, 1.0)) == pytest.approx(6.0)
    assert assd(first, second, (3.0, 1.0, 1.0)) == pytest.approx(4.5)


@pytest.mark.parametrize("seed", range(4))
def test_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(14)] * 3, indexing="ij"))
    masks = []
    for _ in range(2):
        centre, radii = rng.uniform(4, 10, 3), rng.uniform(2, 6, 3)  # some of them are cut by the edge of the volume
        masks.append((((grid - centre[:, None, None, None]) / radii[:, None, None, None]) ** 2).sum(axis=0) < 1)
    spacing = (1.25, 0.8, 7.7)
    assert surface_distances(masks[0], masks[1], spacing) == pytest.approx(
        brute_force(masks[0], masks[1], spacing), rel=1e-5
    )


def test_the_same_as_monai() -> None:
    first, second = np.random.default_rng(0).random((2, 9, 8, 7)) > 0.7
    pair = [torch.from_numpy(mask)[None, None] for mask in (first, second)]
    options = {"include_background": True, "spacing": [1.25, 0.8, 7.7]}
    expected = (
        float(compute_hausdorff_distance(*pair, percentile=95, **options)),
        float(compute_average_surface_distance(*pair, symmetric=True, **options)),
    )
    assert surface_distances(first, second, (1.25, 0.8, 7.7)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("tolerance", [0.0, 0.9, 1.25, 3.0])
def test_the_same_surface_dice_as_monai(tolerance: float) -> None:
    first, second = np.random.default_rng(1).random((2, 9, 8, 7)) > 0.8
    pair = [torch.from_numpy(mask)[None, None] for mask in (first, second)]
    expected = compute_surface_dice(*pair, [tolerance], include_background=True, spacing=[1.25, 0.8, 7.7])
    measured = normalised_surface_dice(first, second, (1.25, 0.8, 7.7), tolerance)
    assert measured == pytest.approx(float(expected), rel=1e-6)


def test_surface_dice_of_shifted_cubes() -> None:
    """Of the cubes above, half of the voxels are 3 mm off and the others 6 mm."""
    first, second = np.zeros((2, 12, 8, 8), dtype=bool)
    first[2:4, 2:4, 2:4] = True
    second[4:6, 2:4, 2:4] = True
    found = [normalised_surface_dice(first, second, (3.0, 1.0, 1.0), mm) for mm in (2.9, 3.0, 6.0)]
    assert found == [0.0, 0.5, 1.0]
    with pytest.raises(ValueError, match="tolerance: -1 is no length"):
        normalised_surface_dice(first, second, (3.0, 1.0, 1.0), -1)


def test_two_dimensions() -> None:
    first, second = np.zeros((2, 8, 8), dtype=bool)
    first[1], second[5] = True, True
    assert surface_distances(first, second, (2.0, 1.0)) == pytest.approx((8.0, 8.0))


def test_percentile_forgives_a_far_voxel() -> None:
    truth = np.zeros((40, 40, 3), dtype=bool)
    truth[2:20, 2:20] = True
    prediction = truth.copy()
    prediction[39, 39, 1] = True
    assert hd95(prediction, truth, (1, 1, 1)) == 0.0
    assert 0 < assd(prediction, truth, (1, 1, 1)) < 0.1


def test_empty_masks_have_no_distance() -> None:
    empty, full = np.zeros((4, 4, 4), dtype=bool), np.ones((4, 4, 4), dtype=bool)
    for pair in ((empty, full), (full, empty), (empty, empty)):
        assert all(math.isnan(value) for value in surface_distances(*pair, (1, 1, 1)))
    assert surface_scores(empty, full, (1, 1, 1), 2.0)[2] == surface_scores(full, empty, (1, 1, 1), 2.0)[2] == 0
    assert math.isnan(surface_scores(empty, empty, (1, 1, 1), 2.0)[2])


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, math.nan)])
def test_wrong_spacing(spacing: tuple[float, ...]) -> None:
    mask = np.ones((4, 4, 4), dtype=bool)
    with pytest.raises(ValueError, match=r"spacing: .*\(4, 4, 4\)\. Give one positive voxel size"):
        surface_distances(mask, mask, spacing)


def test_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4, 4\).*\(4, 4, 5\)"):
        surface_distances(np.ones((4, 4, 4), dtype=bool), np.ones((4, 4, 5), dtype=bool), (1, 1, 1))
