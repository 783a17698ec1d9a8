# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PRNet by its paper's recipe: what it sets, and the whole way at a tiny size."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from recipe_checks import parsed, rates

from monai_fss.__main__ import main
from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import bundle_path, config_keys
from monai_fss.apps.methods.method import Method
from monai_fss.apps.methods.settings import parse_settings
from monai_fss.apps.train.checks import check_stages, check_values
from monai_fss.data import NoisyLabels, read_model
from monai_fss.engines.workflows import parser_values
from monai_fss.handlers import LabelCorrection
from monai_fss.networks.nets import PRNet


def stage(name: str, recipe: ConfigParser, **more: Any) -> ConfigParser:
    """A stage with what the recipe's training hands on to it."""
    parser = ConfigParser()
    parser.read_config(str(bundle_path("prnet") / "configs" / f"{name}.yaml"))
    handed = {key: recipe.get_parsed_content(key) for key in recipe["propagating"] if key in parser.config}
    parser.update(parser_values({**handed, **more}))
    return parser


def test_its_network_is_one_of_the_papers_size() -> None:
    """Sections 3.2 and 4.2: patches of 48 x 128 x 128 at 3 x 1 x 1 mm, slices first there and last here."""
    parser = parsed("prnet", "paper")
    parser["values"] = [1]
    net = parser.get_parsed_content("network_def")
    assert net.fine is None and sum(p.numel() for p in net.coarse.parameters()) == 10_400_516
    assert net.coarse.patch_size == (128, 128, 48) and net.coarse.spacing.tolist() == [1, 1, 3]
    first = parser.get_parsed_content("prepare").transforms[2]
    assert list(first.spacing_transform.pixdim) == [1, 1, 3]
    for recipe, margin, turns in ((parser, [24, 24, 8], [0.1, 0.1, 0.3]), (parsed("prnet"), [8] * 3, [0.3] * 3)):
        crop = recipe.get_parsed_content("train::deterministic_transforms::3")
        assert crop.cropper.margin == margin, "24 mm"
        turned = recipe.get_parsed_content("train::preprocessing::transforms::3").rand_affine.rand_affine_grid
        assert turned.rotate_range == pytest.approx(turns), "in plane as before; across thick slices less"


def test_its_network_learns_from_pairs_by_the_papers_schedule() -> None:
    """Section 4.2: Adam, 1e-3, x 0.9 every 10 epochs, 150 epochs, batches of 8; both patches are rebuilt (Eq. 3)."""
    recipe = parsed("prnet", "paper")
    handed = stage("propagate", recipe, labels=[1], background=9).get_parsed_content("pretraining")
    parser = stage("pretrain", recipe, **{key: handed[key] for key in ("steps_per_epoch", "batch_size", "lr_epochs")})
    parser["coarse"], parser["base"] = {**recipe["coarse"], "patch_size": [32, 16, 16]}, 2
    draw = parser.get_parsed_content("train::preprocessing").transforms[0]
    assert draw.count == 2 and draw.radius is None and draw.spacing.tolist() == [1, 1, 3]
    assert parser.get_parsed_content("train::trainer::prepare_batch").rebuilt == 2 * 8 == 2 * parser["batch_size"]
    assert parser.get_parsed_content("max_epochs") == 150 and parser.get_parsed_content("epoch_length") == 8000
    optimizer, schedule = parser.get_parsed_content("optimizer"), parser.get_parsed_content("lr_scheduler")
    assert isinstance(optimizer, torch.optim.Adam)
    seen = rates(optimizer, schedule, 20_001)
    assert [seen[n] for n in (0, 9_999, 10_000, 20_000)] == pytest.approx([1e-3, 1e-3, 9e-4, 8.1e-4])
    assert parser.get_parsed_content("loss").reach == (500, 500, 500)


def test_the_unet_learns_by_the_papers_schedule_and_correction() -> None:
    parser = parsed("prnet", "paper")
    parser["values"], parser["coarse::patch_size"], parser["base"] = [1], [32, 16, 16], 2
    assert parser.get_parsed_content("max_epochs") == 150 and parser.get_parsed_content("epoch_length") == 250 * 8
    optimizer, schedule = parser.get_parsed_content("optimizer"), parser.get_parsed_content("lr_scheduler")
    assert rates(optimizer, schedule, 2501)[2499:] == pytest.approx([1e-3, 9e-4])
    settings = {key: parser[key] for key in ("delta", "decay", "floor", "start_epoch")}
    correction = LabelCorrection(NoisyLabels({}), [], torch.nn.Identity(), lambda image, net: image, **settings)
    assert parser["correct"] and correction.start_epoch == 1
    assert [correction.threshold(n, 1) for n in (1, 2, 3)] == pytest.approx([0.95, 0.9405, 0.931095])
    assert correction.threshold(12, 0) == pytest.approx(0.95 * 0.99**11) and 0.95 * 0.99**12 < 0.85
    assert {correction.threshold(n, value) for n in (13, 150) for value in (0, 1)} == {0.85}


