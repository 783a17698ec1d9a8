# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The table of what settings may be, held against every bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_command import option_words, run_here
from installed_bundles import BUNDLES, TRAINED, settings_in, small_inference, small_training

from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.apps.methods.method import Method
from monai_fss.engines import check_settings
from monai_fss.engines.ranges import Either, Listed, Name, Null, Number, Switch
from monai_fss.engines.setting_checks import joint_problems, range_of, setting_problems
from monai_fss.engines.setting_table import FREE, SETTINGS
from monai_fss.networks.nets import build_encoder
from monai_fss.networks.nets.factory import ENCODERS, SMALLEST

FILES = [(name, "inference") for name in BUNDLES] + [(name, "train") for name in TRAINED]


def written(bundle: str, file: str) -> Iterator[tuple[str, Any]]:
    """Plain settings of a bundle's file: not what is computed, nor parts of the workflow."""
    known = settings_in(bundle, file)
    parts = {key for key, value in known.items() if isinstance(value, (dict, list)) and not plain(value)}
    for key, value in known.items():
        if not plain(value) or isinstance(value, dict) or key.rpartition("::")[2].isdigit() or "_target_" in key:
            continue
        parents = [key.rsplit("::", count)[0] for count in range(1, key.count("::") + 1)]
        if key.startswith("displayable_configs"):  # places, for MONAI Label
            continue
        if not any(parent in parts and parent not in ("refinement",) for parent in parents):
            yield key, value


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" not in value and all(map(plain, value.values()))
    if isinstance(value, list):
        return all(map(plain, value))
    return not (isinstance(value, str) and value.startswith(("$", "@", "%")))


@pytest.mark.parametrize(("bundle", "file"), FILES)
def test_every_setting_of_every_bundle_is_in_the_table_and_fits_it(bundle: str, file: str) -> None:
    settings = dict(written(bundle, file))
    assert len(settings) > 10
    assert {key for key in settings if key not in SETTINGS and key not in FREE} <= {"names"}
    assert setting_problems(settings) == [] == joint_problems(settings)
    assert [key for key in settings if key in SETTINGS and range_of(key, settings[key]) is None] == []


@pytest.mark.parametrize("bundle", TRAINED)
def test_every_recipe_fits_the_table(bundle: str) -> None:
    for recipe in Method(bundle).recipes:
        values = {k: v for k, v in settings_in(bundle, recipe).items() if "::" not in k and plain(v)}
        assert setting_problems(values, settings_in(bundle)) == [] == joint_problems(Method(bundle, recipe).known)
    values = {key: value for key, value in settings_in(bundle).items() if "::" not in key}
    assert setting_problems(small_training(bundle), values) == []


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("file", ["train", "inference"])
def test_every_bundle_has_its_settings_checked_by_monai_too(bundle: str, file: str) -> None:
    path = bundle_path(bundle) / "configs" / f"{file}.yaml"
    if not path.is_file():
        return
    known = settings_in(bundle, file)
    first, checked = known["initialize"][:2]
    assert "check_places" in first and checked["_target_"] == "monai_fss.engines.check_settings"
    named = {*checked, *(known[checked["settings"].removeprefix("@")] if "settings" in checked else ())}
    free = {"amp", "deterministic", "first", "masks", "resume", "tensorboard"}
    top = {key.partition("::")[0] for key, value in written(bundle, file) if key in SETTINGS and value != known}
    assert top - named - free - {"refinement"} == set()


