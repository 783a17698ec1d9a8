# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Tests of the brightness of one structure."""

from __future__ import annotations

import math

import pytest
import torch

from monai_fss.transforms import RandMaskContrastd


def scene() -> dict[str, torch.Tensor]:
    """A bright square on a grey ground."""
    image, label = torch.full((1, 21, 21), 0.2), torch.zeros(1, 21, 21)
    label[:, 5:16, 5:16] = 1
    image[label > 0] = 0.3
    return {"image": image, "label": label}


def test_the_structure_alone_changes_by_the_factor() -> None:
    transform = RandMaskContrastd("image", "label", factor=2.0, prob=1.0)
    transform.set_random_state(seed=3)
    before = scene()
    after = transform(scene())["image"]
    assert after[0, 10, 10] == pytest.approx(0.3 * transform.drawn, rel=1e-4)  # the middle: the smoothed mask is 1
    assert torch.allclose(after[:, :, 0], before["image"][:, :, 0])  # far from the mask
    assert transform.drawn != 1


def test_factors_are_log_uniform_and_both_ways() -> None:
    transform = RandMaskContrastd("image", "label", factor=4.0, prob=0.5)
    transform.set_random_state(seed=0)
    logs, changed = [], 0
    for _ in range(2000):
        transform.randomize()
        logs.append(math.log(transform.drawn) / math.log(4.0))
        changed += transform._do_transform
    assert min(logs) >= -1
    assert max(logs) <= 1
    assert abs(sum(logs) / len(logs)) < 0.05
    assert sum(abs(x) for x in logs) / len(logs) == pytest.approx(0.5, abs=0.03)
    assert changed / 2000 == pytest.approx(0.5, abs=0.05)


def test_the_result_stays_in_range_and_the_input_as_it_was() -> None:
    transform = RandMaskContrastd("image", "label", factor=50.0, prob=1.0)
    transform.set_random_state(seed=1)
    data = scene()
    found = torch.stack([transform(data)["image"] for _ in range(20)])
    assert found.min() >= 0
    assert found.max() == 1
    assert torch.equal(data["image"], scene()["image"])


def test_an_image_without_a_range_changes_as_the_one_that_it_was_made_of() -> None:
    """(x - mean) / std of what the bounded transform gives, where that clips nothing: 0.3 becomes at most 0.6."""
    plain = scene()["image"]
    plain[0, 0, 0] = 0  # the air
    mean, std = 0.2, 0.05
    bounded, free = (
        RandMaskContrastd("image", "label", factor=2.0, prob=1.0, bounded=bounded) for bounded in (True, False)
    )
    for seed in range(4):
        bounded.set_random_state(seed=seed)
        free.set_random_state(seed=seed)
        expected = bounded({**scene(), "image": plain})["image"]
        found = free({**scene(), "image": (plain - mean) / std})["image"]
        assert torch.allclose(found * std + mean, expected, atol=1e-5)
        assert found.min() < -3.9 and found[0, 10, 10] == pytest.approx((0.3 * free.drawn - mean) / std, abs=1e-3)


def test_probability_zero_changes_nothing_and_a_factor_must_be_above_one() -> None:
    transform = RandMaskContrastd("image", "label", prob=0.0)
    assert torch.equal(transform(scene())["image"], scene()["image"])
    with pytest.raises(ValueError, match="factor must be above 1, got 1.0"):
        RandMaskContrastd("image", "label", factor=1.0)
