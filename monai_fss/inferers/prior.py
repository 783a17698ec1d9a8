# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A trained few-shot network and an atlas together: where it is, and what it looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from monai_fss.networks.nets import FewShotNet
from monai_fss.registration import AppearanceRefinement

from .atlas import Atlas
from .atlas_inferer import AtlasInferer
from .protocols import Item, Protocol
from .scans import each_scan

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


def as_evidence(image: MetaTensor, probabilities: torch.Tensor) -> MetaTensor:
    """Log-odds of each class (W, H, W, D) from a network's probabilities, bounded, on the grid of the scan."""
    odds = torch.logit(probabilities.float().cpu(), eps=1e-6).clamp(-LARGEST, LARGEST)
    return MetaTensor(odds, affine=image.affine)


class PriorInferer(AtlasInferer):
    """A few-shot inferer whose answer is combined with an atlas.

    The refinement of the atlas adds weighted log-odds: of the registered prior (distance to its boundary), of the
    network and of the intensities. The two-stage paper multiplies probabilities instead, by which a prior of 0 is
    final. Here the distance to the propagated boundary is a floor under it: within ``zone`` mm anything can still be
    found.

    Args:
        inferer: gives logits (B, 1 + W, H, W, D), such as :class:`monai_fss.inferers.FewShotInferer`.
        atlas: of the same classes in the same order.
    """

    def __init__(self, inferer: Inferer, atlas: Atlas) -> None:
        super().__init__(atlas)
        self.inferer = inferer

    def evidence(self, inputs: MetaTensor, network: Any) -> Sequence[MetaTensor | None]:
        """The network's say."""
        logits = torch.as_tensor(self.inferer(inputs, network))
        return [
            MetaTensor((answer[1:] - answer[:1]).float().cpu().clamp_(-LARGEST, LARGEST), affine=image.affine)
            for image, answer in zip(each_scan(inputs), logits, strict=True)
        ]


class PriorProtocol(Protocol):
    """A protocol whose answer is combined with an atlas of the whole labelled scan.

    Args:
        protocol: EP1 or EP2.
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
        image = cast(MetaTensor, query["image"])
        return Atlas(support, values, **self.settings)(image, as_evidence(image, alone))
