# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Displacement fields: closed forms, edges, saving."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from registration_scenes import about

from monai_fss.registration import DisplacementField, Grid

GRID = Grid((6, 5, 7), np.array([[0, -3.0, 0, 40], [2.5, 0, 0, -600], [0, 0, 4.0, 900], [0, 0, 0, 1]]))


def test_an_affine_map_is_reproduced_at_and_between_the_points() -> None:
    matrix = about(GRID, (8, -5, 20), 1.1, (40, -10, 25))
    field = DisplacementField.from_affine(matrix, GRID)
    assert field.data.shape == (3, 6, 5, 7) and field.data.dtype == torch.float32
    index = np.random.default_rng(0).uniform(0, np.asarray(GRID.shape) - 1, (50, 3))
    points = index @ GRID.affine[:3, :3].T + GRID.affine[:3, 3]
    got = field.map(torch.from_numpy(points))
    np.testing.assert_allclose(got, points @ matrix[:3, :3].T + matrix[:3, 3], atol=2e-3)
    assert field.grid.same(GRID)


def test_displacements_are_mm_of_the_world_whatever_the_axes() -> None:
    """A translation by (1, 2, 3) mm is the same three numbers on an anisotropic grid with swapped axes."""
    field = DisplacementField.from_affine(about(GRID, (0, 0, 0), 1, (1, 2, 3)), GRID)
    torch.testing.assert_close(field.data, torch.tensor([1.0, 2, 3]).reshape(3, 1, 1, 1).expand(3, 6, 5, 7))
    points = GRID.points()[::2, 1:3]
    torch.testing.assert_close(field.at(points), torch.tensor([1.0, 2, 3]).expand(points.shape))


def test_beyond_the_grid_the_edge_goes_on() -> None:
    data = torch.arange(6.0).reshape(1, 6, 1, 1).expand(3, 6, 5, 7).clone()
    field = DisplacementField(data, torch.from_numpy(GRID.affine))
    for row, value in [(-20.0, 0.0), (2.25, 2.25), (30.0, 5.0)]:
        point = torch.from_numpy(GRID.affine @ (row, 2, 3, 1))[:3]
        torch.testing.assert_close(field.at(point), torch.full((3,), value), atol=1e-4, rtol=0)


def test_its_tensors_can_be_saved_and_loaded(tmp_path: Path) -> None:
    field = DisplacementField.from_affine(about(GRID, (1, 2, 3), 1, (1, 2, 3)), GRID)
    torch.save(field.tensors(), tmp_path / "field.pt")
    again = DisplacementField(**torch.load(tmp_path / "field.pt", weights_only=True))
    assert torch.equal(again.data, field.data) and again.grid.same(GRID, 0)


def test_what_is_no_field_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data of shape \(2, 4, 4, 4\): not displacements"):
        DisplacementField(torch.zeros(2, 4, 4, 4), torch.eye(4))
    with pytest.raises(ValueError, match="NaN or infinite"):
        DisplacementField(torch.full((3, 4, 4, 4), torch.nan), torch.eye(4))
    with pytest.raises(ValueError, match="singular"):
        DisplacementField(torch.zeros(3, 4, 4, 4), torch.zeros(4, 4))
