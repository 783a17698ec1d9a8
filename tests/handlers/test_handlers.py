# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Handlers: reseeding makes resumed trainings exact, one progress bar."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import pytest
import torch
from ignite.engine import Engine, Events
from monai.transforms import Compose, Randomizable, Transform
from torch import nn
from torch.utils.data import DataLoader

from monai_fss.data.episodes.series import EpisodeDataset, EpisodeSampler
from monai_fss.handlers.progress import TrainingProgress
from monai_fss.handlers.reseed import Reseed


def test_reseed_seeds_with_seed_and_iteration() -> None:
    drawn = []
    engine = Engine(lambda engine, batch: drawn.append(torch.rand(1).item()))
    Reseed(seed=40).attach(engine)
    engine.run(range(3), max_epochs=2)
    expected = [torch.rand(1, generator=torch.Generator().manual_seed(40 + i)).item() for i in range(1, 7)]
    assert drawn == expected


class Noise(Randomizable, Transform):
    def __call__(self, data: float) -> torch.Tensor:
        return torch.tensor([data, *self.R.normal(size=3)], dtype=torch.float32)


class Training:
    """A small training with dropout, momentum and random episodes."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9)
        data = EpisodeDataset([0.0, 1.0, 2.0], Compose([Noise()]), length=8, seed=3)
        self.sampler = EpisodeSampler(data)
        self.loader = DataLoader(data, batch_size=2, sampler=self.sampler)
        self.engine = Engine(self.step)
        Reseed(seed=7).attach(self.engine)
        # as MONAI's engines do
        self.engine.add_event_handler(Events.EPOCH_STARTED, lambda e: self.sampler.set_epoch(e.state.epoch))

    def step(self, engine: Engine, batch: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        self.net(batch).square().mean().backward()
        self.optimizer.step()


def test_a_resumed_training_equals_an_uninterrupted_one() -> None:
    whole, first, second = Training(), Training(), Training()
    whole.engine.run(whole.loader, max_epochs=3)
    first.engine.run(first.loader, max_epochs=1)
    torch.rand(17)  # the generator's state is lost
    second.net.load_state_dict(first.net.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.engine.load_state_dict({"epoch": 1, "epoch_length": 4, "max_epochs": 3})
    second.engine.run(second.loader, max_epochs=3)
    for a, b in zip(whole.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.net[0].weight, whole.net[0].weight)


@pytest.mark.parametrize("as_list", [False, True])
def test_progress_smooths_the_loss_by_hand(as_list: bool) -> None:
    def step(engine: Engine, batch: float) -> object:
        output = {"loss": torch.tensor(batch)}
        return [output] if as_list else output

    engine = Engine(step)
    progress = TrainingProgress(smoothing=0.25, disable=True)
    progress.attach(engine)
    engine.run([4.0, 8.0], max_epochs=2)
    # 4; 4 + (8 - 4) / 4 = 5; 5 + (4 - 5) / 4 = 4.75; 4.75 + (8 - 4.75) / 4 = 5.5625
    assert progress.loss == pytest.approx(5.5625)


def test_progress_counts_all_epochs_in_one_bar() -> None:
    engine = Engine(lambda engine, batch: {"loss": torch.tensor(batch)})
    progress = TrainingProgress()
    progress.attach(engine)
    output = io.StringIO()
    with redirect_stderr(output):
        engine.run([1.0, 1.0, 1.0], max_epochs=2)
    assert progress.bar is not None and progress.bar.total == 6 and progress.bar.n == 6
    assert "6/6" in output.getvalue() and "loss=1.0000" in output.getvalue()
    assert output.getvalue().count("100%") == 1


def test_progress_goes_on_after_a_resume() -> None:
    engine = Engine(lambda engine, batch: {"loss": torch.tensor(batch)})
    engine.load_state_dict({"epoch": 1, "epoch_length": 3, "max_epochs": 3})
    progress = TrainingProgress()
    progress.attach(engine)
    output = io.StringIO()
    with redirect_stderr(output):
        engine.run([1.0, 1.0, 1.0], max_epochs=3)
    assert progress.bar is not None and progress.bar.initial == 3 and progress.bar.n == 9 == progress.bar.total


def test_progress_closes_its_bar_when_the_training_is_terminated() -> None:
    engine = Engine(lambda engine, batch: {"loss": torch.tensor(batch)})
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda e: e.terminate())
    progress = TrainingProgress()
    progress.attach(engine)
    with redirect_stderr(io.StringIO()):
        engine.run([1.0, 1.0, 1.0], max_epochs=2)
    assert progress.bar is not None and progress.bar.n == 2 and progress.bar.disable


@pytest.mark.parametrize("smoothing", [0, -0.1, 1.5])
def test_smoothing_is_checked(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"smoothing must be in \(0, 1\], got"):
        TrainingProgress(smoothing=smoothing)
