# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The trainer, its evaluator and its files: by hand, resumed bit for bit, and without what is not asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.handlers import ValidationHandler
from monai.inferers import SimpleInferer
from monai.transforms import Compose, Randomizable, Transform
from monai.utils import set_determinism
from torch import nn
from torch.utils.data import Dataset

from monai_fss.data import EpisodeDataset, EpisodeLoader, read_model
from monai_fss.engines import DiceEvaluator, FewShotEvaluator, FewShotTrainer, ResumableTrainer
from monai_fss.handlers import TrainingFiles
from monai_fss.inferers import FewShotInferer, SupportSet
from monai_fss.networks.nets import ADNet, build_encoder

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


class Draw(Randomizable, Transform):
    """An image, and its half as the label."""

    def __call__(self, data: float) -> dict[str, torch.Tensor]:
        image = torch.tensor(self.R.normal(size=(1, 4, 4, 2)), dtype=torch.float32)
        return {"image": image, "label": image / 2 + data}


class Scans(Dataset):
    """Volumes whose label is where the image is above 0."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image = torch.randn(1, 4, 4, 2, generator=torch.Generator().manual_seed(index))
        return {"image": image, "label": (image > 0).float() * 3}


def dice_evaluator(network: nn.Module) -> DiceEvaluator:
    """Of logits of one way; the background's are 0."""

    def inferer(image: torch.Tensor, network: nn.Module) -> torch.Tensor:
        return torch.cat([torch.zeros_like(image), network(image)], 1)

    return DiceEvaluator(device=CPU, dataset=Scans(), network=network, inferer=inferer, values=[3])


class Training:
    """A small one: a convolution with dropout, momentum, a falling rate, validation after each epoch."""

    def __init__(self, folder: Path, epochs: int = 4, seed: int = 5, **more: Any) -> None:
        set_determinism(0)
        self.network = nn.Sequential(nn.Conv3d(1, 4, 1), nn.Dropout(0.5), nn.Conv3d(4, 1, 1))
        optimizer = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9)
        evaluator = dice_evaluator(self.network)
        self.trainer = ResumableTrainer(
            device=CPU,
            max_epochs=epochs,
            train_data_loader=EpisodeLoader(EpisodeDataset([0.0, 1.0], Compose([Draw()]), 6, seed), 2),
            network=self.network,
            optimizer=optimizer,
            lr_scheduler=torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=12),
            loss_function=nn.MSELoss(),
            inferer=SimpleInferer(),
            train_handlers=[ValidationHandler(interval=1, validator=evaluator)],
            seed=seed,
            **{"first": False, **more},
        )
        self.evaluator = evaluator
        self.files = TrainingFiles(folder=folder, trainer=self.trainer, evaluator=evaluator)

    def run(self, resume: bool = False) -> Training:
        self.files.begin(resume)
        self.trainer.run()
        return self


