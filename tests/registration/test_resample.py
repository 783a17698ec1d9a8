# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Resampling against scipy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from registration_scenes import about, stored, waves
from scipy.ndimage import map_coordinates

from monai_fss.registration import DisplacementField, Grid, inside, resample
from monai_fss.registration import resample as resample_function

FIXED = Grid((7, 9, 8), np.array([[2.0, 0.2, 0, 5], [-0.2, 2.0, 0, -7], [0, 0, 3.0, 9], [0, 0, 0, 1]]))


def image(channels: int = 2) -> MetaTensor:
    affine = np.array([[-1.5, 0, 0, 22], [0, 2.5, 0, -9], [0, 0, 2.8, 8.0], [0, 0, 0, 1]])
    data = torch.rand(channels, 12, 9, 10, generator=torch.Generator().manual_seed(0))
    return MetaTensor(data, affine=torch.from_numpy(affine))


def expected(moving: MetaTensor, matrix: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Values by scipy, and which points lie in the field of view."""
    points = np.stack(np.meshgrid(*map(np.arange, FIXED.shape), [1], indexing="ij"), -1)[..., 0, :] @ FIXED.affine.T
    index = np.moveaxis(points @ (np.linalg.inv(moving.affine.numpy()) @ matrix).T, -1, 0)[:3]
    seen = np.all([(i > -0.5) & (i < n - 0.5) for i, n in zip(index, moving.shape[1:], strict=True)], axis=0)
    values = [map_coordinates(c, index, order=order, mode="nearest") for c in moving.as_tensor().numpy()]
    return np.stack(values), seen


@pytest.mark.parametrize(("mode", "order"), [("bilinear", 1), ("nearest", 0)])
@pytest.mark.parametrize("slab", [1, 2_000_000])
def test_agrees_with_scipy(mode: str, order: int, slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(resample_function.__globals__, "_SLAB", slab)
    moving, matrix = image(), about(FIXED, (5, -8, 12), 1.1, (1, -2, 3))
    values, seen = expected(moving, matrix, order)
    assert 0.3 < seen.mean() < 0.99
    got = resample(moving, FIXED, matrix, mode=mode, antialias=False)
    np.testing.assert_allclose(got.as_tensor(), values * seen, atol=2e-4)
    np.testing.assert_array_equal(inside(moving, FIXED, matrix), seen)
    border = resample(moving, FIXED, torch.from_numpy(matrix), mode=mode, padding="border", antialias=False)
    np.testing.assert_allclose(border.as_tensor(), values, atol=2e-4)
    assert Grid.of(got).same(FIXED)


def test_a_field_does_what_its_matrix_does() -> None:
    moving, matrix = image(), about(FIXED, (3, 2, -6), 0.95, (2, 1, 0))
    field = DisplacementField.from_affine(matrix, FIXED)
    one, other = (resample(moving, FIXED, t, antialias=False).as_tensor() for t in (matrix, field))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    assert torch.equal(inside(moving, FIXED, matrix), inside(moving, FIXED, field))


def test_a_field_is_read_between_its_points() -> None:
    """The fixed grid need not be that of the field: brute force by ``map`` at each point."""
    moving, coarse = image(1), FIXED.working((4, 4, 4))
    field = waves(coarse, 2.0, 40.0)
    got = resample(moving, FIXED, field, padding="border", antialias=False)[0]
    inverse = np.linalg.inv(moving.affine.numpy())
    for index in [(0, 0, 0), (3, 4, 5), (6, 8, 7), (2, 7, 1)]:
        there = np.append(field.map(FIXED.points()[index]).numpy(), 1)
        value = map_coordinates(moving[0].numpy(), (inverse @ there)[:3, None], order=1, mode="nearest")[0]
        assert float(got[index]) == pytest.approx(value, abs=1e-4)


def test_swapped_and_flipped_storage_does_not_matter() -> None:
    moving, matrix = image(), about(FIXED, (5, -8, 12), 1.1, (1, -2, 3))
    for order, flips in [((2, 0, 1), (0,)), ((1, 0, 2), (1, 2)), ((0, 1, 2), (0, 1, 2))]:
        copy = stored(moving, order, flips)
        for mode in ("bilinear", "nearest"):
            one, other = (resample(m, FIXED, matrix, mode=mode).as_tensor() for m in (moving, copy))
            torch.testing.assert_close(one, other, atol=2e-4, rtol=0)


def test_labels_keep_type_and_values() -> None:
    label = MetaTensor((image(1) * 250).to(torch.uint8), affine=image().affine)
    got = resample(label, FIXED, mode="nearest")
    assert got.dtype == torch.uint8 and set(got.unique().tolist()) <= {0, *label.unique().tolist()}
    assert resample(label, FIXED).dtype == torch.float32


def test_no_blending_into_the_outside_half_a_voxel_before_the_edge() -> None:
    ones = MetaTensor(torch.ones(1, 4, 4, 4), affine=torch.diag(torch.tensor([2.0, 2, 8, 1])))
    fine = Grid((4, 4, 9), np.array([[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 4, -6], [0, 0, 0, 1]]))
    assert resample(ones, fine)[0, 1, 1].tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 1]  # -6 is out, -2 is in


def test_images_that_get_coarser_are_blurred_first() -> None:
    """The variance of a blurred impulse is sigma^2 = 0.25 ((t / s)^2 - 1) voxels, along the coarser axis only."""
    impulse = torch.zeros(1, 41, 5, 5)
    impulse[0, 20, 2, 2] = 1
    fine = MetaTensor(impulse, affine=torch.eye(4, dtype=torch.float64))
    positions = np.arange(41) - 20
    offsets = [resample(fine, Grid((11, 5, 5), _shifted(k)))[0, :, 2, 2].numpy() for k in range(4)]
    profile = np.stack(offsets, 1).ravel()[:41]
    assert profile.sum() == pytest.approx(1, abs=0.01)
    assert (profile * positions**2).sum() == pytest.approx(0.25 * (16 - 1), rel=0.05)
    assert resample(fine, Grid((11, 5, 5), _shifted(0)), antialias=False)[0, 5, 2, 2] == 1


def _shifted(k: int) -> np.ndarray:
    affine = np.diag([4.0, 1, 1, 1])
    affine[0, 3] = k
    return affine


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="mode='cubic', padding='zeros': give 'bilinear' or 'nearest'"):
        resample(image(), FIXED, mode="cubic")
    with pytest.raises(ValueError, match=r"shape \(12, 9, 10\): give \(C, H, W, D\)"):
        resample(image()[0], FIXED)
    with pytest.raises(ValueError, match=r"transform of shape \(3, 3\): not a finite 4 x 4 matrix"):
        resample(image(), FIXED, np.eye(3))
    with pytest.raises(TypeError, match="has no affine"):
        inside(image().as_tensor(), FIXED)
