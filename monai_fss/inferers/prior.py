# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A trained few-shot network and an atlas together: where it is, and what it looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from monai_fss.registration import AppearanceRefinement, intensity_weight

from .atlas import Atlas
from .atlas_inferer import AtlasInferer
from .scans import each_scan

__all__ = ["PriorInferer", "log_odds", "registration_settings", "with_weight"]

LARGEST = 4.0  # log-odds, see log_odds


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    """A network's log-odds of each class, bounded: sure of itself it must not overrule any distance."""
    return logits.float().cpu().clamp(-LARGEST, LARGEST)


def with_weight(settings: Mapping[str, Any], weight: float) -> dict[str, Any]:
    """Arguments of an :class:`Atlas` whose refinement gives a network's log-odds a weight.

    Raises:
        ValueError: the weight is negative, or the refinement, which does the combining, is switched off.
    """
    if weight < 0:
        raise ValueError(f"the weight of the network must be at least 0, got {weight}.")
    refinement = settings.get("refinement", AppearanceRefinement())
    if refinement is None:
        raise ValueError("--prior needs the refinement step, in which network and atlas are fused: leave refine on.")
    return {**settings, "refinement": replace(refinement, evidence_weight=weight)}


def registration_settings(
    window: Sequence[float] | None, weight: float | None = None, **settings: Any
) -> dict[str, Any]:
    """Arguments of :func:`monai_fss.registration.register` for scans that are prepared alike.

    Args:
        window: by which their intensities are scaled, in HU, of CT; None: other scans.
        weight: of intensities. Default: see :func:`monai_fss.registration.intensity_weight`.
        settings: further ones, such as ``preset`` and ``starts``.
    """
    return {**settings, "intensity_weight": intensity_weight(window, weight)}


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
        """The network's log-odds."""
        logits = torch.as_tensor(self.inferer(inputs, network))
        return [
            MetaTensor(log_odds(answer[1:] - answer[:1]), affine=image.affine)
            for image, answer in zip(each_scan(inputs), logits, strict=True)
        ]
