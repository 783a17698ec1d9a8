# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The files of CRAPNet's ablations build what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from monai_fss.apps.bundles import recipe_names

DEFAULT = {"blocks": 5, "branches": 2, "refined": True, "align": 1.0}
RECIPES: dict[str, dict[str, Any]] = {
    "blocks_0": {"blocks": 0},
    "blocks_1": {"blocks": 1},
    "blocks_7": {"blocks": 7},
    "blocks_9": {"blocks": 9},
    "blocks_12": {"blocks": 12},
    "blocks_15": {"blocks": 15},
    "single_branch": {"branches": 1},
    "as_printed": {"refined": False},
    "no_alignment": {"align": 0.0},
}


def build(repository: Path, *names: str) -> tuple[Any, Any, dict[str, Any]]:
    """Network, loss and the settings that a model file keeps."""
    configs = repository / "bundles" / "crapnet" / "configs"
    parser = ConfigParser(ConfigParser.load_config_files([str(configs / f"{name}.yaml") for name in names]))
    parts = ("network_def", "loss", "settings")
    network, loss, settings = (parser.get_parsed_content(part) for part in parts)
    return network, loss, settings


def test_every_recipe_is_known_here() -> None:
    assert set(recipe_names("crapnet")) == {"paper", *RECIPES}


@pytest.mark.parametrize("name", [None, *RECIPES])
def test_recipe(name: str | None, repository: Path) -> None:
    network, loss, settings = build(repository, "train", *([name] if name else []))
    expected = DEFAULT | (RECIPES[name] if name else {})
    found = {
        "blocks": len(network.attention.support_blocks),
        "branches": network.attention.branches,
        "refined": network.refined,
        "align": loss.align,
    }
    assert found == expected
    assert {key: settings[key] for key in ("blocks", "branches", "refined")} == {
        key: expected[key] for key in ("blocks", "branches", "refined")
    }
    assert loss.class_weight.tolist() == pytest.approx([0.05, 1.0])
