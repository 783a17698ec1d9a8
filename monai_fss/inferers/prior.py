# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A trained few-shot network and an atlas together: where it is, and what it looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from monai.data import MetaTensor, decollate_batch
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type

from monai_fss.networks.nets import FewShotNet
from monai_fss.registration import AppearanceRefinement

from .atlas import Atlas
from .protocols import Item, Protocol

__all__ = ["PriorInferer", "PriorProtocol", "with_weight"]

LARGEST = 4.0  # log-odds: a network that is sure of itself must not overrule any distance


def with_weight(settings: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """Arguments of an :class:`Atlas` whose refinement gives a network's log-odds a weight.

    Raises:
        ValueError: the weight is negative, or the refinement, which does the combining, is switched off.
    """
    if weight < 0:
        raise ValueError(f"the weight of the network must be at least 0, got {weight}.")
    refinement = settings.get("refinement", AppearanceRefinement())
    if refinement is None:
        raise ValueError("the network's say is added in the refinement: leave it on to use a prior.")
    return {**settings, "refinement": replace(refinement, evidence_weight=weight)}


def combine(atlas: Atlas, image: MetaTensor, probabilities: torch.Tensor) -> torch.Tensor:
    """Weighted log-odds of the registered prior (distance to its boundary), the network and the intensities.

    The two-stage paper multiplies probabilities instead, by which a prior of 0 is final. Here the distance to the
    propagated boundary is a floor under it: within ``zone`` mm anything can still be found.

    Args:
        atlas: with the labelled scans.
        image: the query (C, H, W, D), channel 0 scaled to 0..1.
        probabilities: the network's, each class against the background (W, H, W, D).

    Returns:
        probabilities (W, H, W, D).
    """
    odds = torch.logit(probabilities.float().cpu(), eps=1e-6).clamp(-LARGEST, LARGEST)
    return atlas(image.cpu(), MetaTensor(odds, affine=image.affine)).as_tensor()


class PriorInferer(Inferer):
    """A few-shot inferer whose answer is combined with an atlas.

    Args:
        inferer: gives logits (B, 1 + W, H, W, D), such as :class:`monai_fss.inferers.FewShotInferer`.
        atlas: of the same classes in the same order.
    """

    def __init__(self, inferer: Inferer, atlas: Atlas) -> None:
        self.inferer = inferer
        self.atlas = atlas

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, C, H, W, D) MetaTensor -> logits (B, 1 + W, H, W, D), background 0."""
        if not isinstance(inputs, MetaTensor):
            raise TypeError("the atlas needs to know where the scan lies: give a MetaTensor, as LoadImage makes it.")
        logits = torch.as_tensor(self.inferer(inputs, network))
        results = []
        for image, answer in zip(decollate_batch(inputs), logits, strict=True):
            both = combine(self.atlas, image, torch.sigmoid(answer[1:] - answer[:1]))
            odds = torch.logit(both, eps=1e-6)
            results.append(torch.cat([torch.zeros_like(odds[:1]), odds]))
        return convert_to_dst_type(torch.stack(results), inputs)[0]


class PriorProtocol(Protocol):
    """A protocol whose answer is combined with an atlas of the whole labelled scan.

    Args:
        protocol: EP1 or EP2; with EP1 the combined answer too is 0 outside the slices that it is told.
        settings: arguments of :class:`Atlas`.
        weight: of the network's log-odds.
    """

    def __init__(self, protocol: Protocol, settings: Mapping[str, Any], weight: float) -> None:
        super().__init__(protocol.batch)
        self.protocol = protocol
        self.name = protocol.name
        self.settings = with_weight(settings, weight)

    @property
    def labelled_slices(self) -> str:
        """All: the atlas uses them."""
        return "all"

    def __call__(
        self, network: FewShotNet, support: Sequence[Item], query: Item, values: Sequence[int]
    ) -> torch.Tensor:
        """Segment by the network, then combine."""
        alone = self.protocol(network, support, query, values)
        both = combine(Atlas(support, values, **self.settings), query["image"], alone)
        if self.name == "ep1":
            truth = torch.as_tensor(query["truth"])[0]
            for way, value in enumerate(values):
                both[way, ..., ~(truth == value).flatten(0, 1).any(0)] = 0
        return both
