# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ALPNet: its ablations build what they say, and change nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from recipe_checks import check_paper, check_recipe

from monai_fss.apps.methods.method import Method

DEFAULT: dict[str, Any] = {"align": 1.0, "superpixels": True, "positions": 3}
RECIPES: dict[str, dict[str, Any]] = {
    "init": {},
    "no_position": {"positions": 0},
    "align=0": {"align": 0.0},
    "self_supervision=supervoxels": {"superpixels": False},
}


def test_every_recipe_is_known_here() -> None:
    assert set(Method("alpnet").recipes) - {"paper"} <= RECIPES.keys()


@pytest.mark.parametrize("name", [None, *RECIPES])
def test_recipe(name: str | None) -> None:
    check_recipe("alpnet", name, DEFAULT | RECIPES.get(str(name), {}))


def test_the_papers_setting() -> None:
    network = check_paper("alpnet", [256, 256], ("resnet101", "compact"), steps=100000, factor=0.95)
    assert (256 / network.train_cell, 256 / network.cell) == (8, 16), "4 and 2 pixels of 32 x 32"
