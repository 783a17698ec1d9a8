# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Affine registration: known maps, ways of storing, fields of view, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from registration_scenes import about, cut, errors, moved, scan, stored

from monai_fss.registration import Grid, RegistrationError, affine
from monai_fss.registration.affine import trimmed_affine

QUICK = ((8.0, 2, 5), (8.0, 1, 1))


def test_least_trimmed_squares_ignore_outliers() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-150, 150, (300, 3)) + (0, 0, 800)
    truth = about(Grid((2, 2, 2), np.eye(4)), (8, -3, 5), 1.1, (10, -20, 0))
    targets = points @ truth[:3, :3].T + truth[:3, 3]
    targets[:90] += rng.uniform(20, 60, (90, 3))
    np.testing.assert_allclose(trimmed_affine(points, targets), truth, atol=0.05)
    everything = trimmed_affine(points, targets, keep=1.0)
    assert np.abs((everything - truth)[:3, 3]).max() > 5


def test_a_slab_of_cells_is_neither_stretched_nor_turned_across() -> None:
    points = np.random.default_rng(0).uniform(-100, 100, (50, 3)) * (1, 1, 0)
    np.testing.assert_allclose(trimmed_affine(points, points + (1, 2, 3))[:3, :3], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(trimmed_affine(points, points + (1, 2, 3))[:3, 3], (1, 2, 3), atol=1e-9)


@pytest.mark.slow
def test_a_scan_with_itself_is_the_identity() -> None:
    image, _ = scan()
    matrix = affine(image, image, starts=1)
    assert errors(matrix, np.eye(4), image).max() < 0.5 * 5


@pytest.mark.slow
def test_a_known_map_is_recovered_and_the_same_twice() -> None:
    image, _ = scan()
    truth = about(Grid.of(image), (0, 0, 8), 1.1, (40, -10, 25))
    other = moved(image, truth)
    matrix = affine(image, other, starts=2)
    assert errors(matrix, truth, image).mean() < 2.5 and errors(matrix, truth, image).max() < 6
    np.testing.assert_array_equal(*(affine(image, other, starts=1, levels=QUICK) for _ in range(2)))


def test_displacements_are_mm_on_anisotropic_oblique_voxels() -> None:
    """Thick slices, swapped and flipped: a shift of (6, -12, 20) mm is found as that."""
    image, _ = scan(shape=(80, 80, 22), spacing=(4, 4, 10), oblique=10)
    truth = about(Grid.of(image), (0, 0, 0), 1, (6, -12, 20))
    other = stored(moved(image, truth), (2, 0, 1), (0, 2))
    matrix = affine(image, other, starts=1, levels=QUICK)
    np.testing.assert_allclose(matrix[:3, :3], np.eye(3), atol=0.02)
    assert errors(matrix, truth, image).max() < 3


@pytest.mark.slow
def test_storage_does_not_matter() -> None:
    fixed, moving = scan(0)[0], scan(1)[0]
    matrix = affine(fixed, moving, starts=1, levels=QUICK)
    for order, flips in [((2, 0, 1), (0,)), ((1, 0, 2), (0, 1, 2))]:
        other = affine(stored(fixed, order, flips), moving, starts=1, levels=QUICK)
        assert errors(other, matrix, fixed).max() < 0.1
        other = affine(fixed, stored(moving, order, flips), starts=1, levels=QUICK)
        assert errors(other, matrix, fixed).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("long_is_fixed", [True, False])
def test_a_short_scan_is_found_in_a_long_one(long_is_fixed: bool) -> None:
    whole, _ = scan(shape=(64, 64, 60))
    part = moved(cut(whole, 34, 56), about(Grid.of(whole), (0, 0, 0), 1, (15, 5, -200)))
    truth = about(Grid.of(whole), (0, 0, 0), 1, (15, 5, -200))
    if long_is_fixed:
        apart = errors(affine(whole, part), truth, cut(whole, 34, 56))
    else:
        apart = errors(affine(part, whole), np.linalg.inv(truth), part)
    assert apart.mean() < 3 and apart.max() < 10


def test_no_overlap_is_said_in_words() -> None:
    image, _ = scan()
    far = np.eye(4)
    far[:3, 3] = 5000
    with pytest.raises(RegistrationError, match=r"no overlap: none of 1 starts .* Check that both show the same part"):
        affine(image, image, starts=[far], levels=QUICK)


def test_a_map_that_collapses_does_not_win() -> None:
    image, _ = scan()
    flat = about(Grid.of(image), (0, 0, 0), 0.05, (0, 0, 0))
    with pytest.raises(RegistrationError, match="no overlap"):
        affine(image, image, starts=[flat], levels=((8.0, 2, 1),))


def test_what_cannot_be_registered_is_refused() -> None:
    image, _ = scan(shape=(16, 16, 8), spacing=(20, 20, 30))
    air = MetaTensor(torch.zeros(1, 16, 16, 8), affine=image.affine)
    with pytest.raises(RegistrationError, match=r"the moving scan: no voxel is above 0.08 \(maximum 0\)"):
        affine(image, air)
    with pytest.raises(ValueError, match=r"fixed: intensities from -1000 to -1000. Scale them to 0..1"):
        affine(air - 1000, image)
    with pytest.raises(ValueError, match=r"moving: has shape \(2, 16, 16, 8\). Give one channel"):
        affine(image, MetaTensor(torch.zeros(2, 16, 16, 8)))
    with pytest.raises(TypeError, match="has no affine"):
        affine(image.as_tensor(), image)


@pytest.mark.slow
def test_threads_change_the_time_alone() -> None:
    fixed, moving = scan(0)[0], scan(1)[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one, other = (affine(fixed, moving, levels=QUICK, workers=workers) for workers in (2, 1))
        np.testing.assert_array_equal(one, other)
    finally:
        torch.set_num_threads(threads)
