# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Label correction: which voxels flip, when, and what is kept."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from monai.data import MetaTensor
from torch import nn

from monai_fss.data import LoadNoisyLabel, NoisyLabels, restore
from monai_fss.handlers import LabelCorrection

SHAPE = (1, 3, 4, 2)


class Fixed(nn.Module):
    """Probabilities that the image says: of class 1, in its first channel, of class 2 in its second."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.modes: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append(self.training)
        p = torch.cat([1 - x.sum(1, keepdim=True), x], dim=1).clamp(1e-6, 1)
        return p.log() * self.weight


def inferer(image: torch.Tensor, network: nn.Module) -> torch.Tensor:
    return network(image)


def probabilities(
    first: dict[tuple[int, ...], float], second: dict[tuple[int, ...], float] | None = None
) -> torch.Tensor:
    image = torch.zeros(2, *SHAPE[1:])
    for channel, points in enumerate((first, second or {})):
        for place, p in points.items():
            image[(channel, *place)] = p
    return image


def epoch(number: int) -> Engine:
    engine = Engine(lambda *_: None)
    engine.state.epoch = number
    return engine


def originals() -> dict[str, torch.Tensor]:
    label = torch.zeros(SHAPE, dtype=torch.int16)
    label[0, 0] = 3
    return {"a": MetaTensor(label, affine=torch.diag(torch.tensor([2.0, 1.0, 3.0, 1.0]))), "b": label.clone()}


def test_only_what_is_contradicted_with_confidence_flips() -> None:
    labels = NoisyLabels(originals())
    image = probabilities({(0, 0, 0): 0.97, (1, 0, 0): 0.96, (1, 1, 0): 0.90}, {(0, 1, 0): 0.99})
    image[0, 0, 2:] = 0.94  # of row 0, which is labelled 3, the network is not sure
    image[0, 0, 0, 1], image[0, 0, 1, 1] = 0.5, 0.5
    network = Fixed().train()
    correction = LabelCorrection(labels, [{"case": "a", "image": image}], network, inferer, values=[0, 3, 5])
    correction(epoch(1))
    expected = originals()["a"].as_tensor().clone()
    expected[0, 1, 0, 0] = 3  # 0.96 above 0.95
    expected[0, 0, 1, 0] = 5
    assert torch.equal(labels["a"], expected) and labels["a"].dtype == torch.int16
    assert torch.equal(labels.originals["a"].as_tensor(), originals()["a"].as_tensor())
    assert correction.history == [{"epoch": 1, "threshold": 0.95, "changed": {"a": 2}}]
    assert network.modes == [False] and network.training


def test_the_threshold_falls_to_its_floor() -> None:
    correction = LabelCorrection(NoisyLabels({}), [], Fixed(), inferer, start_epoch=3, class_floors={0: 0.94})
    assert correction.threshold(3, 1) == 0.95 and correction.threshold(4, 1) == pytest.approx(0.9405)
    assert correction.threshold(14, 1) == pytest.approx(0.95 * 0.99**11) and correction.threshold(15, 1) == 0.85
    assert correction.threshold(40, 0) == 0.94
    labels = NoisyLabels(originals())
    items = [{"case": "b", "image": probabilities({(2, 0, 0): 0.92})}]
    correction = LabelCorrection(labels, items, Fixed(), inferer, values=[0, 1, 2], start_epoch=2)
    for number in range(1, 6):
        correction(epoch(number))
        assert labels["b"][0, 2, 0, 0] == 0
    correction(epoch(6))  # 0.95 x 0.99^4 = 0.9126
    assert labels["b"][0, 2, 0, 0] == 1 and [h["epoch"] for h in correction.history] == [2, 3, 4, 5, 6]


def test_floors_of_single_classes() -> None:
    """A background that is hard to win back: label 3 in row 0 stays where the network says background with 0.97."""
    image = probabilities({(0, y, z): 0.03 for y in range(4) for z in range(2)})
    for floors, gone in ((None, True), ({0: 0.99}, False)):
        labels = NoisyLabels(originals())
        correction = LabelCorrection(
            labels, [{"case": "a", "image": image}], Fixed(), inferer, values=[0, 3, 5], class_floors=floors
        )
        correction(epoch(1))
        assert bool((labels["a"][0, 0] == 0).all()) == gone


def test_corrected_labels_lie_beside_the_originals_and_are_not_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = NoisyLabels(originals(), tmp_path)
    items = [{"case": c, "image": probabilities({(2, 2, 1): 0.99} if c == "a" else {})} for c in "ab"]
    items[1]["image"][0, 0] = 1.0
    items[0]["image"][0, 0] = 1.0
    with caplog.at_level(logging.INFO):
        LabelCorrection(labels, items, Fixed(), inferer, values=[0, 3, 5])(epoch(1))
    assert "epoch 1: 1 voxels of 2 labels corrected above 0.950" in caplog.text
    assert [file.name for file in tmp_path.iterdir()] == ["a.nii.gz"]
    saved = nib.Nifti1Image.from_filename(tmp_path / "a.nii.gz")
    assert np.array_equal(np.asarray(saved.dataobj), labels["a"][0].numpy())
    assert np.allclose(saved.affine, np.diag([2, 1, 3, 1]))
    assert torch.equal(NoisyLabels(originals(), tmp_path)["a"], originals()["a"].as_tensor())


def test_a_resumed_training_goes_on_with_the_labels_of_the_checkpoint(tmp_path: Path) -> None:
    def setting() -> tuple[Engine, LabelCorrection, Checkpoint]:
        labels = NoisyLabels(originals(), tmp_path / "labels")
        items = [{"case": "a", "image": probabilities({(0, 0, 0): 0.97, (2, 1, 0): 0.946, (2, 2, 0): 0.94})}]
        items[0]["image"][0, 0] = 1.0
        correction = LabelCorrection(labels, items, Fixed(), inferer, values=[0, 3, 5])
        trainer = Engine(lambda *_: None)
        correction.attach(trainer)
        objects = {"trainer": trainer, "labels": labels, "correction": correction}
        checkpoint = Checkpoint(objects, DiskSaver(str(tmp_path / "checkpoints"), require_empty=False), n_saved=None)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, checkpoint)
        return trainer, correction, checkpoint

    trainer, first, _ = setting()
    trainer.run([0], max_epochs=3)
    assert [sum(h["changed"].values()) for h in first.history] == [0, 1, 1]  # thresholds 0.95, 0.9405, 0.9311
    (tmp_path / "checkpoints" / "checkpoint_3.pt").unlink()
    again, second, checkpoint = setting()
    assert not torch.equal(second.labels["a"], first.labels["a"])
    assert restore(tmp_path / "checkpoints", checkpoint.to_save, 3) == 2
    assert second.history == first.history[:2] and second.labels["a"].dtype == torch.int16
    assert second.labels["a"][0, 2, 1, 0] == 3 and second.labels["a"][0, 2, 2, 0] == 0
    saved = nib.Nifti1Image.from_filename(tmp_path / "labels" / "a.nii.gz")
    assert np.array_equal(np.asarray(saved.dataobj), second.labels["a"][0].numpy()), "not that of epoch 3"
    assert not (tmp_path / "labels" / "b.nii.gz").exists()
    again.run([0])
    assert torch.equal(second.labels["a"], first.labels["a"]) and second.history == first.history


def test_items_are_given_the_present_label() -> None:
    labels = NoisyLabels(originals())
    load = LoadNoisyLabel(labels)
    before = load({"case": "a", "image": 1})
    labels.correct("a", torch.ones(SHAPE, dtype=torch.bool), torch.full(SHAPE, 7))
    after = load({"case": "a"})
    assert (after["label"] == 7).all() and not (before["label"] == 7).any() and before["image"] == 1
    assert torch.equal(after["label"].affine, originals()["a"].affine)


@pytest.mark.parametrize("bad", [{"delta": 1.0}, {"decay": 0.0}, {"floor": 0.97}, {"class_floors": {1: 1.0}}])
def test_arguments_are_checked(bad: dict) -> None:
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\), decay .* floor not above delta"):
        LabelCorrection(NoisyLabels({}), [], Fixed(), inferer, **bad)
