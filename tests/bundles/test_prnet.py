# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PRNet's stages by themselves, and the keys that its files share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from installed_bundles import config_of
from monai.bundle import ConfigParser, ConfigWorkflow
from recipe_checks import parsed as with_recipe

from monai_fss.apps.methods.method import Method
from monai_fss.data import read_model

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "prnet" / "configs"


parsed = partial(config_of, "prnet")


SHARED = ["coarse", "fine", "base", "patches", "keep", "points", "smooth", "tau", "margin", "growth", "tolerance"]
SHARED += ["localisation", "denoise_background", "growth_margin", "lr_epochs", "pretrain_batch_size"]


@pytest.mark.parametrize("key", SHARED)
def test_a_stage_by_itself_does_what_the_training_has_it_do(key: str) -> None:
    own = parsed("train")
    for name in ("pretrain", "propagate"):
        other = parsed(name)
        if key in other.config:
            assert other[key] == own[key]
    assert parsed("pretrain")["grid"] == own["pixdim"] == parsed("propagate")["pixdim"]
    assert parsed("pretrain")["batch_size"] == own["pretrain_batch_size"]


def test_one_of_several_processes_propagates_to_its_part_of_the_scans(phantom_set: Path, tmp_path: Path) -> None:
    parser = parsed("propagate")
    parser.update({"dataset_dir": str(phantom_set), "output_dir": str(tmp_path), "num_parts": 3, "part_id": 0})
    assert [Path(item["image"]).name for item in parser.get_parsed_content("items")] == [
        "case_01.nii.gz",
        "case_04.nii.gz",
    ]
    assert parser.get_parsed_content("handlers::0::table") == "propagation.part_0_of_3.csv"


def test_inference_has_the_settings_of_the_training_for_its_own() -> None:
    own, used = parsed("train"), parsed("inference")
    for key in set(used["settings"]) - {"coarse", "fine", "window", "values", "class_names", "background", "pieces"}:
        assert used[key] == own[key], key
    for level in ("coarse", "fine"):
        assert used[level] == {key: own[level][key] for key in ("pixdim", "patch_size", "reach")}
        assert own.get_parsed_content(f"settings::{level}") == used[level]
    own.read_config(str(CONFIGS / "train.yaml"))
    own.parse(True)
    assert own["settings"]["grown"] == "@grown"
    assert set(own["settings"]) == set(used["settings"]), "what inference needs is kept"
    assert ConfigParser.load_config_file(str(CONFIGS / "supervised.yaml"))["grown"] == 0.0


def test_growth_may_name_a_part_of_its_arguments() -> None:
    parser = parsed("train", growth={"limit": 30.0})
    parser.parse(True)
    assert parser.get_parsed_content("settings::growth") == {"limit": 30.0}
    used = parsed("inference", growth={"limit": 30.0}, model=None).get_parsed_content("inferer")
    assert used.propagation["growth"] == {"limit": 30.0}


def test_every_setting_of_a_stage_is_handed_on() -> None:
    handed = {key: value for key, value in parsed("train")["propagating"].items()}
    assert handed == {key: f"@{key}" for key in handed}
    assert set(handed) <= set(parsed("propagate").config)
    pretraining = set(parsed("propagate")["pretraining"])
    assert pretraining <= set(parsed("pretrain").config)


@pytest.mark.parametrize("level", ["coarse", "fine"])
def test_a_level_has_its_own_grid_patches_and_reach(level: str) -> None:
    parser = parsed("pretrain", level=level)
    network, loss = parser.get_parsed_content("network_def"), parser.get_parsed_content("loss")
    spacing, reach = (8.0, [500.0, 500.0, 700.0]) if level == "coarse" else (4.0, [150.0] * 3)
    assert network.spacing.tolist() == [spacing] * 3 and network.reach.tolist() == reach == list(loss.reach)
    draw = parser.get_parsed_content("train::preprocessing").transforms[0]
    assert draw.count == 8 and (draw.radius is None) == (level == "coarse")


@pytest.mark.slow
def test_pretraining_resumes_bit_for_bit(
    phantom_set: Path, small: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    settings = small("prnet")
    plain = {key: settings[key] for key in ("base", "patches", "tensorboard", "batch_size")}
    plain |= {"level": "fine", "fine": settings["fine"] | {"steps": 4}, "steps_per_epoch": 1, "save_interval": 1}
    for folder, parts in (("whole", (4,)), ("halves", (2, 4))):
        for epochs in parts:
            workflow = ConfigWorkflow(
                config_file=str(CONFIGS / "pretrain.yaml"),
                logging_file=False,
                workflow_type="train",
                bundle_root=str(CONFIGS.parent),
                dataset_dir=str(phantom_set),
                output_dir=str(tmp_path / folder),
                device="$torch.device('cpu')",
                max_epochs=epochs,
                resume=True,
                **plain,
            )
            workflow.initialize()
            workflow.run()
            workflow.finalize()
    one, two = (read_model(tmp_path / folder / "model.pt")["model"] for folder in ("whole", "halves"))
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(("name", "corrects"), [(None, True), ("correct=false", False)])
def test_recipe(name: str | None, corrects: bool) -> None:
    parser = with_recipe("prnet", name)
    assert parser["correct"] is corrects and "pseudo" in parser["items"]


def test_the_supervised_prnet_learns_from_labels(phantom_set: Path) -> None:
    parser = with_recipe("prnet", "supervised")
    parser["dataset_dir"], parser["cases"] = str(phantom_set), ["case_03", "case_01"]
    items = parser.get_parsed_content("items")
    expected = [str(phantom_set / "labels" / f"case_0{number}.nii.gz") for number in (3, 1)]
    assert [item["pseudo"] for item in items] == expected and parser["correct"] is False
    assert Method("prnet").recipes == ["paper", "supervised"]
