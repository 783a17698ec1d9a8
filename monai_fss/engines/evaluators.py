# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Validation during a training: the mean Dice of whole scans, by which the best network is kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ignite.metrics import Average
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from monai.handlers import TensorBoardStatsHandler
from monai.transforms import Compose, ToDeviced
from torch.utils.data import Dataset, Subset

from monai_fss import metrics
from monai_fss.inferers import FewShotInferer, FewShotVolumeInferer, NativeLabeld, SupportSet, support_of
from monai_fss.transforms import WayProbabilitiesd, WaysToLabeld

__all__ = ["DiceEvaluator", "FewShotEvaluator"]


class DiceEvaluator(SupervisedEvaluator):
    """MONAI's ``SupervisedEvaluator`` of scans, one after the other, whose metric ``dice`` is the mean strict Dice.

    Args:
        dataset: items with ``image`` (C, H, W, D) and ``label`` (1, H, W, D).
        network: is given to the inferer.
        inferer: from images to logits (B, 1 + W, H, W, D), the background first.
        values: label value of each way; a voxel is of its most probable way, see
            :class:`monai_fss.transforms.WaysToLabeld`.
        on_grid: the inferer's logits are on a grid of its own, and are brought to the image's. Default: they are there.
        log_dir: folder for TensorBoard's curve of the metric. Default None: none.
        val_handlers: further handlers. Default: none.
        more: further arguments of ``SupervisedEvaluator``, such as ``device`` and ``amp``.
    """

    def __init__(
        self,
        *,
        dataset: Dataset,
        network: Any,
        inferer: Any,
        values: Sequence[int],
        on_grid: bool = False,
        log_dir: str | Path | None = None,
        val_handlers: Sequence[Any] = (),
        **more: Any,
    ) -> None:
        self.values = [int(value) for value in values]
        labels: Any = Compose([WayProbabilitiesd("pred"), WaysToLabeld("pred", self.values)])
        if on_grid:
            labels = Compose(
                [ToDeviced(["image", "label", "pred"], "cpu"), NativeLabeld("pred", self.values, on_image=True)]
            )
        handlers = [] if log_dir is None else [TensorBoardStatsHandler(log_dir=str(log_dir), iteration_log=False)]
        super().__init__(
            val_data_loader=DataLoader(dataset, batch_size=1),
            network=network,
            inferer=inferer,
            postprocessing=labels,
            key_val_metric={"dice": Average(output_transform=self._dice)},
            val_handlers=[*handlers, *val_handlers],
            **more,
        )

    def _dice(self, output: Any) -> float:
        return metrics.mean_dice(output, self.values)


class FewShotEvaluator(DiceEvaluator):
    """:class:`DiceEvaluator` of a few-shot network: the first labelled scan is the support, the others are segmented.

    Of the support the middle slice of each class is labelled (EP2 of Hansen et al. 2022), for a network that segments
    volumes too, which is shown the scan whole.

    Args:
        dataset: items as above, the support first. With none or one there is nothing to validate by, and the evaluator
            must not be run.
        network: a :class:`monai_fss.networks.nets.FewShotNet`; its ``spatial_dims`` decide how it is shown the support
            and what it is run over, slices or windows of volumes.
        without: label values that are left out: those of the tests in setting 2, by which the best network must not
            be chosen. Default: none.
        more: as above, but for ``inferer`` and ``values``, which follow from the support.

    Attributes:
        support: the support set, None where there is nothing to validate by.
    """

    def __init__(self, *, dataset: Any, network: Any, without: Collection[int] | None = None, **more: Any) -> None:
        count = len(dataset)
        self.support: SupportSet | None = None
        if count > 1:
            self.support = support_of(network, [dataset[0]], without=without)
        volumes = getattr(network, "spatial_dims", 2) == 3
        super().__init__(
            dataset=Subset(dataset, range(1, count)),
            network=network,
            inferer=(FewShotVolumeInferer if volumes else FewShotInferer)(self.support),
            values=self.support.values if self.support else (),
            **more,
        )