def weights(training: Training) -> list[torch.Tensor]:
    return [value.clone() for value in training.network.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_it_is_monais_trainer_with_these_seeds_and_this_schedule(tmp_path: Path) -> None:
    """Against a plain loop."""
    trained = Training(tmp_path).run()
    plain = Training(tmp_path / "other")
    data, optimizer, schedule = plain.trainer.data_loader.dataset, plain.trainer.optimizer, plain.trainer.lr_scheduler
    rates = []
    for step in range(12):
        # Epochs of six episodes, two in a batch, from the second on: Ignite counts epochs from 1.
        first = 6 * (step // 3 + 1) + 2 * (step % 3)
        batch = {key: torch.stack([data[first + i][key] for i in range(2)]) for key in ("image", "label")}
        torch.manual_seed(5 + step + 1)
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        nn.functional.mse_loss(plain.network(batch["image"]), batch["label"]).backward()
        optimizer.step()
        schedule.step()
    assert same(weights(trained), weights(plain))
    assert rates == pytest.approx([0.1 * (1 - step / 12) for step in range(12)])
    assert isinstance(trained.trainer, SupervisedTrainer) and trained.trainer.optimizer.param_groups[0]["lr"] == 0


def test_one_that_was_interrupted_ends_with_the_same_weights_and_best(tmp_path: Path) -> None:
    whole = Training(tmp_path / "whole").run()
    Training(tmp_path / "halves", epochs=2).run()
    resumed = Training(tmp_path / "halves").run(resume=True)
    assert same(weights(whole), weights(resumed)) and resumed.trainer.state.iteration == 12
    names = [
        sorted(str(p.relative_to(tmp_path / f)) for p in (tmp_path / f).rglob("*.pt")) for f in ("whole", "halves")
    ]
    assert names[0] == names[1] and {"checkpoints/checkpoint_12.pt", "checkpoints/checkpoint_9.pt"} < set(names[0])
    state = torch.load(tmp_path / "whole" / "checkpoints" / "checkpoint_12.pt", weights_only=True)
    assert set(state) == {"network", "optimizer", "scheduler", "trainer", "best", "checkpointer"}
    done = Training(tmp_path / "halves").run(resume=True)
    assert same(weights(whole), weights(done)) and done.trainer.state.epoch == 4, "nothing is left to do"


def test_model_files_are_the_last_and_the_best_network(tmp_path: Path) -> None:
    training = Training(tmp_path / "run").run()
    training.files.finish({"pixdim": 2.5})
    assert not (tmp_path / "run" / "model.pt").exists(), "another process writes them"
    training.trainer.first = True
    training.files.finish({"pixdim": 2.5})
    last, best = (read_model(tmp_path / "run" / f"{name}.pt") for name in ("model", "model_best"))
    assert last["settings"] == best["settings"] == {"pixdim": 2.5} and last["network"] == "Sequential"
    assert same(weights(training), list(last["model"].values()))
    assert training.files.best is not None and training.files.best.last_checkpoint is not None


def test_without_validation_there_is_no_best_and_more_is_saved(tmp_path: Path) -> None:
    training, more = Training(tmp_path), torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=3.0)
    own: dict[str, Any] = {"checkpoints": tmp_path / "there", "save_interval": 2, "more": {"labels": more}}
    training.files = TrainingFiles(folder=tmp_path / "run", trainer=training.trainer, **own)
    training.run()
    assert training.files.best is None
    assert sorted(p.name for p in (tmp_path / "there").iterdir()) == ["checkpoint_12.pt", "checkpoint_6.pt"]
    more.param_groups[0]["lr"] = 1.0
    training.files.begin(resume=True)
    assert more.param_groups[0]["lr"] == 3.0


@pytest.mark.parametrize(("first", "wanted"), [(True, True), (False, True), (True, False)])
def test_curves_are_drawn_by_the_first_process_where_they_are_wanted(first: bool, wanted: bool, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    Training(tmp_path, 1, first=first, log_dir=tmp_path / "curves" if wanted else None).run()
    assert bool(list(tmp_path.glob("curves/events*"))) == (first and wanted)


def test_dice_of_the_evaluator_by_hand() -> None:
    network = nn.Conv3d(1, 1, 1)
    nn.init.ones_(network.weight)
    nn.init.constant_(network.bias, -0.5)  # type: ignore[arg-type]
    evaluator = dice_evaluator(network)
    evaluator.run()
    images = [Scans()[index]["image"] for index in range(2)]
    pairs = [(image > 0.5, image > 0) for image in images]
    scores = [float(2 * (found & true).sum() / (found.sum() + true.sum())) for found, true in pairs]
    assert evaluator.state.metrics["dice"] == pytest.approx(sum(scores) / 2)


class Labelled(Scans):
    """Slices of 32 x 32, classes 2 and 5; class 5 in the first scan's last slice alone."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if index >= self.count:
            raise IndexError(index)
        label = torch.zeros(1, 32, 32, 3)
        label[:, 4:16, 4:16] = 2
        label[:, 20:28, 8:20, 2 - index :] = 5
        return {"image": label / 5 + 0.1, "label": label}


def few_shot(count: int, **more: Any) -> FewShotEvaluator:
    torch.manual_seed(0)
    network = ADNet(build_encoder("compact", in_channels=1, positions=[])).eval()
    return FewShotEvaluator(device=CPU, dataset=Labelled(count), network=network, **more)


def test_the_first_scan_supports_the_others() -> None:
    evaluator, scans = few_shot(3), Labelled(3)
    support = evaluator.support
    expected = SupportSet.from_volumes([scans[0]])
    assert support is not None and evaluator.values == [2, 5] and torch.equal(support.image, expected.image)
    assert isinstance(evaluator.inferer, FewShotInferer) and len(evaluator.data_loader) == 2
    evaluator.run()
    assert 0 <= evaluator.state.metrics["dice"] <= 1 and evaluator.state.epoch_length == 2
    assert few_shot(2, without=[5]).values == [2]


@pytest.mark.parametrize("count", [0, 1])
def test_without_a_second_labelled_scan_there_is_no_support(count: int) -> None:
    evaluator = few_shot(count)
    assert evaluator.support is None and evaluator.values == [] and len(evaluator.data_loader) == 0


def test_the_support_of_an_episode_is_given_to_the_network() -> None:
    given: dict[str, Any] = {}

    class Network(nn.Linear):
        def forward(self, image: torch.Tensor, **support: torch.Tensor) -> torch.Tensor:
            given.update(support)
            return super().forward(image)

    network = Network(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    batch = {key: torch.full((1, 2), float(i)) for i, key in enumerate(("image", "label", "support_image"))}
    FewShotTrainer(
        device=CPU,
        max_epochs=1,
        train_data_loader=[batch | {"support_label": torch.ones(1, 2)}],
        network=network,
        optimizer=optimizer,
        lr_scheduler=torch.optim.lr_scheduler.ConstantLR(optimizer),
        loss_function=nn.MSELoss(),
        first=False,
    ).run()
    assert given.keys() == {"support_image", "support_label"} and float(given["support_image"][0, 0]) == 2
