# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PPNet: its ablations build what they say, and change nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from recipe_checks import check_paper, check_recipe, parsed

from monai_fss.apps.methods.method import Method

DEFAULT: dict[str, Any] = {"align": 1.0, "superpixels": False, "positions": 3}
RECIPES: dict[str, dict[str, Any]] = {
    "no_position": {"positions": 0},
    "align=0": {"align": 0.0},
    "self_supervision=superpixels": {"superpixels": True},
}


def test_every_recipe_is_known_here() -> None:
    assert set(Method("ppnet").recipes) - {"paper"} <= RECIPES.keys()


@pytest.mark.parametrize("name", [None, *RECIPES])
def test_recipe(name: str | None) -> None:
    check_recipe("ppnet", name, DEFAULT | RECIPES.get(str(name), {}))


def test_the_setting_of_adnets_comparison() -> None:
    network = check_paper("ppnet", [256, 256], ("resnet101", "compact"), steps=50000, factor=0.98)
    assert (network.clusters, network.global_weight) == (5, 0.8)
    assert parsed("ppnet").get_parsed_content("loss").class_weight.tolist() == pytest.approx([0.1, 1.0])


def test_the_number_of_clusters_reaches_the_network_and_its_inference() -> None:
    parser = parsed("ppnet", "clusters=3")
    assert parser.get_parsed_content("network_def").clusters == 3
    assert parser.get_parsed_content("settings")["clusters"] == 3
