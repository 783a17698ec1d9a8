# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Model files and checkpoints: what is written, what is read back, and what is never executed."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from ignite.handlers import Checkpoint, DiskSaver

from monai_fss.data import (
    InputWarning,
    ScanError,
    latest_checkpoint,
    load_model,
    read_model,
    restore,
    save_best,
    save_model,
)
from monai_fss.networks.nets import ADNet, build_encoder

SETTINGS = {"pixdim": 2.5, "window": [-125, 275], "zscore": False, "encoder": "compact", "pretrained": None}


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.file), "w")


def net(seed: int = 0, positions: Sequence[float] = (0.5, 0.4)) -> ADNet:
    torch.manual_seed(seed)
    return ADNet(build_encoder("compact", positions=positions))


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_a_model_comes_back_with_its_settings(tmp_path: Path) -> None:
    network, other = net(0).eval(), net(1)
    save_model(tmp_path / "new" / "model.pt", network, SETTINGS)
    assert not network.training
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["model.pt"]
    assert read_model(tmp_path / "new" / "model.pt")["settings"] == SETTINGS
    assert load_model(tmp_path / "new" / "model.pt", other) is other
    assert same(network, other)


def test_a_condition_is_not_saved_and_does_not_outlive_its_weights(tmp_path: Path) -> None:
    network = net()
    plain = read_model_after_save(network, tmp_path / "plain.pt")
    label = torch.zeros(2, 1, 1, 32, 32)
    label[..., 4:12, 4:12] = 1
    network.condition(torch.rand(2, 1, 3, 32, 32), label)
    assert read_model_after_save(network, tmp_path / "conditioned.pt").keys() == plain.keys()
    assert not any(key.endswith("prototypes") for key in plain)
    assert network.is_conditioned
    assert not load_model(tmp_path / "plain.pt", network).is_conditioned


def read_model_after_save(network: ADNet, path: Path) -> dict[str, torch.Tensor]:
    save_model(path, network, {})
    return read_model(path)["model"]


def test_a_file_that_does_not_name_its_network_is_taken_with_a_warning(tmp_path: Path) -> None:
    """PANet and ALPNet have the same weights and give other masks."""
    save_model(tmp_path / "model.pt", net(), SETTINGS)
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert content.pop("network") == "ADNet"
    torch.save(content, tmp_path / "old.pt")
    with pytest.warns(
        InputWarning, match=r"old\.pt: does not say which network it is of, and is taken for one of ADNet"
    ):
        load_model(tmp_path / "old.pt", net())
    torch.save({**content, "network": "PANet"}, tmp_path / "other.pt")
    with pytest.raises(ScanError, match=r"other\.pt: is a model of PANet, not of ADNet"):
        load_model(tmp_path / "other.pt", net())


def test_an_interrupted_save_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path / "model.pt", net(), SETTINGS)
    before = (tmp_path / "model.pt").read_bytes()

    def stop(content: Any, file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        save_model(tmp_path / "model.pt", net(1), SETTINGS)
    assert (tmp_path / "model.pt").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_pickled_objects_are_refused_unexecuted(form: str, tmp_path: Path) -> None:
    file, proof = tmp_path / "model.pt", tmp_path / "executed"
    content = {"model": {"weight": Payload(proof)}, "settings": {}}
    if form == "pickle":
        file.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(
        ScanError, match=r"model\.pt: holds pickled objects.*it was not loaded\. Give a file of tensors"
    ):
        read_model(file)
    assert not proof.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"pixdim": "$open('x', 'w')"},
        {"window": "@device"},
        {"window": "%other.yaml"},
        {"position_axes": [0, ["$1"]]},
        {"window": {"_target_": "os.system", "command": "true"}},
        {"coarse": {"pixdim": 8.0, "reach": ["$1"]}},
        {"coarse": {"a::b": 1}},
        {"coarse": {1: 1}},
        {3: 4},
        [1],
        {"pixdim": torch.zeros(1)},
    ],
)
def test_settings_are_values_alone(settings: Any, tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1)}, "settings": settings}, tmp_path / "model.pt")
    with pytest.raises(ScanError, match=r"model\.pt: its settings hold an expression, or more than numbers"):
        read_model(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [{"weights": {}}, {"model": 3}, {"model": {"a": "text"}}, [torch.zeros(1)]])
def test_other_content_is_not_a_model(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ScanError, match=r"is not a model file of monai_fss .*Give a model\.pt of a training"):
        read_model(tmp_path / "model.pt")


def test_damaged_and_missing_files_are_told_apart(tmp_path: Path) -> None:
    save_model(tmp_path / "model.pt", net(), SETTINGS)
    whole = (tmp_path / "model.pt").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"hello"):
        (tmp_path / "model.pt").write_bytes(damaged)
        with pytest.raises(ScanError, match="is damaged or no PyTorch file .*Copy it again"):
            read_model(tmp_path / "model.pt")
    with pytest.raises(ScanError, match="none.pt: no such file"):
        read_model(tmp_path / "none.pt")


def test_weights_of_another_encoder_are_refused_and_nothing_is_loaded(tmp_path: Path) -> None:
    save_model(tmp_path / "model.pt", net(0, positions=()), SETTINGS)
    network = net(1)
    with pytest.raises(ScanError, match=r"weights of another method or encoder than ADNet \(\d+ missing: .*, \.\.\., "):
        load_model(tmp_path / "model.pt", network)
    assert same(network, net(1))


