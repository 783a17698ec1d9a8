# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""CT is registered by its intensities too, in every bundle, in training and in use."""

from __future__ import annotations

from typing import Any

import pytest
from installed_bundles import config_of

from monai_fss.inferers import registration_settings
from monai_fss.registration import CT_WEIGHT, quick_registration

PROTOTYPES = ("adnet", "adnet_3d", "alpnet", "canet", "crapnet", "panet", "ppnet", "rpnet", "se_net")
WHERE = {
    **{("inference", name): "atlas_settings" for name in (*PROTOTYPES, "atlas", "self_training")},
    ("inference", "organnet"): "own_settings",
    ("inference", "small_organ"): "inferer",
    ("train", "organnet"): "registration",
    ("train", "small_organ"): "regions",
    ("train", "data_aug"): "align",
    ("pretrain", "data_aug"): "align",
    ("teach", "self_training"): "registration",
}


def registration(kind: str, bundle: str, window: Any, **more: Any) -> dict[str, Any]:
    """What a configuration has for it."""
    parser = config_of(bundle, kind, window=window, cache_dir=None, preset="fast", **more)
    place = WHERE[kind, bundle]
    if place == "registration":
        return parser.get_parsed_content(place)
    if isinstance(parser[place], str):  # an expression
        return parser.get_parsed_content(place)["registration"]
    return parser.get_parsed_content(f"{place}::registration")


@pytest.mark.parametrize(("kind", "bundle"), WHERE)
def test_a_window_says_that_intensities_mean_the_same(kind: str, bundle: str) -> None:
    assert registration(kind, bundle, [-125, 275])["intensity_weight"] == CT_WEIGHT
    assert registration(kind, bundle, None)["intensity_weight"] == 0


def test_the_user_has_the_last_word() -> None:
    assert registration("inference", "atlas", [-125, 275], intensity_weight=0.0)["intensity_weight"] == 0
    assert registration("inference", "atlas", None, intensity_weight=2.0) == {
        "preset": "fast",
        "starts": None,
        "intensity_weight": 2.0,
    }


def test_a_second_look_is_fast_and_heeds_intensities_alike() -> None:
    settings = registration_settings((-125, 275), preset="accurate", starts=2)
    assert settings == {"preset": "accurate", "starts": 2, "intensity_weight": CT_WEIGHT}
    assert quick_registration(settings) == {"preset": "fast", "intensity_weight": CT_WEIGHT}
    assert quick_registration({}) == {"preset": "fast"}


def test_the_second_registration_of_self_training_heeds_them_too() -> None:
    parser = config_of("self_training", "teach", window=[-125, 275])
    assert parser.get_parsed_content("teacher::second") == {"preset": "fast", "intensity_weight": CT_WEIGHT}