@pytest.mark.parametrize(
    ("bundle", "values", "says"),
    [
        ("adnet", {"window": [275, -125]}, "window=[275,-125]: is not a list of 2 in brackets"),
        ("adnet", {"window": "-125,275"}, "window=-125,275: is not a list of 2 in brackets, each a number and greater"),
        ("adnet", {"window": [0]}, "window=[0]: is not a list of 2"),
        ("adnet", {"window": [0, float("nan")]}, "window=[0,nan]: is not a list of 2"),
        ("adnet", {"pixdim": 0}, "pixdim=0: is not a number above 0 and of at most 1000. The bundle has 2.5."),
        ("adnet", {"size": [32]}, "size=[32]: is not a list of 2 in brackets"),
        ("adnet_3d", {"size": [64, 64]}, "size=[64,64]: is not a list of 3 in brackets"),
        (
            "adnet",
            {"encoder": "resnet"},
            "is not one of compact, resnet18, resnet50, resnet101, efficientnet_lite0, timm/NAME. The bundle has",
        ),
        (
            "adnet",
            {"encoder": "compact_3d"},
            "is not one of compact, resnet18, resnet50, resnet101, efficientnet_lite0, timm/NAME. The bundle has",
        ),
        ("adnet", {"seed": -1}, "seed=-1: is not a whole number from 0 to 4294967295"),
        ("adnet", {"seed": True}, "seed=true: is not a whole number"),
        ("adnet", {"num_workers": -1}, "num_workers=-1: is not"),
        ("adnet", {"steps": -1}, "steps=-1: is not a whole number of at least 0"),
        ("adnet", {"batch_size": 0}, "batch_size=0: is not"),
        ("adnet", {"learning_rate": -0.1}, "learning_rate=-0.1: is not a number above 0"),
        ("adnet", {"contrast_prob": 1.5}, "contrast_prob=1.5: is not a number from 0 to 1"),
        ("adnet", {"elastic": {"spacing": [0, 10]}}, "elastic::spacing=[0,10]: is not"),
        ("adnet", {"position_axes": [0, 0, 1]}, "none of them twice"),
        ("crapnet", {"branches": 3}, "branches=3: is not a whole number from 1 to 2"),
        ("prnet", {"coarse": {"pixdim": 0.0}}, "coarse::pixdim=0.0: is not a number above 0"),
        ("prnet", {"bfloat16": 1}, "bfloat16=1: is not true or false, or null"),
        ("prnet", {"pixdim": [1, 3]}, "pixdim=[1,3]: is not a number above 0 and of at most 1000, or a list of 3 in"),
        ("adnet", {"pixdim": [1, 1, 3]}, "pixdim=[1,1,3]: is not a number above 0 and of at most 1000. The bundle has"),
        ("prnet", {"fine": {"pixdim": [1, 0, 3]}}, "fine::pixdim=[1,0,3]: is not a number above 0"),
        ("prnet", {"fine": 3}, "fine=3: is not a mapping, or null"),
        ("prnet", {"localisation": {"jumps": -1}}, "localisation::jumps=-1: is not a whole number of at least 0"),
        ("prnet", {"lr_epochs": 0}, "lr_epochs=0: is not a whole number of at least 1, or null"),
    ],
)
def test_values_that_cannot_be_right_are_told(bundle: str, values: dict[str, Any], says: str) -> None:
    problems = setting_problems(values, settings_in(bundle))
    assert len(problems) == 1 and says in problems[0]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"size": [16, 64]}, "size=[16,64]: is less than the 32 x 32 pixels of encoder=compact. Give more."),
        ({"size": [64, 64], "encoder": "compact_3d"}, "has 2 entries, and encoder=compact_3d takes 3. Give 3."),
        ({"steps": 70}, "steps=70: is not a multiple of steps_per_epoch=50."),
        ({"position_axes": [0]}, "position_axes=[0]: are 1 axes for 3 position_weights"),
        ({"delta": 0.5, "floor": 0.6}, "floor=0.6: is more than delta=0.5"),
        (
            {"fine": None, "coarse": {"rebuilt": 0}},
            "fine=null: leaves one network, whose features coarse::rebuilt=0 does not train.",
        ),
    ],
)
def test_values_that_do_not_go_together_are_told(values: dict[str, Any], says: str) -> None:
    problems = joint_problems({**settings_in("adnet"), **values})
    assert len(problems) == 1 and says in problems[0]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"roi_size": [96, 80, 40]},
            "roi_size=[96,80,40]: are no multiples of 16, by which 4 levels divide. Set such.",
        ),
        ({"roi_size": [16, 16, 16]}, "leaves one voxel on the last of 4 levels. Give 32 or more once."),
        ({"channels": [8, 16]}, "channels=[8,16]: are 2 levels. Give 3 or more."),
    ],
)
def test_windows_that_a_u_net_cannot_halve_are_told(values: dict[str, Any], says: str) -> None:
    problems = joint_problems({**settings_in("unet_3d"), **values})
    assert len(problems) == 1 and says in problems[0]
    assert joint_problems({**settings_in("prnet"), "roi_size": [40, 40, 40]}) == [], "another network"


def test_neighbourhoods_have_a_middle_and_a_level() -> None:
    own = settings_in("organnet")
    assert joint_problems(own) == [] == joint_problems({**own, "neighbourhoods": [7]})
    assert "[1,4]: have no middle" in joint_problems({**own, "neighbourhoods": [1, 4]})[0]
    assert "[1,1,1]: are 3 for 2 levels" in joint_problems({**own, "neighbourhoods": [1, 1, 1], "channels": [4, 8]})[0]


@pytest.mark.parametrize(
    ("bundle", "values", "says"),
    [
        ("data_aug", {"flow_steps": 75}, "flow_steps=75: is not a multiple of flow_steps_per_epoch=50."),
        (
            "data_aug",
            {"synthesised": 0.0},
            "synthesised=0 pseudo_labels=0 random_flows=0: leave nothing to learn from.",
        ),
        ("data_aug", {"roi_size": [96, 80, 40]}, "roi_size=[96,80,40]: are no multiples of 16"),
        ("lt_net", {"correlation": 8}, "correlation=8: has no middle voxel, as it is even. Give 3, 5, 7, 9, ..."),
        ("lt_net", {"flow_channels": [8, 8, 8, 8, 8]}, "flow_channels=[8,8,8,8,8]: are an odd number of channels"),
    ],
)
def test_one_shot_trainings_that_cannot_be_are_told(bundle: str, values: dict[str, Any], says: str) -> None:
    problems = joint_problems({**settings_in(bundle), **values})
    assert len(problems) == 1 and says in problems[0]


