# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""RP-Net: its ablations build what they say, and change nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from recipe_checks import parsed, rates

from monai_fss.apps.methods.method import Method

DEFAULT: dict[str, Any] = {"axes": 3, "passes": 10, "train_passes": 4, "radius": 5, "superpixels": True}
RECIPES: dict[str, dict[str, Any]] = {
    "no_position": {"axes": 0},
    "passes=1": {"passes": 1},
    "train_passes=1": {"train_passes": 1},
    "correlation_radius=3": {"radius": 3},
    "self_supervision=supervoxels": {"superpixels": False},
}


def test_every_recipe_is_known_here() -> None:
    assert set(Method("rpnet").recipes) - {"paper"} <= RECIPES.keys()


@pytest.mark.parametrize("name", [None, *RECIPES])
def test_recipe(name: str | None) -> None:
    """What it says, and nothing else; inference has to build the network that was trained."""
    parser = parsed("rpnet", name)
    network, settings = parser.get_parsed_content("network_def"), parser.get_parsed_content("settings")
    found = {"axes": getattr(network.encoder, "axes", 0), "radius": network.relation.radius}
    found |= {key: getattr(network, key) for key in ("passes", "train_passes")}
    found |= {"superpixels": parser.get_parsed_content("superpixels")}
    assert found == DEFAULT | RECIPES.get(str(name), {})
    assert settings["passes"] == found["passes"] and settings["correlation_radius"] == found["radius"]


def test_the_numbers_of_the_published_code() -> None:
    parser = parsed("rpnet", "paper")
    parser["encoder"], parser["pretrained"] = "compact", None
    assert parser.get_parsed_content("network_def").relation.inside.conv.out_channels == 256
    optimizer, schedule = parser.get_parsed_content("optimizer"), parser.get_parsed_content("lr_scheduler")
    assert type(optimizer).__name__ == "Adam" and rates(optimizer, schedule, 8) == [1e-5] * 8
