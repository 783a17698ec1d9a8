# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The recipes of every bundle; what each of them builds is tested in the bundle's own file."""

from __future__ import annotations

import pytest
from installed_bundles import TRAINED, settings_in

from monai_fss.apps.methods.method import Method

RECIPES = [(bundle, name) for bundle in TRAINED for name in Method(bundle).recipes]
# A part that a recipe exchanges whole, with the arguments of another class.
EXCHANGED = ("lr_scheduler", "optimizer")


@pytest.mark.parametrize(("bundle", "name"), RECIPES)
def test_a_recipe_names_settings_that_exist(bundle: str, name: str) -> None:
    """MONAI takes a mistyped key without a word."""
    recipe = [key for key in settings_in(bundle, name) if key.split("::")[0] not in EXCHANGED]
    recipe = [key for key in recipe if not key.rpartition("::")[2].isdigit()]  # a list may stand where a number does
    assert set(recipe) <= settings_in(bundle).keys()
