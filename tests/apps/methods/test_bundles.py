# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Installed bundles, and settings from a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import bundle_names, bundle_path, config_keys
from monai_fss.apps.methods.method import Method
from monai_fss.apps.methods.settings import parse_settings, split_pairs

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
        assert not {"train", "inference", "evaluate", "multi_gpu_train"} & set(Method(name).recipes)
    adnet, atlas, prnet = (Method(name) for name in ("adnet", "atlas", "prnet"))
    assert adnet.is_trained and adnet.needs_support and adnet.is_few_shot
    assert not atlas.is_trained and atlas.needs_support and not atlas.is_few_shot
    assert prnet.is_trained and not prnet.needs_support and not prnet.is_few_shot


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("paper", ["paper"]),
        ("a=1, b=x", ["a=1", "b=x"]),
        ("window=[-125, 275],steps=4", ["window=[-125, 275]", "steps=4"]),
        ("elastic={rotate: 1, shear: [1, 2]},b='x,y'", ["elastic={rotate: 1, shear: [1, 2]}", "b='x,y'"]),
    ],
)
def test_commas_in_brackets_and_quotations_divide_nothing(text: str, words: list[str]) -> None:
    assert split_pairs(text) == words


@pytest.mark.parametrize(
    ("text", "recipe", "values", "name"),
    [
        ("adnet", None, {}, "adnet"),
        ("adnet:paper", "paper", {}, "adnet:paper"),
        ("adnet:kappa=.1,steps=400", None, {"kappa": 0.1, "steps": 400}, "adnet:kappa=0.1,steps=400"),
        ("adnet:paper,window=[-125, 275]", "paper", {"window": [-125, 275]}, "adnet:paper,window=[-125,275]"),
        ("crapnet:refined=false", None, {"refined": False}, "crapnet:refined=false"),
    ],
)
def test_a_method_as_it_is_typed(text: str, recipe: str | None, values: dict[str, Any], name: str) -> None:
    method = Method.parse(text)
    assert (method.bundle, method.recipe, method.values, method.name) == (text.partition(":")[0], recipe, values, name)
    assert {key: method.known[key] for key in values} == values
    assert method.settings({"steps": 7})["steps"] == 7
    assert [file.stem for file in method.files] == ["train", *filter(None, [recipe])]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "adnet:quick",
            "--bundle adnet:quick: adnet has no such recipe. Its recipes: no_position, paper, segmentation",
        ),
        ("atlas:quick", "atlas has no such recipe. Its recipes: none. Settings are written as KEY=VALUE."),
        ("adnet:paper,no_position", "names 2 recipes (paper, no_position). Name one."),
        ("adnet:kapa=1", "--bundle adnet:kapa: no such setting of adnet's training. Did you mean kappa?"),
        ("adnet:kappa=wide", "--bundle adnet:kappa=wide: is not a number. The bundle has 0.5."),
        ("adnet:seed=1", "--bundle adnet:seed: has an option of its own. Use --seed."),
    ],
)
def test_methods_that_are_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        Method.parse(text, {"seed": "--seed"})
    assert says in str(refused.value)


def test_for_inference_values_are_those_of_inference_and_no_recipe_is_taken() -> None:
    method = Method.parse("adnet:largest_component=false", inference=True)
    assert method.values == {"largest_component": False}
    with pytest.raises(UsageError, match="a recipe changes the training, and is in the model file. Leave :paper out"):
        Method.parse("adnet:paper", inference=True)
    with pytest.raises(UsageError, match="no such setting of adnet's inference"):
        Method.parse("adnet:steps=4", inference=True)


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


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("pixdim=[1,1,3]", [1, 1, 3]),
        ("pixdim=2", 2),
        ("fine::pixdim=[1,1,3]", [1, 1, 3]),
        ("fine=null", None),
        ("tolerance=null", None),
        ("fine={pixdim: 2.0}", {"pixdim": 2.0}),
    ],
)
def test_another_kind_is_taken_where_the_table_of_settings_has_it(pair: str, value: Any) -> None:
    assert parse_settings([pair], Method("prnet").files) == {pair.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("bundle", "pair", "says"),
    [
        ("adnet", "pixdim=[1,1,3]", "--set pixdim=[1, 1, 3]: is not a number. The bundle has 2.5."),
        ("prnet", "pixdim=[1,3]", "--set pixdim=[1, 3]: is not a number. The bundle has 3.0."),
        ("prnet", "fine=3", "--set fine=3: is not a mapping."),
        ("prnet", "coarse=null", "--set coarse=None: is not a mapping."),
        ("prnet", "base=null", "--set base=None: is not a number."),
    ],
)
def test_and_nowhere_else(bundle: str, pair: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_settings([pair], Method(bundle).files)
    assert says in str(refused.value)


def test_all_problems_come_together(config: list[Path]) -> None:
    with pytest.raises(UsageError) as refused:
        parse_settings(["stepz=1", "steps=5", "steps=6", "amp=true"], config, {"amp": "--amp"})
    assert refused.value.problems == [
        "--set stepz: no such setting of toy's training. Did you mean steps?",
        "--set steps: is given twice. Give it once.",
        "--set amp: has an option of its own. Use --amp.",
    ]
