# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ConvexAdam with intensities beside its descriptors, and without them as its package has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from registration_scenes import scan, waves

from monai_fss.registration import CT_WEIGHT, Grid, deformable, intensity_weight, resample
from monai_fss.registration.deformable import _convex_adam, _described, _matched
from monai_fss.registration.matching import convex_adam, descriptors, quiet


def test_without_intensities_it_is_the_packages_convex_adam() -> None:
    fixed, _ = scan(0, (32, 48, 24), (8, 8, 8))
    moving = resample(fixed, Grid.of(fixed), waves(Grid.of(fixed), 15.0, 200.0))
    one, other = (image.as_tensor()[0] for image in (fixed, moving))
    with quiet(), torch.enable_grad():
        wanted = convex_adam("convex_adam_MIND").convex_adam_pt(
            one.clone(),
            other.clone(),
            grid_sp=4,
            disp_hw=2,
            lambda_weight=0.6,
            selected_niter=20,
            dtype=torch.float32,
            device=torch.device("cpu"),
        )
    found = _convex_adam(descriptors(one), descriptors(other), 4, 2, 0.6, 20)
    assert found.shape == (3, 32, 48, 24) and float(found.abs().max()) > 0.5
    assert np.allclose(found.movedim(0, -1).numpy(), wanted, atol=1e-4)


def slabs(brightness: dict[int, float]) -> MetaTensor:
    """A body of 5 mm voxels with slabs of six voxels, by their first one, which differ in brightness alone."""
    image = torch.zeros(1, 64, 20, 20)
    image[:, 3:61, 3:17, 3:17] = 0.4
    for start, own in brightness.items():
        image[:, start : start + 6, 3:17, 3:17] = own
    return MetaTensor(image, affine=torch.diag(torch.tensor([5.0, 5.0, 5.0, 1.0])))


def test_intensities_tell_apart_what_has_the_same_shape() -> None:
    """A slab lies 20 mm away from its like, and 20 mm on the other side is a brighter one: MIND sees no difference."""

    def off(side: int, weight: float) -> float:
        """mm by which the slab's middle is led astray."""
        fixed, moving = slabs({29: 0.6}), slabs({29 + 4 * side: 0.6, 29 - 4 * side: 0.9})
        fixed[:, 44:58, 3:9, 3:17] = 0.9  # as many bright voxels, of another shape
        field = deformable(
            fixed, moving, spacing=(5, 5, 5), cell=2, reach=3, smoothness=0.05, iterations=60, intensity_weight=weight
        )
        return abs(float(field.at(torch.tensor([[31.5 * 5, 9.5 * 5, 9.5 * 5]]))[0, 0]) - 20 * side)

    assert max(off(side, CT_WEIGHT) for side in (-1, 1)) < 8
    assert max(off(side, 0.0) for side in (-1, 1)) > 30, "whichever it takes, one of both is wrong"


def test_they_are_means_over_three_voxels_times_the_weight() -> None:
    image, _ = scan(0, (16, 16, 12), (10, 10, 10))
    one = image.as_tensor()[0]
    assert torch.equal(_described(one, one, 0.0, "cpu"), descriptors(one))
    found = _described(one, 2 * one, 1.5, "cpu")
    assert found.shape == (1, 13, 16, 16, 12) and torch.equal(found[:, :12], descriptors(one))
    padded = np.pad(2 * one.numpy(), 1, mode="edge")
    for i, j, k in ((0, 0, 0), (5, 7, 3), (15, 15, 11)):
        mean = padded[i : i + 3, j : j + 3, k : k + 3].mean()
        assert float(found[0, 12, i, j, k]) == pytest.approx(1.5 * mean, rel=1e-5)


def test_histograms_are_matched_over_what_both_show() -> None:
    generator = torch.Generator().manual_seed(0)
    fixed = 0.2 + 0.6 * torch.rand(10, 10, 10, generator=generator)
    shown = torch.ones_like(fixed).bool()
    shown[7:] = False
    brighter = torch.where(shown, fixed**2 + 0.1, torch.zeros(()))
    found = _matched(fixed, brighter, shown)
    assert torch.allclose(found[shown], fixed[shown], atol=1e-5) and not found[~shown].any()
    air = torch.zeros_like(fixed)
    assert torch.equal(_matched(fixed, air, shown), air), "there is nothing to match"


def test_only_ct_is_compared_by_intensities_unless_the_user_wants_it() -> None:
    assert intensity_weight(None) == 0 and intensity_weight((-125, 275)) == CT_WEIGHT
    assert intensity_weight((-125, 275), 0.0) == 0 and intensity_weight(None, 2.0) == 2


def test_a_field_of_fewer_voxels_than_a_cell_stays_finite() -> None:
    image = MetaTensor(
        F.pad(torch.rand(1, 6, 6, 3), (0, 0, 1, 1, 1, 1)), affine=torch.diag(torch.tensor([5.0, 5, 5, 1]))
    )
    field = deformable(image, image, spacing=(5, 5, 5), iterations=3, intensity_weight=1.4)
    assert torch.isfinite(field.data).all()
