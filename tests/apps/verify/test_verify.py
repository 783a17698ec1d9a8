# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss verify` passes a released bundle, and names the line of what is wrong with a broken copy."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from monai_fss.apps.cli import main
from monai_fss.apps.release.command import release
from monai_fss.apps.verify.command import verify
from monai_fss.data import read_model, save_model
from monai_fss.networks.nets import ADNet, build_encoder

SETTINGS = {"pixdim": 5.0, "encoder": "compact", "kappa": 0.5, "position_axes": [0, 1, 2], "zscore": False}
METADATA, INFERENCE, MODEL = "configs/metadata.json", "configs/inference.yaml", "models/model.pt"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    network = ADNet(build_encoder("compact", in_channels=1, positions=[0.35, 0.3, 0.5]))
    save_model(folder / "model.pt", network, SETTINGS, "adnet")
    return release(None, folder / "model.pt", folder / "adnet_phantom_segmentation")


def metadata(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A copy whose metadata were changed."""

    def broken(folder: Path) -> None:
        content = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        change(content)
        (folder / METADATA).write_text(json.dumps(content, indent=2), encoding="utf-8")

    return broken


def replaced(file: str, old: str, new: str) -> Callable[[Path], None]:
    """A copy with other words in a file."""

    def broken(folder: Path) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return broken


def removed(name: str) -> Callable[[Path], None]:
    def broken(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return broken


def with_other_weights(folder: Path) -> None:
    content = torch.load(folder / MODEL, weights_only=True)
    torch.save({key: value for key, value in content.items() if key != "threshold"}, folder / MODEL)


def nested(folder: Path) -> None:
    torch.save({"model": torch.load(folder / MODEL, weights_only=True)}, folder / MODEL)


def with_large_files(folder: Path) -> None:
    entry = {"path": MODEL, "url": "https://example.org/model.pt", "hash_val": "0" * 64, "hash_type": "sha256"}
    (folder / "large_files.yml").write_text(yaml.safe_dump({"large_files": [entry]}), encoding="utf-8")


def too_large(folder: Path) -> None:
    with open(folder / "models" / "second.pt", "wb") as stream:
        stream.truncate(26_000_000)


def outputs(content: dict[str, Any]) -> dict[str, Any]:
    return content["network_data_format"]["outputs"]["pred"]


def three_classes(content: dict[str, Any]) -> None:
    outputs(content).update(num_channels=3, channel_def={"0": "background", "1": "a", "2": "b"})


BROKEN: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "missing key": (metadata(lambda c: c.pop("task")), METADATA, "task is missing"),
    "wrong kind": (metadata(lambda c: c.update(version=1)), f'{METADATA} "version"', "version is a number"),
    "wrong schema": (metadata(lambda c: c.update(schema="https://x/y.json")), f'{METADATA} "schema"', "not the schema"),
    "no json": (replaced(METADATA, '"task"', "task"), f"{METADATA} task", "is no JSON"),
    "version without changelog": (
        metadata(lambda c: c.update(version="0.9.0")),
        f'{METADATA} "version"',
        "version 0.9.0 is not in the changelog",
    ),
    "channels without names": (
        metadata(lambda c: outputs(c).update(num_channels=7)),
        f'{METADATA} "num_channels": 7',
        "pred has 7 channels, and channel_def names 2",
    ),
    "wrong channel count": (
        metadata(three_classes),
        f'{METADATA} "num_channels": 3',
        "output channel number `2` doesn't match: `3`",
    ),
    "unscriptable": (
        replaced(INFERENCE, "monai_fss.networks.nets.ADNet", "unscriptable.Unscriptable"),
        f"{INFERENCE} network_def:",
        "TorchScript cannot compile Unscriptable",
    ),
    "wrong support": (
        replaced(
            INFERENCE, "{support_image: '', support_label: ''}", "{support_image: a.nii.gz, support_label: b.nii.gz}"
        ),
        f"{INFERENCE} displayable_configs:",
        "a.nii.gz: does not exist",
    ),
    "wrong settings": (
        replaced(INFERENCE, "pixdim: 5.0", "pixdim: 2.5"),
        f"{INFERENCE} pixdim:",
        "pixdim is 2.5, and .*model.pt was trained with 5.0",
    ),
    "missing models": (removed("models"), "models", "is missing. Make it"),
    "missing model": (removed(MODEL), MODEL, "is missing, and no large_files.yml"),
    "no licence": (removed("LICENSE"), "LICENSE", "is missing"),
    "unknown reference": (
        replaced(INFERENCE, 'slices_per_batch: "@slices_per_batch"\n', 'slices_per_batch: "@slices_per_bach"\n'),
        f'{INFERENCE}   slices_per_batch: "@slices_per_bach"',
        "refers to @slices_per_bach, which is not defined. Did you mean @slices_per_batch",
    ),
    "unknown setting of a recipe": (
        replaced("configs/paper.yaml", "steps: 50000", "stepz: 50000"),
        "configs/paper.yaml stepz:",
        "train.yaml has no stepz, and nothing refers to it. Did you mean steps",
    ),
    "unknown class": (
        replaced(INFERENCE, "monai_fss.data.PrepareSlices", "monai_fss.data.PrepareSlice"),
        f"{INFERENCE}   _target_: monai_fss.data.PrepareSlice",
        "cannot be imported",
    ),
    "no inferer": (replaced(INFERENCE, "\ninferer:", "\nmy_inferer:"), INFERENCE, "has no inferer"),
    "no yaml": (replaced(INFERENCE, "labels: null", "labels: [1"), f"{INFERENCE}", "cannot be read"),
    "a path of one machine": (
        replaced(INFERENCE, "dataset_dir: ''", "dataset_dir: /home/me/scans"),
        f"{INFERENCE} dataset_dir:",
        "is a path of one machine",
    ),
    "other weights": (with_other_weights, f"{INFERENCE} network_def:", "are of another network"),
    "a training's file": (nested, MODEL, "is no plain state dict"),
    "another file": (with_large_files, "large_files.yml   hash_val:", "is not the digest"),
    "too large": (too_large, "models/second.pt", "has 26 MB; the zoo takes 25 MB"),
}


def test_a_release_passes(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(released)]) == 0
    assert capsys.readouterr().out == f"{released}: passes (full)\n"


@pytest.mark.parametrize("name", BROKEN)
def test_the_line_of_what_is_wrong_is_named(name: str, released: Path, tmp_path: Path) -> None:
    change, where, words = BROKEN[name]
    copy = tmp_path / released.name
    shutil.copytree(released, copy)
    change(copy)
    problems = verify(copy)
    file, _, line = where.partition(" ")
    found = [problem for problem in problems if problem.startswith(str(copy / file)) and re.search(words, problem)]
    assert len(found) == 1, problems
    if line:  # what the named line begins with
        number = int(found[0].removeprefix(str(copy / file)).split(":")[1])
        text = (copy / file).read_text(encoding="utf-8").splitlines()[number - 1]
        assert text.strip().startswith(line.strip())


def test_problems_of_several_bundles_are_refused(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, file in (("a", "LICENSE"), ("b", "docs/README.md")):
        shutil.copytree(released, tmp_path / name)
        (tmp_path / name / file).unlink()
    assert main(["verify", str(tmp_path), "--mode", "min"]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{tmp_path / name}: 1 problem(s)" for name in "ab"]
    assert [line.split(":")[0] for line in err.splitlines()] == [
        str(tmp_path / "a" / "LICENSE"),
        str(tmp_path / "b" / "docs" / "README.md"),
    ]
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "is no folder" in capsys.readouterr().err


def test_a_release_is_read_as_a_training_is(released: Path) -> None:
    content = read_model(released / MODEL)
    assert content["settings"] == SETTINGS and content["bundle"] == "adnet" and content["network"] == "ADNet"
    plain = torch.load(released / MODEL, weights_only=True)
    assert plain.keys() - content["model"].keys() == {"model_note"}
    network = ADNet(build_encoder("compact", in_channels=1, positions=[0.35, 0.3, 0.5]))
    network.load_state_dict(plain)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in content["model"].items())
