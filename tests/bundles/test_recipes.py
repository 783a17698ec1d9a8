# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The files of the ablations build what they say, and change nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from monai_fss.apps.bundles import recipe_names

ADNET = {"kappa": 0.5, "align": 1.0, "compact": 1.0, "supervoxel_ml": 60.0, "superpixels": False}
PANET = {"align": 1.0, "superpixels": True}
CRAPNET = {"blocks": 5, "branches": 2, "refined": True, "align": 1.0, "superpixels": True}
RECIPES: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "adnet": (
        ADNET,
        {
            **{f"kappa_{kappa}": {"kappa": kappa} for kappa in (0.1, 0.3, 0.7, 0.9, 1.0)},
            **{f"supervoxels_{n}": {"supervoxel_ml": n * 0.0125} for n in (500, 1500, 2000, 5000)},
            "no_compact": {"compact": 0.0},
            "no_alignment": {"align": 0.0},
            "segmentation_loss": {"align": 0.0, "compact": 0.0},
            "superpixels": {"superpixels": True},
        },
    ),
    "panet": (PANET, {"no_alignment": {"align": 0.0}, "supervoxels": {"superpixels": False}}),
    "alpnet": (PANET, {"no_alignment": {"align": 0.0}, "supervoxels": {"superpixels": False}}),
    "crapnet": (
        CRAPNET,
        {
            **{f"blocks_{blocks}": {"blocks": blocks} for blocks in (0, 1, 7, 9, 12, 15)},
            "single_branch": {"branches": 1},
            "as_printed": {"refined": False},
            "no_alignment": {"align": 0.0},
            "supervoxels": {"superpixels": False},
        },
    ),
}
CASES = [(bundle, name) for bundle, (_, recipes) in RECIPES.items() for name in (None, *recipes)]


def built(parser: ConfigParser) -> dict[str, Any]:
    """What came of the settings: in the network, the loss and the pseudo-labels."""
    network, loss, superpixels = (parser.get_parsed_content(part) for part in ("network_def", "loss", "superpixels"))
    found = {"align": loss.align, "compact": getattr(loss, "compact", None), "superpixels": superpixels}
    found |= {key: getattr(network, key, None) for key in ("kappa", "refined")}
    if hasattr(network, "attention"):
        blocks = len(network.attention.support_blocks)
        found |= {"blocks": blocks, "branches": network.attention.branches}
    return found | {"supervoxel_ml": parser.get("supervoxel_ml")}


@pytest.mark.parametrize("bundle", RECIPES)
def test_every_recipe_is_known_here(bundle: str) -> None:
    assert set(recipe_names(bundle)) - {"paper"} == set(RECIPES[bundle][1])


@pytest.mark.parametrize(("bundle", "name"), CASES)
def test_recipe(bundle: str, name: str | None, repository: Path) -> None:
    configs = repository / "bundles" / bundle / "configs"
    files = [str(configs / f"{part}.yaml") for part in ("train", *([name] if name else []))]
    parser = ConfigParser(ConfigParser.load_config_files(files))
    default, recipes = RECIPES[bundle]
    expected = default | (recipes[name] if name else {})
    found = built(parser)
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    settings = parser.get_parsed_content("settings")
    for key in {"kappa", "blocks", "branches", "refined"} & expected.keys():
        assert settings[key] == expected[key], "inference has to build the network that was trained"


def test_the_background_counts_a_twentieth_in_crapnet(repository: Path) -> None:
    parser = ConfigParser(ConfigParser.load_config_files([str(repository / "bundles/crapnet/configs/train.yaml")]))
    assert parser.get_parsed_content("loss").class_weight.tolist() == pytest.approx([0.05, 1.0])
