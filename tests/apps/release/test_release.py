# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss release`: what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from monai.bundle import load

from monai_fss.apps.cli import main
from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.apps.release.documents import About, readme_text
from monai_fss.apps.release.network_file import network_ids
from monai_fss.apps.release.yaml_text import with_values
from monai_fss.apps.verify import files
from monai_fss.data import read_model, save_model
from monai_fss.digests import sha256_of
from monai_fss.networks.nets import SupervisedUNet
from monai_fss.results import Results
from monai_fss.results.entries import Entry

VALUES: dict[str, Any] = {"values": [1, 4], "class_names": ["liver", "$spleen #2"], "pieces": [1, 2]}
SETTINGS = {"pixdim": 6.0, "window": None, "channels": [4, 8, 16], "roi_size": [32, 32, 16], **VALUES}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("run") / "model.pt"
    save_model(file, SupervisedUNet(2, [4, 8, 16]), SETTINGS, "unet_3d")
    run = {"settings": {"steps": 60}, "files": {"images/a.nii.gz": {}, "images/b.nii.gz": {}}, "data": "/home/me/data"}
    (file.parent / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return file


def test_the_settings_stand_in_the_configurations(model: Path, tmp_path: Path) -> None:
    notes = tmp_path / "card.md"
    notes.write_text("Of two phantoms.", encoding="utf-8")
    words = ["release", "--model", str(model), "--output", str(tmp_path / "mine"), "--version", "0.2.0", "--half"]
    assert main([*words, "--changes", "other labels", "--notes", str(notes)]) == 0
    folder = tmp_path / "mine"
    inference = yaml.safe_load((folder / "configs" / "inference.yaml").read_text(encoding="utf-8"))
    plain = {key: value for key, value in SETTINGS.items() if key != "class_names"}
    assert {key: inference[key] for key in plain} == plain
    assert inference["class_names"][0] == "liver" and eval(inference["class_names"][1][1:]) == "$spleen #2"
    train = yaml.safe_load((folder / "configs" / "train.yaml").read_text(encoding="utf-8"))
    assert train["pixdim"] == 6.0 and train["channels"] == [4, 8, 16]
    assert train["values"] == "$@learnt.values", "what is computed there stays"
    comments = (folder / "configs" / "inference.yaml").read_text(encoding="utf-8")
    assert "pixdim: 6.0          # mm, one number for all axes" in comments
    metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["version"] == "0.2.0" and metadata["changelog"]["0.2.0"] == "other labels"
    assert len(metadata["changelog"]) == 2 and metadata["required_packages_version"]["monai_fss"]
    pred = metadata["network_data_format"]["outputs"]["pred"]
    assert pred["num_channels"] == 3
    assert pred["channel_def"] == {"0": "background", "1": "liver", "4": "$spleen #2"}
    page = (folder / "docs" / "README.md").read_text(encoding="utf-8")
    assert "Of two phantoms." in page and "Trained on 2 scans, for 60 steps." in page and "/home" not in page
    assert "It has not been measured." in page and "| pixdim | `6.0` |" in page
    kept, stored = read_model(model)["model"], torch.load(folder / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(stored[key], value.half()) for key, value in kept.items())
    network = load("mine", bundle_dir=str(tmp_path), workflow_type="infer", device="cpu")  # of monai.bundle
    assert type(network) is SupervisedUNet
    assert all(torch.equal(network.state_dict()[key], value.half().float()) for key, value in kept.items())


def test_the_file_of_the_network_has_what_the_network_refers_to() -> None:
    config = {"imports": ["$import os"], "network_def": {"_target_": "N", "a": "@a", "b": "$len(@c['x'])"}}
    config |= {"a": "@d", "c": {"x": [1]}, "d": 4, "initialize": ["$print(@a)"]}
    assert network_ids(config) == {key: value for key, value in config.items() if key != "initialize"}


def test_a_large_model_is_named_with_its_digest(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("monai_fss.apps.release.folder.LARGEST", "monai_fss.apps.verify.files.LARGEST"):
        monkeypatch.setattr(module, 20_000)
    monkeypatch.setattr(files, "_BUILT", ("docs", "LICENSE"))
    words = ["release", "--model", str(model), "--output", str(tmp_path / "mine")]
    assert main(words) == 2
    assert "--url: is needed. The model has 0 MB, and the zoo takes 25 MB a file." in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()
    assert main([*words, "--url", "https://example.org/model.pt"]) == 0
    entry = yaml.safe_load((tmp_path / "mine" / "large_files.yml").read_text(encoding="utf-8"))["large_files"][0]
    assert entry == {
        "path": "models/model.pt",
        "url": "https://example.org/model.pt",
        "hash_val": sha256_of(tmp_path / "mine" / "models" / "model.pt"),
        "hash_type": "sha256",
    }


def test_the_atlas_has_an_empty_model(tmp_path: Path) -> None:
    assert main(["release", "--output", str(tmp_path / "atlas_ct")]) == 0
    assert torch.load(tmp_path / "atlas_ct" / "models" / "model.pt", weights_only=True) == {}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--bundle", "adnet"], "--model: is needed, since adnet is trained"),
        (["--bundle", "adnet", "--model", "MODEL"], "is of unet_3d, not of adnet"),
        (["--bundle", "atlas", "--model", "MODEL"], "atlas is not trained"),
        (["--model", "none.pt"], "none.pt: no such file"),
        (["--model", "MODEL", "--results", "nowhere"], "--results nowhere"),
        (["--model", "MODEL", "--notes", "nowhere.md"], "--notes nowhere.md: cannot be read"),
    ],
)
def test_what_does_not_fit_is_refused(
    words: list[str], says: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(model) if word == "MODEL" else word for word in words]
    assert main(["release", *words, "--output", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main(["release", "--model", str(model), "--output", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_values_change_and_nothing_else() -> None:
    text = "a: 1  # one\nb:\n- 2\n- 3\nc: {x: 1, y: 2}\nd: '@a'\ne: [1,\n  2]\nf: last\n"
    changed = with_values(text, {"a": [1, 2], "b": None, "c": {"x": 5}, "d": 4, "e": "$x", "z": 3})
    assert changed == "a: [1, 2]  # one\nb: null\nc: {x: 5, y: 2}\nd: 4\ne: $'\\x24x'\nf: last\n"
    assert with_values(text, {"d": 4}, expressions=False) == text


def test_every_setting_of_every_bundle_can_be_written() -> None:
    for name in ("adnet_3d", "prnet", "organnet", "crapnet"):
        text = (bundle_path(name) / "configs" / "inference.yaml").read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        values = {key: content[key] for key in content["settings"] if not str(content[key]).startswith("@")}
        assert yaml.safe_load(with_values(text, values)) == content


def test_figures_come_with_their_command_but_without_the_folders_of_a_machine(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("# The bundle\n", encoding="utf-8")
    command = r"monai-fss evaluate --data /home/me/my data/chaos_t2/ --split C:\Users\me\folds.json --models=/home/me/m"
    settings = {"bundle": "adnet", "dataset": "chaos", "protocol": "ep2", "ways": "independent", "labelled_slices": 1}
    settings |= {"split": "/home/me/folds.json", "model": "/home/me/run/model.pt", "runs": 1, "command": command}
    entry = Entry(0, 0, "case_01", 1, "liver", "adnet", 0.5, 3.0, 1.0, "scored")
    results = Results(settings, [entry])
    text = readme_text(page, About("adnet", {}, "0.2.0", "", "", results, {}))
    assert "/home" not in text and "Users" not in text
    assert "monai-fss evaluate --data my chaos_t2/ --split folds.json --models=m" in text
    assert "- split: folds.json" in text and "- model: models/model.pt" in text