def test_points_and_growth_are_the_papers() -> None:
    recipe = parsed("prnet", "paper")
    recipe["values"], recipe["background"], recipe["scribble_item"] = [1], 9, {"simulated": False}
    parser = stage("propagate", recipe, scribble_item={"simulated": False})
    net = PRNet((32, 16, 16), 2)
    parser["trained"] = {"coarse": net, "fine": None}
    localiser = parser.get_parsed_content("localiser")
    assert localiser.coarse is localiser.fine is net and localiser.jumps == 0 and localiser.starts == 1
    assert localiser.matcher.levels == [] and not localiser.smooth and localiser.unrated == ()
    used = recipe.get_parsed_content("validate::inferer")
    assert used.grown == 0 and used.tau == 0.5 and used.localiser == {"smooth": 0, **recipe["localisation"]}
    growth = {"limit": 1.0, "intensity_weight": 1.0, "iterations": 2}
    kept = {"margin": 1000.0, "growth": growth, "tolerance": None, "denoise_background": True}
    assert used.propagation == kept
    assert {key: parser.get_parsed_content(f"inferer::{key}") for key in kept} == kept


# So small that the whole way takes seconds; what makes it the paper's is left as it is.
TINY = ["window=null", "pixdim=[6,6,16]", "coarse::pixdim=[8,8,16]", "coarse::patch_size=[32,32,16]", "coarse::steps=4"]
TINY += [
    "pretrain_steps_per_epoch=2",
    "base=2",
    "channels=[4,8]",
    "roi_size=[32,32,16]",
    "steps=6",
    "steps_per_epoch=2",
]
TINY += [
    "batch_size=1",
    "pretrain_batch_size=2",
    "coarse::rebuilt=4",
    "lr_epochs=1",
    "points=20",
    "tau=-2",
    "val_queries=1",
]
TINY += ["val_interval=3", "support=case_01", "labels=[1,4]", "bfloat16=false", "tensorboard=false"]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "one_thread")
def test_the_whole_way_at_a_tiny_size(phantom_set: Path, tmp_path: Path) -> None:
    assert parse_settings(TINY, Method.parse("prnet:paper").files)["coarse::pixdim"] == [8, 8, 16]
    run = tmp_path / "run"
    command = ["train", "--bundle", "prnet:paper", "--data", str(phantom_set), "--output", str(run), "--device", "cpu"]
    assert main([*command, "--set", *TINY]) == 0
    stages = {path.name.split("-")[0]: path for path in (run / "cache").glob("*-*")}
    assert sorted(stages) == ["coarse", "propagate"], "there is no fine network"
    rows = list(csv.DictReader((stages["propagate"] / "propagation.csv").open(encoding="utf-8")))
    shown = {float(row["similarity"]) for row in rows if row["label"] == "255" and row["case"] != "case_01"}
    assert shown and max(shown) < 1, "the background's points were compared"
    pseudo: Any = nib.Nifti1Image.from_filename(stages["propagate"] / "case_02.nii.gz")
    np.testing.assert_allclose(np.linalg.norm(pseudo.affine[:3, :3], axis=0), [6, 6, 16], atol=1e-4)
    assert set(np.unique(np.asarray(pseudo.dataobj))) == {0, 1, 4}
    model = read_model(run / "model.pt")
    settings = model["settings"]
    assert settings["fine"] is None and settings["pixdim"] == [6, 6, 16] and settings["tolerance"] is None
    assert not [key for key in model["model"] if key.startswith("fine.")]
    checkpoint = torch.load(run / "checkpoints" / "checkpoint_6.pt", weights_only=True)
    history = checkpoint["correction"]["history"]
    assert [(each["epoch"], each["threshold"]) for each in history] == [
        (1, 0.95),
        (2, pytest.approx(0.9405)),
        (3, pytest.approx(0.931095)),
    ]
    assert checkpoint["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0.001 * 0.9**3)
    image = phantom_set / "images" / "case_03.nii.gz"
    segment = ["segment", "--model", str(run / "model.pt"), "--images", str(image), "--output", str(tmp_path / "masks")]
    assert main(segment) == 0
    mask: Any = nib.Nifti1Image.from_filename(tmp_path / "masks" / "case_03.nii.gz")
    assert mask.shape == nib.Nifti1Image.from_filename(image).shape
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1, 4}
    again = [*segment[:-1], str(tmp_path / "grown"), "--set", "grown=1"]
    assert main(again) == 0, "its points grow as they did in training"
    grown: Any = nib.Nifti1Image.from_filename(tmp_path / "grown" / "case_03.nii.gz")
    assert len(np.unique(np.asarray(grown.dataobj))) > 1


@pytest.mark.parametrize(
    ("method", "settings", "says"),
    [
        (
            "prnet",
            ["fine=null"],
            "--set fine=null: leaves one network, whose features coarse::rebuilt=0 does not train.",
        ),
        ("prnet:paper", ["coarse::rebuilt=0"], "--set fine=null: leaves one network"),
        ("prnet", ["fine=null", "coarse::rebuilt=4", "fine::steps=50"], "--set fine::steps: is of a network that fine"),
        ("prnet:paper", ["fine::steps=50"], "--set fine::steps: no such setting of prnet's training."),
        ("prnet:paper", ["coarse::steps=1500"], "--set coarse::steps=1500: is not a multiple of pretrain_steps_per_ep"),
    ],
)
def test_what_does_not_go_with_one_network_is_refused(
    method: str, settings: list[str], says: str, phantom_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--bundle", method, "--data", str(phantom_set), "--output", str(tmp_path / "run")]
    assert main([*command, "--set", "support=case_01", *settings]) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_what_is_replaced_whole_has_no_parts_of_before() -> None:
    known = config_keys(Method("prnet").files)
    check_values(known, {"fine": None, "coarse": {**known["coarse"], "rebuilt": 4}})
    check_stages(known, {"fine": None, "coarse::steps": 50})
    with pytest.raises(UsageError, match="coarse::rebuilt=0 does not train"):
        check_values({**known, "fine": None, "coarse::rebuilt": 4}, {"coarse": known["coarse"]})
