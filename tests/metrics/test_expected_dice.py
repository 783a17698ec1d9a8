# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The signs of a registered mask against what they are by hand, and the number that is made of them."""

from __future__ import annotations

import numpy as np
import pytest

from monai_fss.metrics import MaskSigns, expected_dice, mask_signs


def test_the_signs_of_a_mask_are_its_mean_probability_and_a_correlation_in_and_near_it() -> None:
    rng = np.random.default_rng(0)
    image, one, other = rng.random((3, 12, 14, 16))
    masks = np.full((12, 14, 16), 2)
    masks[5:7, 6:8, 7:9] = 1
    masks[0, 0, 0] = 0
    probabilities = rng.random((2, 12, 14, 16))
    spacing = (4.0, 3.0, 2.0)
    found = mask_signs(masks, probabilities, image, [one, other], spacing)
    for way in (0, 1):
        inside = np.argwhere(masks == way)
        every = np.moveaxis(np.indices(masks.shape), 0, -1)[..., None, :]
        distance = np.linalg.norm((every - inside) * np.array(spacing), axis=-1).min(-1)
        near = distance < 8
        alike = [np.corrcoef(image[near], scan[near])[0, 1] for scan in (one, other)]
        assert found[way].confidence == pytest.approx(probabilities[way][masks == way].mean())
        assert found[way].likeness == pytest.approx(np.mean(alike))


def test_a_class_without_a_voxel_has_no_signs_and_a_constant_image_is_alike_to_nothing() -> None:
    masks = np.full((4, 4, 4), 2)
    masks[1:3, 1:3, 1:3] = 1
    found = mask_signs(masks, np.ones((2, 4, 4, 4)), np.zeros((4, 4, 4)), [np.random.rand(4, 4, 4)], (1, 1, 1))
    assert found == {1: MaskSigns(1.0, 0.0)}


def test_the_quality_is_nothing_where_one_of_its_signs_is() -> None:
    assert expected_dice(1.0, MaskSigns(1.0, 1.0)) == 1.0
    assert expected_dice(0.6, MaskSigns(0.9, 0.4)) == pytest.approx(0.9 * 0.6**0.25 * 0.7**0.25)
    assert expected_dice(0.0, MaskSigns(0.9, 1.0)) == expected_dice(1.0, MaskSigns(0.0, 1.0)) == 0.0
    assert expected_dice(1.0, MaskSigns(1.0, -1.0)) == 0.0
