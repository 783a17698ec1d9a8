# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One progress bar for a whole training."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine, Events
from tqdm.auto import tqdm

__all__ = ["TrainingProgress"]


class TrainingProgress:
    """A bar over all iterations of a training, with the smoothed loss and the time left.

    Ignite's own bar is made anew for each epoch; epochs are short here (they are the places to resume from).

    Args:
        smoothing: weight of the newest loss in the running mean. Default 0.05, about the last 20 iterations.
        disable: show nothing.
    """

    def __init__(self, smoothing: float = 0.05, disable: bool = False) -> None:
        if not 0 < smoothing <= 1:
            raise ValueError(f"smoothing must be in (0, 1], got {smoothing}.")
        self.smoothing = smoothing
        self.disable = disable
        self.loss: float | None = None
        self.bar: tqdm | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._close)
        engine.add_event_handler(Events.TERMINATE, self._close)

    def _start(self, engine: Engine) -> None:
        total = int(engine.state.max_epochs or 0) * int(engine.state.epoch_length or 0)
        self.bar = tqdm(total=total, initial=engine.state.iteration, desc="training", unit="step", disable=self.disable)

    def __call__(self, engine: Engine) -> None:
        """Advance the bar."""
        output: Any = engine.state.output
        loss = float((output[0] if isinstance(output, list) else output)["loss"].detach())
        self.loss = loss if self.loss is None else self.loss + self.smoothing * (loss - self.loss)
        if self.bar is not None:
            self.bar.set_postfix(loss=f"{self.loss:.4f}", refresh=False)
            self.bar.update()

    def _close(self, engine: Engine) -> None:
        if self.bar is not None:
            self.bar.close()
