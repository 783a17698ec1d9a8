# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Deformable registration: the identity, known warps, millimetres, and what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from registration_scenes import about, dice, moved, scan, stored, waves

from monai_fss.registration import DisplacementField, Grid, RegistrationError, deformable, register, resample


def body_errors(field: DisplacementField, truth: DisplacementField, image: torch.Tensor) -> torch.Tensor:
    """mm, at the voxels of the fixed scan's body."""
    points = Grid.of(image).points()[torch.as_tensor(image)[0] > 0.08]
    return (field.at(points) - truth.at(points)).norm(dim=-1)


def test_a_scan_with_itself_is_the_identity() -> None:
    image, _ = scan()
    field = deformable(image, image, spacing=(5, 5, 5))
    zero = DisplacementField(torch.zeros_like(field.data), field.affine)
    assert float(body_errors(field, zero, image).max()) < 0.5 * 5


@pytest.mark.slow
def test_a_known_smooth_warp_is_recovered() -> None:
    """Mean displacement of 5 voxels of 4 mm: Dice 0.95 and 1.5 voxels of error."""
    moving, moving_label = scan(shape=(72, 72, 48), spacing=(4, 4, 4))
    truth = waves(Grid.of(moving), 20.0, 300.0)
    fixed = resample(moving, Grid.of(moving), truth)
    fixed_label = resample(moving_label, Grid.of(moving), truth, mode="nearest")
    field = register(fixed, moving, spacing=(3.3, 3.3, 3.3), starts=1)
    label = resample(moving_label, Grid.of(fixed), field, mode="nearest")
    assert dice(fixed_label, moving_label) < 0.7  # what there was to be done
    assert dice(fixed_label, label) >= 0.95
    assert float(body_errors(field, truth, fixed).mean()) <= 1.5 * 4


def test_displacements_are_mm_on_anisotropic_oblique_voxels() -> None:
    image, _ = scan(shape=(64, 64, 22), spacing=(5, 5, 10), oblique=10)
    truth = about(Grid.of(image), (0, 0, 0), 1, (5, -10, 20))
    field = deformable(image, stored(moved(image, truth), (2, 0, 1), (1,)), spacing=(5, 5, 8))
    points = Grid.of(image).points()[image.as_tensor()[0] > 0.08]
    middle = field.at(points).median(0).values
    assert np.all(np.abs(middle.numpy() - (5, -10, 20)) < (2.5, 2.5, 4)), middle  # half a voxel


def test_the_affine_part_is_included() -> None:
    image, _ = scan()
    truth = about(Grid.of(image), (4, -3, 8), 1.1, (40, -10, 25))
    field = deformable(image, moved(image, truth), truth, spacing=(5, 5, 5))
    expected = DisplacementField.from_affine(truth, Grid.of(image))
    apart = body_errors(field, expected, image)  # beyond the edge of the moving scan there is nothing to go by
    assert float(apart.median()) < 0.5 and float(apart.mean()) < 0.5 * 5 * 1.1


def test_same_twice_and_no_trace_in_the_callers_state() -> None:
    """Also where gradients are off, as in every inferer."""
    fixed, moving = scan(0, (32, 32, 22), (10, 10, 10))[0], scan(1, (32, 32, 22), (10, 10, 10))[0]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = deformable(fixed, moving, spacing=(10, 10, 10), iterations=10)
    assert torch.equal(before, torch.get_rng_state())
    with torch.inference_mode():
        second = deformable(fixed.clone(), moving.clone(), spacing=(10, 10, 10), iterations=10)
    with torch.no_grad():
        third = deformable(fixed, moving, spacing=(10, 10, 10), iterations=10)
    assert torch.equal(first.data, second.data) and torch.equal(first.data, third.data)
    assert not first.data.requires_grad and not second.data.is_inference()


def test_the_field_is_coarse_and_lies_around_the_body() -> None:
    image, _ = scan(shape=(64, 64, 44))
    wide = torch.nn.functional.pad(image.as_tensor(), (0, 0, 20, 20, 20, 20))
    affine = Grid.of(image).affine.copy()
    affine[:3, 3] -= 20 * affine[:3, :2].sum(1)
    padded = type(image)(wide, affine=torch.from_numpy(affine))
    field = deformable(padded, padded, spacing=(10, 10, 10), iterations=1)
    assert field.data.dtype == torch.float32
    assert np.all(field.grid.extent[:2] < 1.15 * Grid.of(image).extent[:2])


def test_no_overlap_is_said_in_words() -> None:
    image, _ = scan(shape=(16, 16, 8), spacing=(20, 20, 30))
    far = about(Grid.of(image), (0, 0, 0), 1, (2000, 0, 0))
    with pytest.raises(RegistrationError, match="no overlap: the initial map takes nothing"):
        deformable(image, image, far, spacing=(20, 20, 20))
