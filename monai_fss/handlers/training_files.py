# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a training leaves: checkpoints to go on from, its best network, and model files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, DiskSaver
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from monai_fss.data import restore, save_best, save_model

if TYPE_CHECKING:
    from monai_fss.engines.trainer import ResumableTrainer

__all__ = ["TrainingFiles"]


class TrainingFiles:
    """Keep all that a training needs to go on bit for bit, and write what came of it.

    Episodes and random numbers are functions of the step (:class:`monai_fss.engines.ResumableTrainer`), so there is no
    random state among it. In ``folder`` there will be ``model.pt``, the network as it is in the end, ``model_best.pt``
    and, where ``checkpoints`` does not say otherwise, ``checkpoints/``: ``checkpoint_<step>.pt``, the newest two, and
    ``best/``.

    Args:
        folder: of the training.
        trainer: of the training; its network, without the wrapper of a distributed training, its optimizer and its
            schedule are saved, and the first of its processes writes the model files (and, by Ignite, the checkpoints).
        evaluator: of the validation; the network with the highest metric ``dice`` is the best one. Default None: there
            is no validation and no ``model_best.pt``.
        checkpoints: folder of the checkpoints.
        save_interval: epochs from one checkpoint to the next. Default 1.
        more: what else changes while it is trained, such as labels that are corrected; with ``state_dict`` and
            ``load_state_dict``.

    Attributes:
        best: Ignite's ``Checkpoint`` of the best network, None without an evaluator.

    Example:
        >>> files.begin(resume=True), trainer.run(), files.finish(settings, "adnet")
    """

    def __init__(
        self,
        *,
        folder: str | Path,
        trainer: ResumableTrainer,
        evaluator: Engine | None = None,
        checkpoints: str | Path | None = None,
        save_interval: int = 1,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.checkpoints = self.folder / "checkpoints" if checkpoints is None else Path(checkpoints)
        self.trainer, self.evaluator = trainer, evaluator
        self.network = _unwrapped(trainer.network)
        self.save_interval = save_interval
        parts = {"optimizer": trainer.optimizer, "scheduler": trainer.lr_scheduler, "trainer": trainer}
        state: dict[str, Any] = {"network": self.network, **parts}
        self.best: Checkpoint | None = None
        if evaluator is not None:
            saver, score = self._saver("best"), Checkpoint.get_default_score_fn("dice")
            self.best = Checkpoint({"model": self.network}, saver, score_name="dice", score_function=score, n_saved=1)
            state["best"] = self.best
        self.state = {**state, **(more or {})}
        self.newest = Checkpoint(self.state, self._saver(), n_saved=2, include_self=True)

    def _saver(self, *names: str) -> DiskSaver:
        return DiskSaver(str(self.checkpoints.joinpath(*names)), create_dir=True, require_empty=False)

    def begin(self, resume: bool = False) -> None:
        """Save from now on, after every handler that the trainer has already; go on from the newest checkpoint.

        Args:
            resume: go on; without a checkpoint the training begins at its beginning. Default: do not look for one.

        Raises:
            ScanError: the checkpoint is of another training, see :func:`monai_fss.data.restore`.
        """
        if resume:
            state = {**self.state, "checkpointer": self.newest}
            restore(self.checkpoints, state, int(self.trainer.state.max_epochs or 0))
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED(every=self.save_interval), self.newest)
        if self.evaluator is not None and self.best is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self.best)

    def finish(self, settings: Mapping[str, Any], bundle: str | None = None) -> None:
        """Write ``model.pt`` and, where a network was best, ``model_best.pt``.

        Args:
            settings: plain values by which inference treats scans as the training did, see
                :func:`monai_fss.data.save_model`.
            bundle: name of the bundle, so that whoever uses the model need not be told. Default: not said.
        """
        if not self.trainer.first:
            return
        save_model(self.folder / "model.pt", self.network, settings, bundle)
        if self.best is not None:
            save_best(self.best, self.folder / "model_best.pt", settings, bundle)


def _unwrapped(network: nn.Module) -> nn.Module:
    return network.module if isinstance(network, DistributedDataParallel) else network
