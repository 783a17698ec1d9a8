# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Installed bundles, and settings from a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import (
    bundle_names,
    bundle_path,
    config_keys,
    is_trained,
    parse_settings,
    recipe_names,
)

CONFIG = """
steps: 1500
learning_rate: 0.01
amp: true
window: null
name: compact
size: [128, 128]
max_epochs: "$@steps // 50"
elastic:
  rotate: 0.1
  scale: [[-0.1, 0.2]]
"""


@pytest.fixture
def config(tmp_path: Path) -> list[Path]:
    file = tmp_path / "toy" / "configs" / "train.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(CONFIG)
    return [file]


def test_the_bundles_are_found_with_their_configurations() -> None:
    assert "adnet" in bundle_names()
    for name in bundle_names():
        assert (bundle_path(name) / "configs" / "inference.yaml").is_file()
        assert not {"train", "inference", "evaluate", "multi_gpu_train"} & set(recipe_names(name))
    assert is_trained("adnet") and not is_trained("atlas")


def test_an_unknown_bundle_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"--bundle adnett: no such bundle\. Installed are .*adnet"):
        bundle_path("adnett")
    with pytest.raises(UsageError, match="no such bundle"):
        bundle_path("../adnet")


def test_keys_of_every_level_and_a_later_file_wins(config: list[Path], tmp_path: Path) -> None:
    (tmp_path / "paper.yaml").write_text("steps: 50000\nelastic::rotate: 0.2\n")
    keys = config_keys([*config, tmp_path / "paper.yaml"])
    assert keys["steps"] == 50000
    assert keys["elastic::rotate"] == 0.2
    assert keys["elastic"] == {"rotate": 0.2, "scale": [[-0.1, 0.2]]}
    assert keys["elastic::scale::0::1"] == 0.2
    assert "rotate" not in keys


@pytest.mark.parametrize(
    ("pair", "key", "value"),
    [
        ("steps=500", "steps", 500),
        ("steps=1e3", "steps", 1000),
        ("steps=500.0", "steps", 500),
        ("learning_rate=1e-3", "learning_rate", 0.001),
        ("learning_rate=1", "learning_rate", 1),
        ("amp=false", "amp", False),
        ("window=[-125, 275]", "window", [-125, 275]),
        ("window=null", "window", None),
        ("name=a=b", "name", "a=b"),
        ("elastic::rotate=0.3", "elastic::rotate", 0.3),
        ("elastic#rotate=0.3", "elastic::rotate", 0.3),
        ("size::0=64", "size::0", 64),
        ("max_epochs=3", "max_epochs", 3),
        ("name=$@max_epochs #2", "name", "$@max_epochs #2"),
        ("name=007", "name", "007"),
        ("name=2020-01-01", "name", "2020-01-01"),
        ("name='a b'", "name", "a b"),
    ],
)
def test_values_are_yaml(pair: str, key: str, value: Any, config: list[Path]) -> None:
    got = parse_settings([pair], config)
    assert got == {key: value}
    assert type(got[key]) is type(value)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("stepz=1", "--set stepz: no such setting of toy's training. Did you mean steps?"),
        ("rotate=1", "--set rotate: no such setting of toy's training. Did you mean elastic::rotate?"),
        ("elastic::rotat=1", "--set elastic::rotat: no such setting of toy's training. Did you mean elastic::rotate?"),
        ("qqqqq=1", "--set qqqqq: no such setting of toy's training. They are listed in "),
        ("steps", "--set steps: is not KEY=VALUE. Write for example steps=500."),
        ("size=[1, 2", "--set size=[1, 2: value cannot be read (while parsing"),
        ("learning_rate=.nan", "--set learning_rate=.nan: value cannot be read"),
        ("window=2020-01-01", "--set window=2020-01-01: value cannot be read"),
        ("window={_target_: os.getcwd}", "--set window={_target_: os.getcwd}: value cannot be read"),
        ("steps=$@max_epochs * 2", "--set steps=$@max_epochs * 2: is not a number. The bundle has 1500."),
        ("steps=abc", "--set steps=abc: is not a number. The bundle has 1500."),
        ("steps=true", "--set steps=True: is not a number. The bundle has 1500."),
        ("steps=1.5", "--set steps=1.5: is not a whole number. The bundle has 1500."),
        ("amp=1", "--set amp=1: is not true or false. The bundle has True."),
        ("size=64", "--set size=64: is not a list. The bundle has [128, 128]."),
        ("name='", "--set name=': value cannot be read"),
        ("amp=", "--set amp=None: is not true or false."),
    ],
)
def test_refused_pairs(pair: str, says: str, config: list[Path]) -> None:
    with pytest.raises(UsageError) as refused:
        parse_settings([pair], config)
    assert says in str(refused.value)


def test_all_problems_come_together(config: list[Path]) -> None:
    with pytest.raises(UsageError) as refused:
        parse_settings(["stepz=1", "steps=5", "steps=6", "amp=true"], config, {"amp": "--amp"})
    assert refused.value.problems == [
        "--set stepz: no such setting of toy's training. Did you mean steps?",
        "--set steps: is given twice. Give it once.",
        "--set amp: has an option of its own. Use --amp.",
    ]
