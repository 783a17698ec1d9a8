# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A training whose loss or weights are no numbers fails, and leaves no model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.utils import set_determinism
from torch import nn
from torch.utils.data import DataLoader

from monai_fss.data import ScanError, load_model, read_model, save_model
from monai_fss.engines import ResumableTrainer
from monai_fss.handlers import FiniteTraining, TrainingFiles

pytestmark = pytest.mark.usefixtures("one_thread")


class Loss(nn.Module):
    """The mean of the prediction; times ``value`` in a certain step."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__()
        self.step, self.value, self.count = step, value, 0

    def forward(self, pred: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        self.count += 1
        if self.count == self.step and self.value == 0:
            return (pred - pred.detach()).abs().sqrt().mean()  # 0, with a gradient of nan
        return pred.mean() * (self.value if self.count == self.step else 1.0)


def training(folder: Path, loss: nn.Module) -> tuple[ResumableTrainer, TrainingFiles, nn.Module]:
    """Of six steps in three epochs."""
    set_determinism(0)
    network = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    batches: Any = DataLoader([{"image": torch.ones(2), "label": torch.ones(1)}] * 2, batch_size=1)
    trainer = ResumableTrainer(
        device=torch.device("cpu"),
        max_epochs=3,
        train_data_loader=batches,
        network=network,
        optimizer=optimizer,
        lr_scheduler=torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
        loss_function=loss,
    )
    files = TrainingFiles(folder=folder, trainer=trainer)
    files.begin()
    return trainer, files, network


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_checkpoints_before(
    value: float, tmp_path: Path
) -> None:
    trainer, _, network = training(tmp_path, Loss(4, value))
    with pytest.raises(
        FloatingPointError, match=r"step 4: the loss is -?(nan|inf), .* lower learning_rate \(it was 0\.1 "
    ):
        trainer.run()
    assert trainer.state.iteration == 4
    assert [file.name for file in (tmp_path / "checkpoints").glob("*.pt")] == ["checkpoint_2.pt"]
    kept = torch.load(tmp_path / "checkpoints" / "checkpoint_2.pt", weights_only=True)["network"]
    assert all(torch.isfinite(weight).all() for weight in kept.values())
    with pytest.raises(ScanError, match=r"model.pt: 2 of 2 weights are nan or infinite: .*train anew"):
        save_model(tmp_path / "model.pt", network, {})
    assert not (tmp_path / "model.pt").exists()


def test_weights_that_the_last_step_of_an_epoch_has_broken_are_not_kept(tmp_path: Path) -> None:
    trainer, _, _ = training(tmp_path, Loss(2, 0.0))
    with pytest.raises(FloatingPointError, match="step 2: the weights of the network are nan or infinite"):
        trainer.run()
    assert not list(tmp_path.rglob("*.pt"))


def test_a_training_that_goes_well_is_left_alone(tmp_path: Path) -> None:
    trainer, files, network = training(tmp_path, Loss(0, 1.0))
    trainer.run()
    files.finish({})
    assert trainer.state.iteration == 6
    assert torch.equal(read_model(tmp_path / "model.pt")["model"]["weight"], network.weight)


def test_in_mixed_precision_steps_that_the_scaler_leaves_out_are_borne() -> None:
    network = nn.Linear(1, 1)
    trainer: Any = SimpleNamespace(
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        scaler=SimpleNamespace(is_enabled=lambda: True),
    )
    ended: list[int] = []
    handler = FiniteTraining(trainer)
    for step in range(1, 61):
        state = SimpleNamespace(iteration=step, epoch_length=10, output={"loss": torch.tensor(float("nan"))})
        state.output["loss"] = torch.tensor(1.0 if step == 20 else float("nan"))
        handler(SimpleNamespace(state=state, terminate=lambda step=step: ended.append(step)))  # type: ignore[arg-type]
        if ended:
            break
    assert ended == [45] and handler.problem is not None


def test_a_model_with_broken_weights_is_not_read(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    save_model(tmp_path / "model.pt", network, {})
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    content["model"]["bias"][0] = float("inf")
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ScanError, match=r"model.pt: 1 of 2 weights are nan or infinite: bias. It cannot segment"):
        load_model(tmp_path / "model.pt", network)
