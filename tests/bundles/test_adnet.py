# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ADNet: its ablations build what they say, and change nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from recipe_checks import check_paper, check_recipe

from monai_fss.apps.methods.method import Method

DEFAULT: dict[str, Any] = {
    "kappa": 0.5,
    "align": 1.0,
    "compact": 1.0,
    "supervoxel_ml": 60.0,
    "superpixels": False,
    "positions": 3,
}
RECIPES: dict[str, dict[str, Any]] = {
    **{f"kappa={kappa}": {"kappa": kappa} for kappa in (0.1, 0.3, 0.7, 0.9, 1.0)},
    **{f"supervoxel_ml={n * 0.0125}": {"supervoxel_ml": n * 0.0125} for n in (500, 1500, 2000, 5000)},
    "compact=0": {"compact": 0.0},
    "no_position": {"positions": 0},
    "align=0": {"align": 0.0},
    "segmentation_loss": {"align": 0.0, "compact": 0.0},
    "self_supervision=superpixels": {"superpixels": True},
}


def test_every_recipe_is_known_here() -> None:
    assert set(Method("adnet").recipes) - {"paper"} <= RECIPES.keys()


@pytest.mark.parametrize("name", [None, *RECIPES])
def test_recipe(name: str | None) -> None:
    check_recipe("adnet", name, DEFAULT | RECIPES.get(str(name), {}))


def test_the_papers_setting() -> None:
    check_paper("adnet", [256, 256], ("resnet101", "compact"), steps=50000, factor=0.98)
