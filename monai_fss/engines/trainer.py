# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""MONAI's trainer with what every training here has, so that one that is resumed ends with the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.engines import PrepareBatchExtraInput, SupervisedTrainer
from monai.handlers import LrScheduleHandler, TensorBoardStatsHandler

from monai_fss.handlers.finite_training import FiniteTraining
from monai_fss.handlers.progress import TrainingProgress
from monai_fss.handlers.reseed import Reseed

__all__ = ["FewShotTrainer", "ResumableTrainer"]


class ResumableTrainer(SupervisedTrainer):
    """MONAI's ``SupervisedTrainer``, reseeded at each step, with a schedule of steps, curves and one progress bar.

    Where its batches are a function of their number (:class:`monai_fss.data.EpisodeLoader`), what happens in a step is
    a function of its number: a training that is restored at the start of an epoch ends bit for bit as one that was not
    interrupted. What a checkpoint needs is in :class:`monai_fss.handlers.TrainingFiles`.

    Args:
        lr_scheduler: one of PyTorch's; goes on by one with each step, not with each epoch.
        seed: base of the seeds, see :class:`monai_fss.handlers.Reseed`. Default 0.
        log_dir: folder for TensorBoard's curve of the loss. Default None: none.
        first: whether this is the process, of a distributed training, that draws the bar and the curve. Default: it
            is.
        train_handlers: further handlers, such as MONAI's ``ValidationHandler``; called after the schedule's.
        more: arguments of ``SupervisedTrainer``: device, max_epochs, train_data_loader, network, optimizer,
            loss_function, ...; predictions and losses are not taken apart into single items unless ``decollate`` says
            so.
    """

    def __init__(
        self,
        *,
        lr_scheduler: Any,
        seed: int = 0,
        log_dir: str | Path | None = None,
        first: bool = True,
        train_handlers: Sequence[Any] = (),
        **more: Any,
    ) -> None:
        self.lr_scheduler = lr_scheduler
        self.first = first
        self.finite = FiniteTraining(self)
        handlers: list[Any] = [
            self.finite,
            Reseed(seed),
            LrScheduleHandler(lr_scheduler, print_lr=False, epoch_level=False),
        ]
        handlers += train_handlers
        if log_dir is not None and first:
            handlers.append(TensorBoardStatsHandler(log_dir=str(log_dir), tag_name="loss", output_transform=_loss))
        handlers.append(TrainingProgress(disable=not first))
        super().__init__(train_handlers=handlers, **{"decollate": False, **more})

    def run(self) -> None:  # type: ignore[override]  # as MONAI's Workflow, which takes no arguments either
        """Train up to ``max_epochs``; nothing is done where a checkpoint has brought it there.

        Raises:
            FloatingPointError: the loss or the weights are nan or infinite, see
                :class:`monai_fss.handlers.FiniteTraining`.
        """
        if self.state.epoch < self.state.max_epochs:
            super().run()
        if self.finite.problem is not None:
            raise FloatingPointError(self.finite.problem)


class FewShotTrainer(ResumableTrainer):
    """:class:`ResumableTrainer` of a :class:`monai_fss.networks.nets.FewShotNet`, whose episodes bring their support.

    A batch has ``image`` (B, C, *spatial) and ``label`` (B, 1, *spatial), the query, and ``support_image``
    (B, S, C, *spatial) and ``support_label`` (B, S, 1, *spatial), which the network is given by these names.
    """

    def __init__(self, **more: Any) -> None:
        support = {key: key for key in ("support_image", "support_label")}
        super().__init__(**{"prepare_batch": PrepareBatchExtraInput(support), **more})


def _loss(output: Any) -> Any:
    return output["loss"]
