# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Randomness that depends on the iteration alone."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events

__all__ = ["Reseed"]


class Reseed:
    """Seed torch with ``seed + iteration`` before each iteration.

    With counter-based episodes (:class:`monai_fss.data.EpisodeDataset`) a resumed training then equals an
    uninterrupted one bit for bit, dropout included, and no random state needs saving.

    Args:
        seed: base of the series.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = int(seed)

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed for the iteration that starts."""
        torch.manual_seed(self.seed + engine.state.iteration)
