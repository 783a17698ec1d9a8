# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The ablations build what they say, and change nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from monai_fss.apps.methods.method import Method

ADNET = {"kappa": 0.5, "align": 1.0, "compact": 1.0, "supervoxel_ml": 60.0, "superpixels": False, "positions": 3}
PANET = {"align": 1.0, "superpixels": True, "positions": 3}
CRAPNET = {"blocks": 5, "branches": 2, "refined": True, "align": 1.0, "superpixels": True, "positions": 3}
RECIPES: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "adnet": (
        ADNET,
        {
            **{f"kappa={kappa}": {"kappa": kappa} for kappa in (0.1, 1.0)},
            "supervoxel_ml=6.25": {"supervoxel_ml": 6.25},
            "compact=0": {"compact": 0.0},
            "no_position": {"positions": 0},
            "align=0": {"align": 0.0},
            "segmentation_loss": {"align": 0.0, "compact": 0.0},
            "self_supervision=superpixels": {"superpixels": True},
        },
    ),
    "panet": (
        PANET,
        {
            "no_position": {"positions": 0},
            "align=0": {"align": 0.0},
            "self_supervision=supervoxels": {"superpixels": False},
        },
    ),
    "alpnet": (
        PANET,
        {
            "no_position": {"positions": 0},
            "align=0": {"align": 0.0},
            "self_supervision=supervoxels": {"superpixels": False},
        },
    ),
    "adnet_3d": (
        {"kappa": 0.5, "align": 1.0, "compact": 1.0, "supervoxel_ml": 60.0, "superpixels": None, "positions": 3},
        {"no_position": {"positions": 0}},
    ),
    "crapnet": (
        CRAPNET,
        {
            **{f"blocks={blocks}": {"blocks": blocks} for blocks in (0, 1, 7)},
            "branches=1": {"branches": 1},
            "refined=false": {"refined": False},
            "no_position": {"positions": 0},
            "align=0": {"align": 0.0},
            "self_supervision=supervoxels": {"superpixels": False},
        },
    ),
}
CASES = [(bundle, name) for bundle, (_, recipes) in RECIPES.items() for name in (None, *recipes)]


def built(parser: ConfigParser) -> dict[str, Any]:
    """What came of the settings: in the network, the loss and the pseudo-labels."""
    network, loss, superpixels = (
        parser.get_parsed_content(part) if part in parser.config else None
        for part in ("network_def", "loss", "superpixels")
    )
    found = {"align": loss.align, "compact": getattr(loss, "compact", None), "superpixels": superpixels}
    found |= {key: getattr(network, key, None) for key in ("kappa", "refined")}
    found["positions"] = getattr(network.encoder, "axes", 0)
    if hasattr(network, "attention"):
        blocks = len(network.attention.support_blocks)
        found |= {"blocks": blocks, "branches": network.attention.branches}
    return found | {"supervoxel_ml": parser.get("supervoxel_ml")}


@pytest.mark.parametrize("bundle", RECIPES)
def test_every_recipe_is_known_here(bundle: str) -> None:
    assert set(Method(bundle).recipes) - {"paper"} <= set(RECIPES[bundle][1])


@pytest.mark.parametrize(("bundle", "name"), CASES)
def test_recipe(bundle: str, name: str | None) -> None:
    method = Method.parse(f"{bundle}:{name}" if name else bundle)
    parser = ConfigParser(ConfigParser.load_config_files([str(file) for file in method.files]))
    parser.update(dict(method.values))
    default, recipes = RECIPES[bundle]
    expected = default | (recipes[name] if name else {})
    found = built(parser)
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    settings = parser.get_parsed_content("settings")
    for key in {"kappa", "blocks", "branches", "refined"} & expected.keys():
        assert settings[key] == expected[key], "inference has to build the network that was trained"


def test_the_supervised_prnet_learns_from_labels(phantom_set: Path, repository: Path) -> None:
    configs = repository / "bundles" / "prnet" / "configs"
    files = [str(configs / f"{part}.yaml") for part in ("train", "supervised")]
    parser = ConfigParser(ConfigParser.load_config_files(files))
    parser["dataset_dir"], parser["cases"] = str(phantom_set), ["case_03", "case_01"]
    items = parser.get_parsed_content("items")
    expected = [str(phantom_set / "labels" / f"case_0{number}.nii.gz") for number in (3, 1)]
    assert [item["pseudo"] for item in items] == expected and parser["correct"] is False
    assert Method("prnet").recipes == ["supervised"]


@pytest.mark.parametrize("bundle", ["adnet", "adnet_3d", "alpnet", "crapnet", "panet"])
def test_the_papers_setting(bundle: str, repository: Path) -> None:
    """Windows of 256 x 256 pixels of 1.25 mm (3-D: 215 x 215 x 10), SGD 1e-3 that falls every 1,000 steps."""
    configs = repository / "bundles" / bundle / "configs"
    parser = ConfigParser(
        ConfigParser.load_config_files([str(configs / f"{part}.yaml") for part in ("train", "paper")])
    )
    three = bundle == "adnet_3d"
    assert parser["pixdim"] == 1.25 and parser["size"] == ([215, 215, 10] if three else [256, 256])
    assert parser["encoder"] == ("resnext101_3d" if three else "resnet101") and parser["pretrained"]
    steps = 50000 if "adnet" in bundle else 100000
    assert (parser["steps"], parser["batch_size"], parser["contrast_prob"]) == (steps, 1, 0.0)
    assert parser["steps"] % parser["steps_per_epoch"] == 0
    parser["encoder"], parser["pretrained"] = ("compact_3d" if three else "compact"), None  # instead of the weights
    optimizer, schedule = parser.get_parsed_content("optimizer"), parser.get_parsed_content("lr_scheduler")
    network = parser.get_parsed_content("network_def")
    rates = []
    for _ in range(2001):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    factor = 0.98 if "adnet" in bundle else 0.95
    assert [rates[n] for n in (0, 999, 1000, 2000)] == pytest.approx([1e-3, 1e-3, factor * 1e-3, factor**2 * 1e-3])
    assert network.encoder.out_channels == 64, "no position in the body is appended"
    if bundle == "crapnet":
        assert 256 / network.cell == 32, "the paper's 32 x 32"
    if bundle == "alpnet":
        assert (256 / network.train_cell, 256 / network.cell) == (8, 16), "4 and 2 pixels of 32 x 32"


def test_the_background_counts_a_twentieth_in_crapnet(repository: Path) -> None:
    parser = ConfigParser(ConfigParser.load_config_files([str(repository / "bundles/crapnet/configs/train.yaml")]))
    assert parser.get_parsed_content("loss").class_weight.tolist() == pytest.approx([0.05, 1.0])
