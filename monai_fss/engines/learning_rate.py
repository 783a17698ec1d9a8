# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How the learning rate falls."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, PolynomialLR, StepLR

__all__ = ["falling_rate"]

POWER, FACTOR = 0.9, 0.9


def falling_rate(optimizer: Optimizer, steps: int, steps_per_epoch: int = 1, epochs: int | None = None) -> LRScheduler:
    """A schedule that goes on with each step: to 0 at the end of a training, or down by a tenth every few epochs.

    Args:
        optimizer: whose learning rate falls.
        steps: of the whole training.
        steps_per_epoch: Default 1.
        epochs: after every so many the rate is multiplied by 0.9; PRNet's paper (Lei et al., arXiv:2111.10773, section
            4.2) has 10. Default: it falls with (1 - step / steps) to the power of 0.9.

    Raises:
        ValueError: a number of less than 1.
    """
    if min(steps, steps_per_epoch, 1 if epochs is None else epochs) < 1:
        raise ValueError(
            f"steps {steps}, steps_per_epoch {steps_per_epoch} and epochs {epochs} must be at least 1; epochs may be "
            "None, for a rate that falls to 0."
        )
    if epochs is None:
        return PolynomialLR(optimizer, total_iters=steps, power=POWER)
    return StepLR(optimizer, step_size=epochs * steps_per_epoch, gamma=FACTOR)
