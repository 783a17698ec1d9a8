# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A training whose loss or weights are no numbers any more ends there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from ignite.engine import Engine, Events

if TYPE_CHECKING:
    from monai.engines import SupervisedTrainer

__all__ = ["FiniteTraining"]

SKIPPED = 25
"""So many losses in a row that are no numbers are borne in mixed precision on a GPU, where its scaler leaves such steps
out and then works with smaller numbers; it halves them each time, from 2^16."""


class FiniteTraining:
    """
    Stop a training at the first loss that is not finite, or at the end of an epoch whose weights are not, before
    anything is validated or written.

    Ignite's ``TerminateOnNan`` ends a training as if it were done; here :attr:`problem` says that it is not, and
    :class:`monai_fss.engines.ResumableTrainer` raises it.

    Args:
        trainer: its network is looked at, and the learning rate of its optimizer is told.

    Attributes:
        problem: what happened, in words; None where all is well.
    """

    def __init__(self, trainer: SupervisedTrainer) -> None:
        self.trainer = trainer
        self.problem: str | None = None
        self.in_a_row = 0

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Look at the loss, and after the last step of an epoch at the weights."""
        output: Any = engine.state.output
        loss = float((output[0] if isinstance(output, list) else output)["loss"].detach())
        self.in_a_row = 0 if math.isfinite(loss) else self.in_a_row + 1
        step, rate = engine.state.iteration, self.trainer.optimizer.param_groups[0]["lr"]
        what = f"loss is {loss}" if self.in_a_row >= self._borne() else ""
        if not what and step % int(engine.state.epoch_length or 1) == 0 and not self._finite():
            what = "weights of the network are nan or infinite"
        if what:
            self.problem = (
                f"step {step}: the {what}, so the training has failed. No model was written; checkpoints of before are "
                f"kept. Train anew with a lower learning_rate (it was {rate:.3g} here), and look at the scans of the "
                "training."
            )
            engine.terminate()

    def _borne(self) -> int:
        scaler = getattr(self.trainer, "scaler", None)
        return SKIPPED if scaler is not None and scaler.is_enabled() else 1

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(value).all()) for value in self.trainer.network.state_dict().values())
