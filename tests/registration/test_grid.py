# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Grids: canonical order, working spacing, crops, points."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from registration_scenes import scan, stored

from monai_fss.registration import Grid, default_spacing


def oblique(shape: tuple[int, int, int] = (6, 8, 5), degrees: float = 20.0) -> Grid:
    turn = np.radians(degrees)
    affine = np.eye(4)
    affine[:3, :3] = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]] @ np.diag(
        [2, 3, 4.0]
    )
    affine[:3, 3] = (10, -20, 30)
    return Grid(shape, affine)


def test_geometry_of_an_image() -> None:
    grid = oblique()
    again = Grid.of(MetaTensor(torch.zeros(1, 6, 8, 5), affine=torch.from_numpy(grid.affine)))
    assert again.shape == (6, 8, 5) and again.same(grid)
    np.testing.assert_allclose(grid.spacing, (2, 3, 4))
    np.testing.assert_allclose(grid.axes.T @ grid.axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(grid.extent, (12, 24, 20))
    np.testing.assert_allclose(grid.centre, (grid.affine @ (2.5, 3.5, 2, 1))[:3])


def test_points_are_the_affine_at_each_index() -> None:
    grid = oblique()
    points = grid.points()
    assert points.shape == (6, 8, 5, 3) and points.dtype == torch.float32
    for index in [(0, 0, 0), (5, 7, 4), (2, 6, 1)]:
        np.testing.assert_allclose(points[index], (grid.affine @ (*index, 1))[:3], atol=1e-4)


@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_every_way_of_storing_gives_the_same_working_grid(degrees: float) -> None:
    image, _ = scan(shape=(12, 10, 8), spacing=(4, 5, 9.3), oblique=degrees)
    expected = Grid.of(image).working((3, 4, 5))
    for order, count in itertools.product(itertools.permutations(range(3)), range(4)):
        for flips in itertools.combinations(range(3), count):
            got = Grid.of(stored(image, order, flips)).working((3, 4, 5))
            assert got.same(expected, 1e-6), (order, flips)
    assert np.all(np.diag(expected.axes) > 0.7)


def test_working_covers_the_same_box_at_the_given_spacing() -> None:
    grid = oblique()
    got = grid.working((3, 3, 6))
    assert got.shape == (4, 8, 3)  # 12, 24 and 20 mm
    np.testing.assert_allclose(got.spacing, (3, 3, 6))
    np.testing.assert_allclose(got.centre, grid.centre)
    np.testing.assert_allclose(got.axes, grid.axes)  # stays oblique
    assert grid.working((100, 100, 100)).shape == (1, 1, 1)


def test_crop_keeps_voxels_in_place() -> None:
    grid = oblique()
    part = grid.crop((1, 2, -5), (4, 99, 3))
    assert part.shape == (3, 6, 3)
    torch.testing.assert_close(part.points(), grid.points()[1:4, 2:8, 0:3])


def test_same_tells_shapes_and_corners_apart() -> None:
    grid = oblique()
    shifted = grid.affine.copy()
    shifted[0, 3] += 0.1
    assert grid.same(Grid(grid.shape, grid.affine.copy()))
    assert not grid.same(Grid(grid.shape, shifted)) and grid.same(Grid(grid.shape, shifted), 0.06)
    assert not grid.same(Grid((6, 8, 4), grid.affine))


def test_default_spacing() -> None:
    abdomen = Grid((256, 256, 36), np.diag([1.25, 1.25, 7.7, 1]))
    np.testing.assert_allclose(default_spacing(abdomen), (2.5, 2.5, 3.85))
    sagittal = Grid((36, 256, 256), np.diag([7.7, 1.25, 1.25, 1]))
    np.testing.assert_allclose(default_spacing(sagittal), (3.85, 2.5, 2.5))
    large = Grid((512, 512, 300), np.diag([0.8, 0.8, 1.5, 1]))
    x, y, z = default_spacing(large)
    assert x == y == z and 1.1e6 < np.prod(large.working((x, y, z)).shape) <= 1.3e6


def test_what_is_no_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape=\(4, 0, 4\): not a volume"):
        Grid((4, 0, 4), np.eye(4))
    with pytest.raises(ValueError, match="singular. Export the scan"):
        Grid((4, 4, 4), np.diag([1.0, 0, 1, 1]))
    with pytest.raises(ValueError, match="not a finite 4 x 4 matrix"):
        Grid((4, 4, 4), np.full((4, 4), np.nan))
    with pytest.raises(TypeError, match="Tensor has no affine. Give a MetaTensor"):
        Grid.of(torch.zeros(1, 4, 4, 4))
    with pytest.raises(ValueError, match="not a volume"):
        Grid.of(MetaTensor(torch.zeros(4, 4)))
    with pytest.raises(ValueError, match="not a voxel size"):
        oblique().working((1, 0, 1))
