# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The recipes of every bundle; what each of them builds is tested in the bundle's own file."""

from __future__ import annotations

import pytest
import torch
from installed_bundles import FEW_SHOT, SWITCHED, TRAINED, settings_in
from monai.transforms import CenterSpatialCropd
from recipe_checks import parsed

from monai_fss.apps.methods.inference import inference_parser
from monai_fss.apps.methods.method import Method

RECIPES = [(bundle, name) for bundle in TRAINED for name in Method(bundle).recipes]
# A part that a recipe exchanges whole, with the arguments of another class.
EXCHANGED = ("lr_scheduler", "optimizer")


@pytest.mark.parametrize(("bundle", "name"), RECIPES)
def test_a_recipe_names_settings_that_exist(bundle: str, name: str) -> None:
    """MONAI takes a mistyped key without a word."""
    known = settings_in(bundle)
    recipe = {key: value for key, value in settings_in(bundle, name).items() if key.split("::")[0] not in EXCHANGED}
    entries = {key for key in recipe if key.rpartition("::")[2].isdigit()}
    lists = {key for key in entries if isinstance(known.get(key.rpartition("::")[0], []), list)}
    entries -= {key for key in lists if not isinstance(recipe[key], (int, float))}
    assert set(recipe) - entries <= known.keys()  # a list may stand for null, one number, or fewer or more of them


@pytest.mark.parametrize("bundle", [name for name in SWITCHED if "elastic" in settings_in(name, "paper")])
def test_the_papers_zoom_is_of_both_axes_and_makes_larger(bundle: str) -> None:
    """The published 0.9 to 1.2, measured on a disk: square root of its area, and height by width."""
    augment = parsed(bundle, "paper").get_parsed_content("train::augmentation")
    augment.set_random_state(seed=0)
    line = torch.arange(161) - 80.0
    disk = ((line[:, None] ** 2 + line**2) < 50**2).float()[None]
    item = {f"{prefix}{key}": disk for prefix in ("", "support_") for key in ("image", "label")}
    item |= {f"{prefix}position": torch.zeros(0, 161, 161) for prefix in ("", "support_")}
    sizes = []
    for _ in range(40):
        found = augment(dict(item))
        both = [torch.as_tensor(found[f"{prefix}label"])[0] for prefix in ("", "support_")]
        label = next(label for label in both if not torch.equal(label, disk[0]))
        sizes.append(float((label.sum() / disk.sum()).sqrt()))
        # a shear of 5 degrees of both axes makes an ellipse of the disk, but as high as wide within a few percent
        assert float(label.any(1).sum() / label.any(0).sum()) == pytest.approx(1, abs=0.1)
    assert 0.88 < min(sizes) < 0.95 and 1.15 < max(sizes) < 1.22


@pytest.mark.parametrize("bundle", FEW_SHOT)
def test_inference_cuts_slices_as_the_training_did(bundle: str) -> None:
    trained = parsed(bundle, "paper").get_parsed_content("settings")
    usual = settings_in(bundle)["crop"]
    for settings, expected in ((trained, [(256, 256, -1)]), ({}, [(*usual, -1)] if usual else [])):
        steps = inference_parser(Method(bundle), settings, {}).get_parsed_content("preprocessing").transforms
        cuts = [tuple(step.cropper.roi_size) for step in steps if isinstance(step, CenterSpatialCropd)]
        assert cuts == expected