def checkpoints(folder: Path, count: int) -> None:
    for number in range(count):
        torch.save({"network": {"a": torch.tensor(number)}}, folder / f"checkpoint_{number}.pt")
        os.utime(folder / f"checkpoint_{number}.pt", ns=(number, number))


def test_the_newest_checkpoint_that_can_be_read(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    checkpoints(tmp_path, 3)
    found = latest_checkpoint(tmp_path)
    assert found is not None and found[0].name == "checkpoint_2.pt" and found[1]["network"]["a"] == 2
    (tmp_path / "checkpoint_2.pt").write_bytes(b"half")
    with pytest.warns(InputWarning, match="checkpoint_2.pt: is damaged.*Going on from an earlier checkpoint"):
        found = latest_checkpoint(tmp_path)
    assert found is not None and found[0].name == "checkpoint_1.pt"


def objects(steps: int = 10) -> dict[str, Any]:
    network = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=steps)
    trainer = Engine(lambda engine, batch: None)
    return {"network": network, "optimizer": optimizer, "scheduler": scheduler, "trainer": trainer}


def interrupted(folder: Path) -> dict[str, Any]:
    """Four steps of ten, and a checkpoint of them."""
    before = objects()
    before["trainer"].run([0, 1], max_epochs=2)
    for _ in range(4):
        before["network"](torch.ones(1, 1)).sum().backward()
        before["optimizer"].step()
        before["scheduler"].step()
    torch.save({name: item.state_dict() for name, item in before.items()}, folder / "checkpoint_2.pt")
    return before


def test_restore_brings_everything_back(tmp_path: Path) -> None:
    assert restore(tmp_path, objects(), 5) == 0
    before, after = interrupted(tmp_path), objects()
    assert restore(tmp_path, after, 5) == 4
    assert same(before["network"], after["network"])
    assert after["optimizer"].param_groups[0]["lr"] == before["optimizer"].param_groups[0]["lr"] < 0.1
    assert after["scheduler"].last_epoch == 4
    assert after["trainer"].state.max_epochs == 5
    assert after["trainer"].state.epoch == 2


def test_restore_refuses_a_checkpoint_of_another_training(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with pytest.raises(ScanError, match=r"checkpoint_2\.pt: lacks best\. It is not a checkpoint of this training"):
        restore(tmp_path, {**objects(), "best": None}, 5)


def test_restore_refuses_another_length_since_the_learning_rate_has_been_falling_to_the_old_end(tmp_path: Path) -> None:
    interrupted(tmp_path)
    fresh = objects(steps=20)
    with pytest.raises(ScanError, match=r"checkpoint_2\.pt: is of a training of 10 steps, not 20"):
        restore(tmp_path, fresh, 10)
    assert fresh["trainer"].state.iteration == 0


def test_the_best_network_becomes_a_model_file(tmp_path: Path) -> None:
    network, engine = torch.nn.Linear(2, 1), Engine(lambda engine, batch: None)
    saver = DiskSaver(str(tmp_path / "best"), create_dir=True, require_empty=False)
    best = Checkpoint(
        {"model": network}, saver, score_name="dice", score_function=lambda e: e.state.metrics["dice"], n_saved=1
    )
    assert save_best(best, tmp_path / "model_best.pt", SETTINGS) is None
    weights = []
    for dice in (0.3, 0.9, 0.5):
        torch.nn.init.constant_(network.weight, dice)
        weights.append(network.weight.detach().clone())
        engine.state.metrics["dice"] = dice
        best(engine)
    assert save_best(best, tmp_path / "model_best.pt", SETTINGS) == tmp_path / "model_best.pt"
    content = read_model(tmp_path / "model_best.pt")
    assert torch.equal(content["model"]["weight"], weights[1])
    assert content["settings"] == SETTINGS


def keeper(folder: Path, network: torch.nn.Module) -> Checkpoint:
    saver = DiskSaver(str(folder), create_dir=True, require_empty=False)
    return Checkpoint({"model": network}, saver, score_name="dice", score_function=lambda e: e.state.metrics["dice"])


def test_a_best_network_that_was_replaced_after_the_checkpoint_is_forgotten_with_a_warning(tmp_path: Path) -> None:
    """As after a kill between a validation and the checkpoint that follows it: Ignite would try to remove the file."""
    engine, network = Engine(lambda engine, batch: None), torch.nn.Linear(1, 1)
    best = keeper(tmp_path / "best", network)
    engine.state.metrics["dice"] = 0.25
    best(engine)
    content = {name: item.state_dict() for name, item in {**objects(), "best": best}.items()}
    torch.save(content, tmp_path / "checkpoint_1.pt")
    engine.state.metrics["dice"] = 0.5
    best(engine)
    again = keeper(tmp_path / "best", network)
    with pytest.warns(InputWarning, match=r"model_dice=0\.2500\.pt, the best so far, has been replaced since"):
        restore(tmp_path, {**objects(), "best": again}, 5)
    again(engine)
    assert [p.name for p in (tmp_path / "best").iterdir()] == ["model_dice=0.5000.pt"]
