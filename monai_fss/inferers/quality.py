# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Label-free quality: does the result, used as a support, lead back to the known label?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from monai_fss.metrics import strict_dice
from monai_fss.networks.nets import FewShotNet

from .protocols import EP2, Item
from .volume import FewShotVolumeInferer

__all__ = ["ReverseAccuracy", "reverse_accuracy"]


def reverse_accuracy(
    network: FewShotNet,
    query: Item,
    support: Sequence[Item],
    values: Sequence[int],
    slices: int | str = "middle",
    batch: int = 8,
    windows: FewShotVolumeInferer | None = None,
) -> dict[int, float]:
    """Reverse accuracy of a segmented query, for each class (Valindria et al. 2017, https://arxiv.org/abs/1702.03407).

    The query with its *predicted* label becomes the support set and segments the support scans, whose label is known.
    A result that leads back to it (Dice 1) is likely to be right. It costs one more encoder pass over the support.

    Args:
        network: its own condition is left as it was.
        query: preprocessed ``image`` (C, H, W, D) and the result as ``label`` (1, H, W, D), on the same grid.
        support: preprocessed labelled scans.
        values: label values of the classes.
        slices: rule for the slices of the query that become support, see :func:`select_slices`.
        batch, windows: see :class:`monai_fss.inferers.Protocol`.

    Returns:
        Dice for each value, the mean over support scans that show the class, between 0 and 1; 0 where nothing was
        found in the query.
    """
    label = torch.as_tensor(query["label"])
    found = [int(v) for v in values if bool((label == v).any())]
    scores: dict[int, list[float]] = {int(v): [] for v in values}
    for scan in support if found else []:
        probability = EP2(slices, batch, windows)(network, [query], scan, found)
        known = torch.as_tensor(scan["label"])[0]
        best, way = probability.max(0)
        for index, value in enumerate(found):
            truth = (known == value).numpy()
            if truth.any():
                scores[value].append(strict_dice(((way == index) & (best > 0.5)).numpy(), truth))
    return {value: sum(s) / len(s) if s else 0.0 for value, s in scores.items()}


class ReverseAccuracy:
    """:func:`reverse_accuracy` for what an inference evaluator puts out.

    Args:
        network, support, values, slices, windows: see there.
    """

    def __init__(
        self,
        network: FewShotNet,
        support: Sequence[Item],
        values: Sequence[int],
        slices: int | str = "middle",
        windows: FewShotVolumeInferer | None = None,
    ) -> None:
        self.network = network
        self.support = support
        self.values = values
        self.slices = slices
        self.windows = windows

    def __call__(self, output: Mapping[str, Any]) -> dict[int, float]:
        """Score one scan: ``image`` as preprocessed, and the result ``working`` (1, H, W, D) on the same grid."""
        query = {"image": output["image"].as_tensor().cpu(), "label": output["working"].cpu()}
        return reverse_accuracy(self.network, query, self.support, self.values, self.slices, windows=self.windows)
