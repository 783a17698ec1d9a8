# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""CRAPNet: its ablations build what they say, and change nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from recipe_checks import check_paper, check_recipe, parsed

from monai_fss.apps.methods.method import Method

DEFAULT: dict[str, Any] = {
    "blocks": 5,
    "branches": 2,
    "refined": True,
    "align": 1.0,
    "superpixels": True,
    "positions": 3,
}
RECIPES: dict[str, dict[str, Any]] = {
    **{f"blocks={blocks}": {"blocks": blocks} for blocks in (0, 1, 7, 9, 12, 15)},
    "branches=1": {"branches": 1},
    "refined=false": {"refined": False},
    "no_position": {"positions": 0},
    "align=0": {"align": 0.0},
    "self_supervision=supervoxels": {"superpixels": False},
}


def test_every_recipe_is_known_here() -> None:
    assert set(Method("crapnet").recipes) - {"paper"} <= RECIPES.keys()


@pytest.mark.parametrize("name", [None, *RECIPES])
def test_recipe(name: str | None) -> None:
    check_recipe("crapnet", name, DEFAULT | RECIPES.get(str(name), {}))


def test_the_papers_setting() -> None:
    network = check_paper("crapnet", [256, 256], ("resnet101", "compact"), steps=100000, factor=0.95)
    assert 256 / network.cell == 32, "the paper's 32 x 32"


def test_the_background_counts_a_twentieth() -> None:
    assert parsed("crapnet").get_parsed_content("loss").class_weight.tolist() == pytest.approx([0.05, 1.0])
