# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Progressive label correction: where a network is sure of another class than the label, the label gives way."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils import convert_to_tensor
from torch import nn

from monai_fss.data import NoisyLabels

__all__ = ["LabelCorrection"]


class LabelCorrection:
    """After an epoch, flip labels that the network contradicts with confidence (PLC).

    A voxel gets the network's class where that differs from its label and has a probability above delta; delta falls
    from epoch to epoch. Y. Zhang et al., "Learning with feature-dependent label noise: a progressive approach", ICLR
    2021, as PRNet uses it (section 3.4).

    Args:
        labels: the labels, which are corrected in place.
        items: the training scans, each with ``image`` (C, H, W, D) and its name, without random transforms.
        network: gives logits (B, classes, H, W, D); class i stands for ``values[i]``.
        inferer: MONAI inferer, called with a batch of one and the network.
        values: label value of each class, the background first. Default: 0, 1, 2, ...
        delta: threshold of the first correction. Default 0.95, PRNet's paper (its code: 0.99).
        decay: factor of the threshold from one to the next. Default 0.99.
        floor: where it stops falling. Default 0.85, the paper's.
        class_floors: floors of single values instead, such as {0: 0.99}: in the published code the background's is
            0.99 and that of the others 0.95.
        start_epoch: the first epoch after which labels are corrected. Default 1.
        name_key: where an item has its name.

    The labels and this are to be among what a checkpoint saves, and this is to be attached before the checkpoint's
    handler: else a training that is resumed lacks the correction after the epoch of the checkpoint.

    Attributes:
        history: for each correction a dict of ``epoch``, ``threshold`` and ``changed``, voxels by case.

    Raises:
        ValueError: a threshold outside (0, 1), or a floor above delta.
    """

    def __init__(
        self,
        labels: NoisyLabels,
        items: Iterable[Mapping[str, Any]],
        network: nn.Module,
        inferer: Callable[[torch.Tensor, nn.Module], torch.Tensor],
        values: list[int] | None = None,
        delta: float = 0.95,
        decay: float = 0.99,
        floor: float = 0.85,
        class_floors: Mapping[int, float] | None = None,
        start_epoch: int = 1,
        name_key: str = "case",
    ) -> None:
        floors = [floor, *(class_floors or {}).values()]
        if not 0 < delta < 1 or not 0 < decay <= 1 or min(floors) <= 0 or max(floors) >= 1 or floor > delta:
            raise ValueError(
                f"delta {delta}, floor {floor} and class_floors {dict(class_floors or {})} must lie in (0, 1), decay "
                f"{decay} in (0, 1], and floor not above delta."
            )
        self.labels = labels
        self.items = items
        self.network = network
        self.inferer = inferer
        self.values = values
        self.delta = delta
        self.decay = decay
        self.floor = floor
        self.class_floors = dict(class_floors or {})
        self.start_epoch = start_epoch
        self.name_key = name_key
        self.history: list[dict[str, Any]] = []
        self.logger = logging.getLogger(__name__)

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def state_dict(self) -> dict[str, Any]:
        """The history, plain values. The labels have their own, see :meth:`monai_fss.data.NoisyLabels.state_dict`."""
        return {"history": copy.deepcopy(self.history)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the history that :meth:`state_dict` gave."""
        self.history = copy.deepcopy(list(state["history"]))

    def threshold(self, epoch: int, value: int) -> float:
        """What a probability must exceed for a voxel to become of ``value``: a function of the epoch alone."""
        falling = self.delta * self.decay ** (epoch - self.start_epoch)
        return max(falling, self.class_floors.get(value, self.floor))

    def __call__(self, engine: Engine) -> None:
        """Correct the labels of all items after an epoch."""
        epoch = engine.state.epoch
        if epoch < self.start_epoch:
            return
        mode = self.network.training
        self.network.eval()
        try:
            with torch.no_grad():
                changed = {str(item[self.name_key]): self._correct(item, epoch) for item in self.items}
        finally:
            self.network.train(mode)
        self.history.append({"epoch": epoch, "threshold": self.threshold(epoch, -1), "changed": changed})
        self.logger.info(
            "epoch %d: %d voxels of %d labels corrected above %.3f",
            epoch,
            sum(changed.values()),
            len(changed),
            self.threshold(epoch, -1),
        )

    def _correct(self, item: Mapping[str, Any], epoch: int) -> int:
        device = next(self.network.parameters()).device
        image = convert_to_tensor(item["image"], device=device, track_meta=False)
        logits = self.inferer(image[None], self.network)
        confidence, winner = torch.softmax(logits.float()[0], 0).max(0)
        values = self.values or list(range(logits.shape[1]))
        limits = torch.tensor([self.threshold(epoch, value) for value in values], device=device)
        sure = (confidence > limits[winner]).cpu()[None]
        predicted = torch.tensor(values, device=device)[winner].cpu()[None]
        return self.labels.correct(str(item[self.name_key]), sure, predicted)
