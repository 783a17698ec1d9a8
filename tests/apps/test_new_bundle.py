# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss new-bundle`: what it writes and refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from installed_bundles import FEW_SHOT, settings_in
from monai.bundle import ConfigParser
from torch import nn

from monai_fss.apps.cli import main
from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.apps.new_bundle.command import new_bundle
from monai_fss.apps.new_bundle.files import Part, bundle_files
from monai_fss.losses import SegmentationLoss
from monai_fss.networks.nets import PANet

PANET, LOSS = "monai_fss.networks.nets.PANet", "monai_fss.losses.SegmentationLoss"
Refused = Callable[..., str]


class Idle(PANet):
    """With a weight that no step of training uses."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__(encoder)
        self.unused = nn.Parameter(torch.zeros(1))


class OneChannel(PANet):
    """Whose logits lack the background."""

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        return super().segment(image)[:, 1:]


class Demanding(PANet):
    """That wants what no setting gives."""

    def __init__(self, encoder: nn.Module, radius: float) -> None:
        super().__init__(encoder, radius)


def loaded(files: dict[str, str], name: str) -> dict[str, Any]:
    """A configuration of a new bundle."""
    return dict(yaml.safe_load(files[f"configs/{name}.yaml"]))


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """What the command says to its words, having written nothing."""

    def run(*words: str) -> str:
        output = tmp_path / "out"
        assert main(["new-bundle", *words, "--output", str(output)]) == 2
        assert not output.exists()
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize("source", FEW_SHOT)
def test_nothing_of_the_source_is_left_but_its_settings(source: str) -> None:
    files = bundle_files(bundle_path(source), "new_one", [])
    assert ":paper" not in "".join(files.values()), "it has no recipes"
    for path, text in files.items():
        assert not re.search(rf"(?<![A-Za-z0-9.]){source}(?!\w)", text), path
    for name in ("train", "inference", "evaluate", "multi_gpu_train"):
        old = ConfigParser.load_config_file(str(bundle_path(source) / "configs" / f"{name}.yaml"))
        new = loaded(files, name)
        changed = {key for key in old if old[key] != new[key]}
        assert old.keys() == new.keys() and changed <= {"bundle_root", "method", "run"}


@pytest.mark.parametrize("source", [name for name in FEW_SHOT if "encoder" in settings_in(name)])
def test_what_new_classes_do_not_take_is_left_out_with_its_settings(source: str) -> None:
    parts = [Part("network_def", PANet, PANET), Part("loss", SegmentationLoss, LOSS)]
    files = bundle_files(bundle_path(source), "new_one", parts)
    train, inference = loaded(files, "train"), loaded(files, "inference")
    assert train["network_def"]["_target_"] == inference["network_def"]["_target_"] == PANET
    assert train["network_def"].keys() == {"_target_", "encoder"} and train["loss"]["_target_"] == LOSS
    assert train["settings"].keys() <= inference["settings"].keys() <= inference.keys()
    for config, name in ((train, "train"), (inference, "inference")):
        text = files[f"configs/{name}.yaml"]
        used = set(re.findall(r"[@%](\w+)", text))
        assert used <= config.keys() | {"train", "validate"}
        gone = {"kappa", "align", "compact", "blocks", "branches", "refined", "cell_mm", "alp_cell_mm"}
        assert not gone & config.keys(), "a setting that nothing reads"


def test_it_is_written_where_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["new-bundle", "new_one", "--from", "adnet", "--network", PANET, "--loss", LOSS]
    assert main([*words, "--output", str(tmp_path / "mine")]) == 0
    folder = tmp_path / "mine" / "new_one"
    out = capsys.readouterr().out
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert out.startswith(f"{folder}: written, from adnet") and all(f"\n  {file}\n" in out for file in files)
    assert f"1. cd {folder}\n  2. python -m monai.bundle run training" in out
    configs = ("evaluate.yaml", "inference.yaml", "logging.conf", "metadata.json", "multi_gpu_train.yaml", "train.yaml")
    scripts = sorted(p.name for p in (bundle_path("adnet") / "scripts").glob("*.py"))
    assert files == ["LICENSE", *(f"configs/{c}" for c in configs), "docs/README.md", "models/README.md"] + [
        f"scripts/{script}" for script in scripts
    ]
    metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["version"] in metadata["changelog"] and metadata["references"] == []
    assert "No weights come with the bundle." in (folder / "models" / "README.md").read_text(encoding="utf-8")
    assert "kappa" not in (folder / "configs" / "train.yaml").read_text(encoding="utf-8")
    assert main([*words, "--output", str(tmp_path / "mine")]) == 2
    assert capsys.readouterr().err == f"{folder}: exists already. Choose another name, or remove it first.\n"


@pytest.mark.parametrize("source", FEW_SHOT)
def test_every_few_shot_bundle_can_be_the_source(source: str, tmp_path: Path) -> None:
    """As it is, so that the network may be written afterwards; it is tried in two or three dimensions."""
    assert new_bundle("new_one", source, output=tmp_path) == tmp_path / "new_one"


@pytest.mark.parametrize(
    "name", ["", "Panet", "two words", "../up", "a/b", "$open('x')", "@steps", "a:b", "null", "off", "class", "x" * 41]
)
def test_a_name_is_plain(name: str, refused: Refused) -> None:
    assert f"NAME {name!r}: cannot name a bundle." in refused(name)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--from", "atlas"], "--from atlas: is no few-shot bundle. Take one of adnet, "),
        (["--from", "../panet"], "--from ../panet: is no few-shot bundle."),
        (["--network", "__import__('os')"], "--network \"__import__('os')\": is no class."),
        (["--network", "monai_fss.networks.nets.Foo"], "has no attribute 'Foo'). Write the class first"),
        (["--network", "no_such_package.Foo"], "No module named 'no_such_package'"),
        (["--network", "torch.nn.Linear"], "is no subclass of FewShotNet."),
        (["--loss", "monai_fss.losses.adnet.episode_cross_entropy"], "is no subclass of Module."),
        (["--loss", "monai_fss.losses.ADNetLoss"], "--loss: asks for 'threshold', which the network's episode()"),
        (
            ["--network", "monai_fss.networks.nets.MaskPaste"],
            "an episode of training failed (TypeError: MaskPaste has no",
        ),
        (["--network", f"{__name__}.Idle"], "--network: unused: these weights take no part in a step of training"),
        (["--network", f"{__name__}.OneChannel"], "gives logits (1, 2, 64, 64) for one image (4, 64, 64) and two ways"),
        (["--network", f"{__name__}.Demanding"], "--network: building the network failed (TypeError: "),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], says: str, refused: Refused) -> None:
    assert says in refused("new_one", *words)


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["new-bundle", "new_one", "--output", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith(f"--output {tmp_path / 'file'}: is a file.")


def test_outside_a_clone_it_asks_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-bundle", "new_one"]) == 2
    assert capsys.readouterr().err.startswith("--output: is needed, since this is not the clone")
