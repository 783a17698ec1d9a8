# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""CANet: its ablations build what they say, and change nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from recipe_checks import check_paper, parsed

from monai_fss.apps.methods.method import Method

RECIPES: dict[str, dict[str, Any]] = {
    "no_position": {"encoder.axes": 0},
    "passes=1": {"passes": 1},
    "history_dropout=1": {"history_dropout": 1},
    "self_supervision=superpixels": {"superpixels": True},
}
DEFAULT: dict[str, Any] = {"encoder.axes": 3, "passes": 5, "history_dropout": 0.7, "superpixels": False}


def test_every_recipe_is_known_here() -> None:
    assert set(Method("canet").recipes) - {"paper"} <= RECIPES.keys()


@pytest.mark.parametrize("name", [None, *RECIPES])
def test_recipe(name: str | None) -> None:
    """What it says, and nothing else; inference has to build the network that was trained."""
    parser = parsed("canet", name)
    network, settings = parser.get_parsed_content("network_def"), parser.get_parsed_content("settings")
    found = {key: getattr(network, key) for key in ("passes", "history_dropout")}
    found |= {"encoder.axes": getattr(network.encoder, "axes", 0)}
    found |= {"superpixels": parser.get_parsed_content("superpixels")}
    assert found == DEFAULT | RECIPES.get(str(name), {})
    assert settings["passes"] == found["passes"]


def test_the_setting_of_adnets_comparison() -> None:
    network = check_paper("canet", [256, 256], ("resnet101", "compact"), steps=50000, factor=0.98)
    assert network.decoder.logits.in_channels == 256
    assert parsed("canet").get_parsed_content("loss").class_weight.tolist() == pytest.approx([0.1, 1.0])
