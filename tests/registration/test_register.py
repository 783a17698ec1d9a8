# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Registration in one call, on pairs of subjects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from registration_scenes import about, cut, dice, moved, scan, stored

from monai_fss.registration import PRESETS, DisplacementField, Grid, RegistrationError, affine, register, resample

pytestmark = pytest.mark.slow
SPACING = (3.3, 3.3, 3.3)  # the organs of the scenes are a few cells wide
FAST: dict[str, Any] = {"preset": "fast", "spacing": SPACING, "starts": 1}


def masks(field: DisplacementField, label: torch.Tensor, grid: Grid) -> torch.Tensor:
    return resample(label, grid, field, mode="nearest").as_tensor()


def test_deformable_is_better_than_affine_and_affine_than_nothing() -> None:
    (fixed, truth), (moving, label) = scan(0), scan(1)
    grid = Grid.of(fixed)
    centred = about(Grid.of(moving), (0, 0, 0), 1, Grid.of(moving).centre - grid.centre)
    scores = [
        dice(truth, masks(DisplacementField.from_affine(centred, grid), label, grid)),
        dice(truth, masks(register(fixed, moving, "affine", starts=1), label, grid)),
        dice(truth, masks(register(fixed, moving, spacing=SPACING, starts=1), label, grid)),
    ]
    assert scores[2] > scores[1] + 0.02 and scores[2] > scores[0] + 0.05, scores


def test_a_scan_with_itself_is_the_identity_and_fast_is_coarser() -> None:
    image, _ = scan()
    points = Grid.of(image).points()[image.as_tensor()[0] > 0.08]
    for preset in PRESETS:
        field = register(image, image, preset=preset, spacing=SPACING, starts=1)
        assert float(field.at(points).norm(dim=-1).max()) < 0.5 * 5, preset
        assert field.grid.spacing == pytest.approx([5.28 if preset == "fast" else 3.3] * 3, rel=0.02)


def test_affine_is_that_of_affine() -> None:
    fixed, moving = scan(0)[0], scan(1)[0]
    matrix = affine(fixed, moving, starts=1)
    field = register(fixed, moving, "affine", starts=1)
    points = field.grid.points()[::4, ::4, ::4].double()
    expected = points @ torch.from_numpy(matrix[:3, :3]).T + torch.from_numpy(matrix[:3, 3])
    torch.testing.assert_close(field.map(points), expected, atol=1e-3, rtol=0)


def test_storage_and_spacing_of_either_scan_give_the_same_masks() -> None:
    (fixed, _), (moving, label) = scan(0, oblique=5), scan(1)
    grid = Grid.of(fixed)
    first = masks(register(fixed, moving, **FAST), label, grid)
    order, flips = (2, 0, 1), (0, 2)
    field = register(stored(fixed, order, flips), moving, **FAST)
    assert dice(first, masks(field, label, grid)) > 0.999
    field = register(fixed, stored(moving, order, flips), **FAST)
    assert dice(first, masks(field, stored(label, order, flips), grid)) > 0.999
    # At another spacing the numbers are others, and the search decides some cells another way.
    finer = Grid.of(fixed).working((4, 4, 7)), Grid.of(moving).working((4, 4, 7))
    one, other = (resample(x, g, padding="border") for x, g in zip((fixed, moving), finer, strict=True))
    assert dice(first, masks(register(one, moving, **FAST), label, grid)) > 0.88
    assert dice(first, masks(register(fixed, other, **FAST), label, grid)) > 0.88


@pytest.mark.parametrize("long_is_fixed", [True, False])
def test_fields_of_view_may_differ(long_is_fixed: bool) -> None:
    (one, truth), (other, label) = scan(0, (64, 64, 56)), scan(1, (64, 64, 56))
    away = about(Grid.of(other), (0, 0, 0), 1, (20, -10, 300))
    other, label = moved(other, away), moved(label, away)
    if long_is_fixed:
        other, label = cut(other, 22, 46), cut(label, 22, 46)
        field = register(one, other, spacing=SPACING, preset="fast")
        got, truth = (x[..., 26:42] for x in (masks(field, label, Grid.of(one)), truth.as_tensor()))
    else:
        one, truth = cut(one, 22, 46), cut(truth, 22, 46)
        field = register(one, other, spacing=SPACING, preset="fast")
        got = masks(field, label, Grid.of(one))
    assert dice(truth, got) > 0.6


def test_wrong_calls_are_refused() -> None:
    image, _ = scan(shape=(16, 16, 8), spacing=(20, 20, 30))
    with pytest.raises(ValueError, match="method='rigid': unknown. Give 'affine' or 'deformable'"):
        register(image, image, "rigid")
    with pytest.raises(ValueError, match="preset='best': unknown. Give one of accurate, fast"):
        register(image, image, preset="best")
    far = about(Grid.of(image), (0, 0, 0), 1, np.array((0, 0, 9000)))
    with pytest.raises(RegistrationError, match="no overlap"):
        register(image, image, starts=[far])