def test_what_prnet_takes_besides_its_own_kind() -> None:
    known = settings_in("prnet")
    values = {"pixdim": [1, 1, 3], "fine": None, "tolerance": None, "coarse": {"pixdim": [1, 1, 3]}}
    assert setting_problems(values, known) == [] == setting_problems({**values, "roi_size": [8, 8, 8]})
    assert joint_problems({**known, "fine": None, "coarse::rebuilt": 4}) == []
    assert len(joint_problems({**known, "fine": None})) == 1
    inference = settings_in("prnet", "inference")
    assert joint_problems({**inference, "fine": None}) == [], "which does not know what was rebuilt"


@pytest.mark.parametrize(
    ("bundle", "file", "fits"),
    [
        ("prnet", "train", True),
        ("prnet", "inference", True),
        ("unet_3d", "train", True),
        ("unet_3d", "inference", True),
        ("organnet", "train", False),
        ("organnet", "inference", False),
        ("adnet_3d", "train", False),
        ("adnet_3d", "inference", False),
    ],
)
def test_voxels_have_three_sizes_where_slices_are_resampled(bundle: str, file: str, fits: bool) -> None:
    problems = setting_problems({"pixdim": [1, 1, 3]}, settings_in(bundle, file))
    assert (problems == []) == fits and all("pixdim=[1,1,3]: is not a number" in text for text in problems)
    assert setting_problems({"pixdim": 2}, settings_in(bundle, file)) == []


def test_a_bundle_that_means_something_else_by_a_key_is_left_alone() -> None:
    assert setting_problems({"encoder": "mine", "tau": 7}, {"encoder": "ours", "tau": 5}) == []


def test_ranges_take_what_they_say() -> None:
    number = Number(above=0, below=1)
    assert [number.fits(x) for x in (0, 0.5, 1, True, "0.5", float("nan"), None)] == [False, True] + 5 * [False]
    assert Number(least=1, whole=True).fits(2) and not Number(least=1, whole=True).fits(2.0)
    pair = Listed(Number(), 2, rising=True)
    assert [pair.fits(x) for x in ([1, 2], (1, 2), [2, 1], [1, 1], [1], 3, [1, None])] == [True, True] + 5 * [False]
    either = Either([Name(("middle", "all")), Number(least=1, whole=True), Null()])
    assert [either.fits(x) for x in ("all", 3, None, "some", 0)] == [True, True, True, False, False]
    assert str(either) == "one of middle, all, or a whole number of at least 1, or null"
    assert Switch().fits(False) and not Switch().fits(0)


@pytest.mark.parametrize("encoder", ["compact", "resnet18", "compact_3d"])
def test_encoders_train_on_their_smallest_image_and_not_on_half_of_it(encoder: str) -> None:
    side, depth = SMALLEST[encoder], [4] if ENCODERS[encoder] == 3 else []
    network = build_encoder(encoder).train()
    assert torch.isfinite(network(torch.rand(1, 1, side, side, *depth))).all()
    with pytest.raises(ValueError):
        network(torch.rand(1, 1, side // 2, side // 2, *depth))
    assert SMALLEST.keys() == ENCODERS.keys()


def test_check_settings_ends_the_program_with_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    check_settings(settings={"pixdim": 2.5, "encoder": "compact"}, size=[64, 64], steps=4, steps_per_epoch=2)
    with pytest.raises(SystemExit) as ended:
        check_settings(settings={"pixdim": 0}, steps=-1)
    said = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(said) == 2
    assert said[0] == "pixdim=0: is not a number above 0 and of at most 1000."


@pytest.mark.parametrize(
    ("bundle", "workflow", "wrong"),
    [
        ("adnet", "training", {"pixdim": 0}),
        ("adnet_3d", "training", {"size": [16, 16, 4]}),
        ("prnet", "training", {"delta": 2.0}),
        ("atlas", "inference", {"fusion": "mean"}),
        ("panet", "inference", {"support_slices": 0}),
    ],
)
def test_monais_command_refuses_them_before_anything_is_written(
    bundle: str, workflow: str, wrong: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = {"training": "train", "inference": "inference"}[workflow]
    places = {"dataset_dir": str(tmp_path / "none"), "output_dir": str(tmp_path / "out")}
    words = ["run", workflow, "--config_file", f"configs/{file}.yaml", *option_words({**places, **wrong})]
    assert run_here(words, bundle_path(bundle)) == 2
    key, value = next(iter(wrong.items()))
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"{key}={str(value).replace(' ', '')}: is ") and not (tmp_path / "out").exists()


def test_what_makes_tests_quick_fits_too() -> None:
    assert setting_problems(small_inference("atlas"), settings_in("atlas", "inference")) == []
