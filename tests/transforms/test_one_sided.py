# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One side of an episode is changed, by the draws that MONAI's OneOf of two written-out transforms makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from monai.transforms import Compose, OneOf, Rand2DElasticd, RandAdjustContrastd, RandAffined, RandShiftIntensityd

from monai_fss.transforms import AugmentSides, OneSided, RandMaskContrastd

SIDE = ("image", "position", "label")


def episode() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = {prefix + key: torch.rand(1, 16, 16, generator=generator) for prefix in ("", "support_") for key in SIDE[:2]}
    label = torch.zeros(1, 16, 16)
    label[:, 4:9, 5:12] = 1
    return made | {"label": label, "support_label": label.roll(3, 1)}


def elastic(prefix: str = "") -> Rand2DElasticd:
    keys = [prefix + key for key in SIDE]
    modes: dict[str, Any] = {"mode": ["bilinear", "bilinear", "nearest"], "padding_mode": ["zeros", "border", "zeros"]}
    return Rand2DElasticd(keys, (4, 4), (0, 0.5), prob=1, rotate_range=0.1, translate_range=[2, 2], **modes)


def contrast(prefix: str = "") -> RandMaskContrastd:
    return RandMaskContrastd(f"{prefix}image", f"{prefix}label", prob=0.7)


def gamma(prefix: str = "") -> RandAdjustContrastd:
    return RandAdjustContrastd(f"{prefix}image", prob=1, gamma=(0.5, 1.5))


def tilted(prefix: str = "") -> RandAffined:
    return RandAffined([prefix + key for key in SIDE], prob=1, rotate_range=0.3, padding_mode="zeros")


def both(prefix: str = "") -> Compose:
    return Compose([contrast(prefix), elastic(prefix)])


def drawn(transform: Any, seed: int) -> dict[str, torch.Tensor]:
    return Compose([transform]).set_random_state(seed=seed)(episode())


def changed(found: dict[str, torch.Tensor], keys: Sequence[str] = SIDE) -> set[str]:
    before = episode()
    return {key for key in before if not torch.equal(torch.as_tensor(found[key]), before[key])} & {
        f"{prefix}{key}" for prefix in ("", "support_") for key in keys
    }


@pytest.mark.parametrize("make", [elastic, contrast, gamma, tilted, both])
def test_it_draws_as_one_of_two(make: Any) -> None:
    weights, sides = [0.4, 0.6], set()
    for seed in range(12):
        one = drawn(OneSided(make(), weights), seed)
        other = drawn(OneOf([make(), make("support_")], weights), seed)
        assert one.keys() == other.keys()
        assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(other[key])) for key in other)
        names = changed(one)
        assert len({name.startswith("support_") for name in names}) <= 1, "one side alone"
        sides |= {name.startswith("support_") for name in names}
    assert sides == {True, False}


def test_the_odds_are_those_of_query_and_support() -> None:
    assert all(changed(drawn(OneSided(gamma(), (1.0, 0.0)), seed)) == {"image"} for seed in range(8))
    assert all(changed(drawn(OneSided(gamma(), (0.0, 2.0)), seed)) == {"support_image"} for seed in range(8))
    named = drawn(OneSided(lambda data: {"image": data["image"] + 1}, (0.0, 1.0), prefix="support_"), 0)
    assert torch.equal(named["support_image"], episode()["support_image"] + 1)
    with pytest.raises(ValueError, match="At least one probability must be greater than zero"):
        OneSided(gamma(), (0.0, 0.0))
    with pytest.raises(ValueError, match="same size"):
        OneSided(gamma(), (1.0,))


def test_sides_are_set_apart_by_these_transforms_one_after_the_other() -> None:
    odds = [0.3, 0.7]
    written = [OneOf([make(), make("support_")], odds) for make in (elastic,)]
    bright = [RandMaskContrastd(f"{p}image", f"{p}label", factor=2.0, sigma=0.5, prob=0.9) for p in ("", "support_")]
    steps = [OneOf(bright, odds), OneOf([gamma(), gamma("support_")], odds), *written]
    steps += [RandShiftIntensityd(key, 0.2, prob=1, channel_wise=True) for key in ("position", "support_position")]
    own: dict[str, Any] = {"contrast_prob": 0.9, "contrast_factor": 2.0, "contrast_sigma": 0.5, "weights": odds}
    augment = AugmentSides(elastic(), position_jitter=0.2, **own)
    for seed in range(6):
        expected = Compose(steps).set_random_state(seed=seed)(episode())
        found = Compose(list(augment.transforms)).set_random_state(seed=seed)(episode())
        assert all(torch.equal(torch.as_tensor(found[key]), torch.as_tensor(expected[key])) for key in expected)
        assert changed(found) >= {"position", "support_position"}
    assert len(AugmentSides(elastic(), **own).transforms) == 3, "without a position nothing is shifted"
    assert len(AugmentSides(**own).transforms) == 2, "sides that come warped"
