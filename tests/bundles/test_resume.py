# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A training that was killed goes on to the same weights, bit for bit, and keeps its best."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_command import forked, option_words
from monai.bundle import ConfigWorkflow

import monai_fss.metrics
from monai_fss.data import InputWarning, read_model

STEPS = 16
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def settings(phantom_set: Path, small: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return small("adnet") | {"steps": STEPS, "dataset_dir": str(phantom_set), "val_interval": 4}


@pytest.fixture(scope="module")
def whole(settings: dict[str, Any], repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a training that nobody interrupted."""
    torch.set_num_threads(1)
    output = tmp_path_factory.mktemp("resume") / "whole"
    train(repository, output, settings)
    return output


def train(repository: Path, output: Path, settings: dict[str, Any], **more: Any) -> None:
    """Train ADNet in this process; cached scans are shared between the trainings of this file."""
    folder = repository / "bundles" / "adnet"
    workflow = ConfigWorkflow(
        config_file=str(folder / "configs" / "train.yaml"),
        logging_file=False,
        workflow_type="train",
        bundle_root=str(folder),
        output_dir=str(output),
        cache_dir=str(output.parent / "cache"),
        device="$torch.device('cpu')",
        **{**settings, **more},
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()


def kill_after(checkpoint: str, output: Path, settings: dict[str, Any], repository: Path) -> None:
    """Train in a process of its own, a copy of this one, and kill that when a checkpoint has appeared."""
    options = settings | {"output_dir": output, "cache_dir": output.parent / "cache"}
    config = str(repository / "bundles" / "adnet" / "configs" / "train.yaml")
    words = ["run", "training", "--config_file", config, *option_words(options)]
    log = output.parent / f"{output.name}.log"
    process = forked(words, repository, log, {"CUDA_VISIBLE_DEVICES": ""})
    try:
        deadline = time.monotonic() + 90
        while not (output / "checkpoints" / checkpoint).exists():
            assert process.is_alive(), log.read_text(encoding="utf-8")[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL and not (output / "model.pt").exists()


def assert_equal(output: Path, whole: Path, name: str = "model.pt") -> None:
    a, b = read_model(output / name)["model"], read_model(whole / name)["model"]
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


def best_file(output: Path) -> list[str]:
    return [file.name for file in (output / "checkpoints" / "best").iterdir()]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_training_resumes_to_the_same_weights_and_best(
    workers: int,
    whole: Path,
    settings: dict[str, Any],
    repository: Path,
    tmp_path: Path,
) -> None:
    """The reference has no workers: the weights do not depend on them either."""
    own = settings | {"num_workers": workers}
    kill_after("checkpoint_5.pt", tmp_path / "killed", own, repository)
    train(repository, tmp_path / "killed", own, resume=True)
    assert_equal(tmp_path / "killed", whole)
    assert_equal(tmp_path / "killed", whole, "model_best.pt")
    assert best_file(tmp_path / "killed") == best_file(whole)


def test_a_damaged_newest_checkpoint_is_passed_over(
    whole: Path, settings: dict[str, Any], repository: Path, tmp_path: Path
) -> None:
    output = tmp_path / "damaged"
    (output / "checkpoints").mkdir(parents=True)
    for name in (f"checkpoint_{STEPS - 1}.pt", f"checkpoint_{STEPS}.pt", "best"):
        copy = shutil.copytree if name == "best" else shutil.copy2
        copy(whole / "checkpoints" / name, output / "checkpoints" / name)
    newest = output / "checkpoints" / f"checkpoint_{STEPS}.pt"
    newest.write_bytes(newest.read_bytes()[:100_000])
    with pytest.warns(InputWarning, match=f"checkpoint_{STEPS}.pt: is damaged.*Going on from an earlier checkpoint"):
        train(repository, output, settings, resume=True)
    assert_equal(output, whole)


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Validation scores to give, in this order."""
    given: list[float] = []
    monkeypatch.setattr(monai_fss.metrics, "mean_dice", lambda output, values: given.pop(0))
    yield given
    assert given == []


def test_a_worse_network_after_a_resume_is_not_the_best(
    scores: list[float], settings: dict[str, Any], repository: Path, tmp_path: Path
) -> None:
    few = settings | {"steps": 4, "val_interval": 1}
    scores += [0.25, 0.75]
    train(repository, tmp_path / "run", few, max_epochs=2)
    best = read_model(tmp_path / "run" / "model_best.pt")["model"]
    last = read_model(tmp_path / "run" / "model.pt")["model"]
    assert all(torch.equal(best[key], last[key]) for key in best)
    scores += [0.5, 0.3]
    train(repository, tmp_path / "run", few, resume=True)
    assert best_file(tmp_path / "run") == ["model_dice=0.7500.pt"]
    kept = read_model(tmp_path / "run" / "model_best.pt")["model"]
    assert all(torch.equal(best[key], kept[key]) for key in best)


def test_a_better_network_after_a_resume_replaces_the_best(
    scores: list[float], settings: dict[str, Any], repository: Path, tmp_path: Path
) -> None:
    few = settings | {"steps": 2, "val_interval": 1}
    scores += [0.25]
    train(repository, tmp_path / "run", few, max_epochs=1)
    scores += [0.5]
    train(repository, tmp_path / "run", few, resume=True)
    assert best_file(tmp_path / "run") == ["model_dice=0.5000.pt"]
    best, last = (read_model(tmp_path / "run" / name)["model"] for name in ("model_best.pt", "model.pt"))
    assert all(torch.equal(best[key], last[key]) for key in best)
