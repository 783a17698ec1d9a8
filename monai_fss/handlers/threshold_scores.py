# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How much better ADNet would be with another threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from monai_fss.inferers import way_probabilities
from monai_fss.metrics import strict_dice

__all__ = ["ThresholdScores"]


class ThresholdScores:
    """Handler of an evaluator: Dice of each class by itself, for thresholds T + offset (Fig. 7 of the ADNet paper).

    A foreground probability p is 1 / (1 + exp(kappa (S - T))), so S < T + offset wherever p exceeds
    1 / (1 + exp(kappa offset)). Measured on the network's grid.

    Args:
        offsets: to the learned threshold T.
        kappa: steepness of the network's soft threshold.
        values: label value of each way.
    """

    def __init__(self, offsets: Sequence[float] | np.ndarray, kappa: float, values: Sequence[int]) -> None:
        self.cuts = [1 / (1 + np.exp(kappa * offset)) for offset in offsets]
        self.values = [int(value) for value in values]
        self.scores: list[list[float]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator; its output has logits ``pred`` and the ``label`` on the same grid."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Score the scans of this iteration."""
        outputs: Any = engine.state.output
        for output in outputs:
            truth = torch.as_tensor(output["label"])[0].cpu()
            for probability, value in zip(way_probabilities(output["pred"]), self.values, strict=True):
                known = truth == value
                self.scores.append([strict_dice(probability > cut, known) for cut in self.cuts])

    def means(self) -> np.ndarray:
        """(len(offsets),), fractions: the mean over scans and classes, without those that show nothing of a class."""
        return np.nanmean(np.array(self.scores), axis=0)
