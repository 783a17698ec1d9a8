# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`python -m monai.bundle run evaluating` scores what the configuration that it is given says."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from installed_bundles import BUNDLES, settings_in, small_inference
from monai.bundle import run
from monai.data import MetaTensor

from monai_fss.apps.cli import main
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.apps.methods.method import Method
from monai_fss.apps.release.yaml_text import with_values
from monai_fss.apps.train.workflow import train
from monai_fss.data import LoadScan
from monai_fss.handlers import VolumeScores
from monai_fss.results import read_results
from monai_fss.transforms import SliceOrientationd

Small = Callable[[str], dict[str, Any]]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn", "one_thread", "registered_once")]


def evaluating(bundle: Path, data: Path, output: Path, **more: Any) -> None:
    files = [str(bundle / "configs" / name) for name in ("inference.yaml", "evaluate.yaml")]
    own = {
        "bundle_root": str(bundle),
        "dataset_dir": str(data),
        "output_dir": str(output),
        "device": "$torch.device('cpu')",
    }
    run("evaluating", config_file=files, logging_file=False, **own, **more)


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], np.ndarray]:
    """Every mask that is scored, by case and label value; the newest."""
    seen: dict[tuple[str, int], np.ndarray] = {}
    scored = VolumeScores.masks

    def recorded(self: VolumeScores, output: Mapping[str, Any], logits: MetaTensor) -> Iterator[np.ndarray]:
        case = Path(output["image"].meta["filename_or_obj"]).name.partition(".")[0]
        for value, mask in zip(self.names, scored(self, output, logits), strict=True):
            seen[case, value] = mask
            yield mask

    monkeypatch.setattr(VolumeScores, "masks", recorded)
    return seen


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_copied_bundle_scores_as_the_command_does_the_masks_that_are_written(
    bundle: str,
    phantom_set: Path,
    trained_once: Callable[[str], Path],
    masks: dict[tuple[str, int], np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """EP2 of fold 0, where case_02 supports case_01: by the bundle alone, by `evaluate` and by `segment`."""
    method, copy = Method(bundle), tmp_path / "copy"
    shutil.copytree(bundle_path(bundle), copy)
    brought: dict[str, Any] = {key: value for key, value in small_inference(bundle).items() if key != "quality"}
    own = ["--set", *(f"{key}={value}" for key, value in brought.items())]
    if method.is_trained:
        model = trained_once(bundle) / "model.pt"
        own, brought = (
            ["--model", str(model)],
            {**torch.load(model, weights_only=True)["settings"], "model": str(model)},
        )
    evaluating(copy, phantom_set, tmp_path / "out", **brought, ways="compete")
    found, known = read_results(tmp_path / "out"), masks.copy()
    masks.clear()
    words = ["--bundle", bundle, "--device", "cpu"]
    command = ["evaluate", *words, "--data", str(phantom_set), "--output", str(tmp_path / "other"), "--fold", "0"]
    command += ["--quality"] if method.needs_support else []  # the command asks for it by a labelled scan alone
    assert main([*command, "--no-baselines", "--ways", "compete", *own]) == 0
    other = read_results(tmp_path / "other")
    shown = {entry.label: entry for entry in found.entries}
    asked = [entry for entry in other.entries if entry.label in shown]
    if not method.needs_support:  # its quality is in the bundle's own evaluation alone
        shown = {value: replace(entry, quality=math.nan, volume_ml=math.nan) for value, entry in shown.items()}
    assert [repr(shown[entry.label]) for entry in asked] == list(map(repr, asked)) and len(asked) == len(found.entries)
    assert found.entries
    same = ("bundle", "dataset", "split", "protocol", "ways", "folds", "labelled_slices")
    assert {key: found.settings[key] for key in same} == {key: other.settings[key] for key in same}
    assert settings_in(bundle, "evaluate")["ways"] == Evaluation(method, str(phantom_set)).ways

    support = [str(phantom_set / folder / "case_02.nii.gz") for folder in ("images", "labels")]
    given = ["--support-image", support[0], "--support-label", support[1]] if method.needs_support else []
    command = ["segment", *words, *given, "--images", str(phantom_set / "images" / "case_01.nii.gz")]
    assert main([*command, "--output", str(tmp_path / "written"), "--no-quality", "--no-overlays", *own]) == 0
    written = LoadScan(as_label=True)(tmp_path / "written" / "case_01.nii.gz")
    label = np.asarray(SliceOrientationd("label")({"label": written})["label"][0])
    assert {value for _, value in known} == shown.keys()
    for value in shown:
        assert np.array_equal(masks["case_01", value], label == value)
        assert np.array_equal(known["case_01", value], label == value)
    if bundle == "atlas":
        assert (label > 0).sum() > 1000, "there is something to be compared"

    capsys.readouterr()
    with pytest.raises(SystemExit):
        evaluating(copy, tmp_path / "nowhere", tmp_path / "third", **brought)
    assert f"{tmp_path / 'nowhere'}: has no folder images/." in capsys.readouterr().err


def test_the_configuration_that_is_given_counts(
    phantom_set: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kappa 9 is not that of the model; a prior's weight and the slices of the support change the scores."""
    model = trained / "model.pt"
    brought = {**torch.load(model, weights_only=True)["settings"], "model": str(model), "quality": False}
    with pytest.raises(SystemExit):
        evaluating(bundle_path("adnet"), phantom_set, tmp_path / "a", **{**brought, "kappa": 9.0})
    assert "was trained with kappa 0.5, but the configuration has kappa 9.0" in capsys.readouterr().err
    dice = {}
    for slices in ("middle", "all"):
        evaluating(bundle_path("adnet"), phantom_set, tmp_path / slices, **brought, support_slices=slices)
        content = json.loads((tmp_path / slices / "results.json").read_text(encoding="utf-8"))
        assert content["settings"]["labelled_slices"] == (1 if slices == "middle" else "all")
        dice[slices] = [entry["dice"] for entry in content["entries"]]
    assert dice["middle"] != dice["all"]


def changed_copy(folder: Path, settings: dict[str, Any], model: Path) -> Path:
    """A copy of ADNet's bundle with other settings in its inference.yaml, and a model where it looks for one."""
    shutil.copytree(bundle_path("adnet"), folder)
    file = folder / "configs" / "inference.yaml"
    file.write_text(with_values(file.read_text(encoding="utf-8"), settings), encoding="utf-8")
    shutil.copyfile(model, folder / "models" / "model.pt")
    return folder


def figures(folder: Path) -> list[float]:
    return [entry.dice for entry in read_results(folder).entries]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"encoder": "resnet18"}, "was trained with encoder compact, but the configuration has encoder resnet18"),
        ({"kappa": 9.0}, "was trained with kappa 0.5, but the configuration has kappa 9.0"),
    ],
)
def test_a_changed_copy_refuses_the_model_of_before_and_scores_its_own(
    setting: dict[str, Any],
    says: str,
    phantom_set: Path,
    trained: Path,
    small: Small,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Encoder and kappa, changed in the file of a copied bundle; nothing but paths is given to the command."""
    before = torch.load(trained / "model.pt", weights_only=True)
    unchanged = changed_copy(tmp_path / "unchanged", before["settings"], trained / "model.pt")
    evaluating(unchanged, phantom_set, tmp_path / "a", quality=False)
    copy = changed_copy(tmp_path / "copy", before["settings"] | setting, trained / "model.pt")
    with pytest.raises(SystemExit):
        evaluating(copy, phantom_set, tmp_path / "b", quality=False)
    assert says in capsys.readouterr().err and not (tmp_path / "b" / "results.json").exists()
    if "encoder" in setting:  # a file that does not name its settings
        torch.save({"model": before["model"], "network": "ADNet"}, copy / "models" / "model.pt")
        with pytest.raises(SystemExit):
            evaluating(copy, phantom_set, tmp_path / "b", quality=False)
        assert "holds the weights of another method or encoder than ADNet" in capsys.readouterr().err
    train("adnet", phantom_set, tmp_path / "run", settings={**small("adnet"), "steps": 4, **setting}, device="cpu")
    shutil.copyfile(tmp_path / "run" / "model.pt", copy / "models" / "model.pt")
    evaluating(copy, phantom_set, tmp_path / "c", quality=False)
    assert len(figures(tmp_path / "c")) == len(figures(tmp_path / "a")) > 0
    assert figures(tmp_path / "c") != figures(tmp_path / "a")


def test_the_rule_of_ep1_counts_and_an_unknown_one_is_refused(
    phantom_set: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained / "model.pt"
    brought = {**torch.load(model, weights_only=True)["settings"], "model": str(model), "quality": False}
    brought |= {"protocol": "ep1"}
    dice = {}
    for rule in ("shown", "range"):
        evaluating(bundle_path("adnet"), phantom_set, tmp_path / rule, **brought, ep1_rule=rule)
        found = read_results(tmp_path / rule)
        assert found.settings["ep1_rule"] == rule and found.settings["labelled_slices"] == 3
        dice[rule] = [entry.dice for entry in found.entries]
    assert dice["shown"] != dice["range"]
    with pytest.raises(SystemExit):
        evaluating(bundle_path("adnet"), phantom_set, tmp_path / "mine", **brought, ep1_rule="mine")
    assert "ep1_rule=mine: is not one of shown, range, paired" in capsys.readouterr().err
