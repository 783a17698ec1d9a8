# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The untrained network has the pre-trained weights that the training begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from installed_bundles import FEW_SHOT, SWITCHED, settings_in
from monai.utils import set_determinism

from monai_fss.apps.cli import main
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.fold import FoldTrial
from monai_fss.apps.evaluate.untrained import starting_network, starting_weights
from monai_fss.apps.methods.inference import inference_parser
from monai_fss.apps.methods.method import Method
from monai_fss.apps.train.workflow import train
from monai_fss.data import DatasetFolder, Fold, FoldItems
from monai_fss.handlers import VolumeScores
from monai_fss.networks.nets import DilatedResNet
from monai_fss.results import UNTRAINED, read_results

FOLD = Fold(train=("case_03", "case_04"), support=("case_02",), queries=("case_01",))
SMALL = {"steps": 1, "steps_per_epoch": 1, "batch_size": 1, "size": [64, 64], "pixdim": 5, "supervoxel_ml": 40}
SMALL |= {"encoder": "resnet18", "position_axes": [], "position_weights": [], "tensorboard": False, "val_queries": 0}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A public checkpoint of a small ResNet whose values are known: 0.01 everywhere."""
    body = DilatedResNet(18, in_channels=3, out_channels=None)
    state = {f"backbone.{name}": torch.full_like(tensor, 0.01) for name, tensor in body.state_dict().items()}
    file = tmp_path / "weights" / "known.pth"
    file.parent.mkdir()
    torch.save(state, file)
    return file


def asked(data: Path | str, weights: Path | None, bundle: str = "adnet", **more: Any) -> Evaluation:
    settings = {**SMALL, **({"pretrained": str(weights)} if weights else {})}
    return Evaluation(Method(bundle), data=str(data), device="cpu", settings=settings, **more)


def trial(data: Path, evaluation: Evaluation, model: Path, folder: Path) -> FoldTrial:
    files = FoldItems.of(DatasetFolder.read(data), FOLD)
    return FoldTrial(evaluation, files, {1: "liver"}, model, folder / "registrations")


def trained(data: Path, evaluation: Evaluation, folder: Path) -> Path:
    settings = evaluation.settings
    train("adnet", data, folder, cases=FOLD.train, settings=settings, device="cpu")
    set_determinism(None)
    return folder / "model.pt"


def has_known_body(network: Any) -> bool:
    state = network.encoder.state_dict()
    body = {name: value for name, value in state.items() if name not in ("conv1.weight", "reduce.weight")}
    colours = torch.full_like(state["conv1.weight"], 0.03)  # three of 0.01
    known = all(torch.equal(value, torch.full_like(value, 0.01)) for value in body.values())
    return known and len(body) > 100 and torch.allclose(state["conv1.weight"], colours)


# adnet_3d has no small encoder of weights, se_net none at all
@pytest.mark.parametrize("bundle", [name for name in SWITCHED if "encoder" in settings_in(name)])
def test_the_training_begins_with_the_pretrained_weights(bundle: str, weights: Path) -> None:
    assert has_known_body(starting_network(asked("d", weights, bundle)))
    assert starting_weights(asked("d", weights, bundle)) == "known.pth, the rest random"
    assert starting_weights(asked("d", None, bundle)) == "random"


def test_a_recipe_says_which_weights_there_are() -> None:
    recipe = Evaluation(Method("alpnet", "paper"), data="d")
    assert starting_weights(recipe) == "deeplabv3_resnet101_coco-586e9e4e.pth, the rest random"
    volumes = Evaluation(Method("adnet_3d", "paper"), data="d")
    assert starting_weights(volumes) == "resnext-101-kinetics.pth, the rest random"
    assert starting_weights(Evaluation(Method("adnet"), data="d", model="m.pt")).startswith("random; what the training")


@pytest.mark.parametrize("bundle", sorted(FEW_SHOT))
def test_without_pretrained_weights_it_is_the_network_of_the_inference_with_the_seed(bundle: str) -> None:
    """As it was before there were any."""
    evaluation = Evaluation(Method(bundle), data="d", seed=3)
    torch.manual_seed(3)
    plain = inference_parser(Method(bundle), {}, {}).get_parsed_content("network_def").state_dict()
    begun = starting_network(evaluation).state_dict()
    assert plain.keys() == begun.keys() and all(torch.equal(plain[name], begun[name]) for name in plain)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "one_thread")
def test_the_baseline_is_the_network_with_its_pretrained_weights(
    phantom_set: Path, weights: Path, tmp_path: Path
) -> None:
    evaluation = asked(phantom_set, weights)
    model = trained(phantom_set, evaluation, tmp_path / "run")
    known = trial(phantom_set, evaluation, model, tmp_path)._untrained()
    assert has_known_body(known) and not known.is_conditioned
    given = asked(phantom_set, None, model=str(model))
    assert not has_known_body(trial(phantom_set, given, model, tmp_path)._untrained())


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "one_thread")
def test_without_the_file_and_a_network_the_error_is_that_of_the_download_and_nothing_is_scored(
    phantom_set: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """The models are there, and what they began with is not any more."""
    kept = tmp_path / "hub" / "checkpoints" / "known.pth"
    kept.parent.mkdir(parents=True)
    weights.rename(kept)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    settings = {**SMALL, "pretrained": "https://example.org/known.pth"}
    pairs = [f"{key}={str(value).lower()}" for key, value in settings.items() if key != "val_queries"]
    words = ["evaluate", "--data", str(phantom_set), "--fold", "0", "--labels", "1", "--device", "cpu"]
    words += ["--models", str(tmp_path / "models"), "--set", *pairs]
    assert main([*words, "--output", str(tmp_path / "a")]) == 0
    found = read_results(tmp_path / "a")
    assert found.settings["untrained_network"] == "known.pth, the rest random"
    assert {entry.method for entry in found.entries} >= {"adnet", UNTRAINED}

    def offline(*more: Any, **others: Any) -> None:
        raise URLError("no route to host")

    scored: list[Any] = []
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(VolumeScores, "_scored", lambda self, *more: scored.append(more) or [])
    kept.unlink()
    capsys.readouterr()
    assert main([*words, "--output", str(tmp_path / "b")]) == 1
    said = capsys.readouterr().err
    assert "error: ConnectionError: https://example.org/known.pth: could not be downloaded" in said
    assert f"save it as {kept}, or give the path of the file" in said
    assert scored == [] and not (tmp_path / "b").exists()
