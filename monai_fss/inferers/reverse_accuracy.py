# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Label-free quality: does the result, used as a support, lead back to the known label?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from monai_fss.metrics import strict_dice
from monai_fss.networks.nets import FewShotNet

from .few_shot import FewShotInferer, FewShotVolumeInferer, conditioned
from .support import SupportSet, support_of

Item = Mapping[str, torch.Tensor]

__all__ = ["ReverseAccuracy", "reverse_accuracy"]


def reverse_accuracy(
    network: FewShotNet,
    query: Item,
    support: Sequence[Item],
    values: Sequence[int],
    slices: int | str = "middle",
    inferer: FewShotInferer | None = None,
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
        inferer: runs the network, see :meth:`FewShotInferer.segment`. Default: a new one of the kind it takes.

    Returns:
        Dice for each value, the mean over support scans that show the class, between 0 and 1; 0 where nothing was
        found in the query.
    """
    label = torch.as_tensor(query["label"])
    found = [int(v) for v in values if bool((label == v).any())]
    scores: dict[int, list[float]] = {int(v): [] for v in values}
    if not found:
        return {value: 0.0 for value in scores}
    run = inferer or (FewShotVolumeInferer() if getattr(network, "spatial_dims", 2) == 3 else FewShotInferer())
    shown = support_of(network, [query], found, slices)
    for scan in support:
        probability = _probabilities(network, run, shown, scan["image"])
        known = torch.as_tensor(scan["label"])[0]
        best, way = probability.max(0)
        for index, value in enumerate(found):
            truth = (known == value).numpy()
            if truth.any():
                scores[value].append(strict_dice(((way == index) & (best > 0.5)).numpy(), truth))
    return {value: sum(s) / len(s) if s else 0.0 for value, s in scores.items()}


@torch.no_grad()
def _probabilities(
    network: FewShotNet, inferer: FewShotInferer, shown: SupportSet, image: torch.Tensor
) -> torch.Tensor:
    """(W, H, W, D), of each way against the background, on the CPU."""
    device = next(network.parameters()).device
    with conditioned(network, shown) as net:
        logits = inferer.segment(torch.as_tensor(image).as_subclass(torch.Tensor)[None].to(device), net)[0].float()
    return torch.sigmoid(logits[1:] - logits[:1]).cpu()


class ReverseAccuracy:
    """:func:`reverse_accuracy` for what an inference evaluator puts out.

    Args:
        network, support, values, slices, inferer: see there.
    """

    def __init__(
        self,
        network: FewShotNet,
        support: Sequence[Item],
        values: Sequence[int],
        slices: int | str = "middle",
        inferer: FewShotInferer | None = None,
    ) -> None:
        self.network = network
        self.support = support
        self.values = values
        self.slices = slices
        self.inferer = inferer

    def __call__(self, output: Mapping[str, Any]) -> dict[int, float]:
        """Score one scan: ``image`` as preprocessed, and the result ``working`` (1, H, W, D) on the same grid."""
        query = {"image": output["image"].as_tensor().cpu(), "label": output["working"].cpu()}
        return reverse_accuracy(self.network, query, self.support, self.values, self.slices, self.inferer)
