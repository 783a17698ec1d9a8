# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""An atlas as MONAI's evaluators use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor, decollate_batch
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type

from .atlas import Atlas, scan_name

__all__ = ["AtlasInferer", "CarriedBack"]


class AtlasInferer(Inferer):
    """An :class:`Atlas` where MONAI expects an inferer; the network is not asked.

    Args:
        atlas: the labelled scans.
        ahead: whether :class:`CarriedBack` will be asked too: then its registration runs beside the other one.

    Attributes:
        left_out: why a class is empty in a scan, {name of the scan: {value: reason}}.
    """

    def __init__(self, atlas: Atlas, ahead: bool = False) -> None:
        self.atlas = atlas
        self.ahead = ahead
        self.left_out: dict[str, dict[int, str]] = {}

    def __call__(self, inputs: torch.Tensor, network: Any = None, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, C, H, W, D) MetaTensor -> logits (B, 1 + W, H, W, D), background 0."""
        if not isinstance(inputs, MetaTensor):
            raise TypeError("the atlas needs to know where the scan lies: give a MetaTensor, as LoadImage makes it.")
        results = []
        for image, evidence in zip(decollate_batch(inputs), self.evidence(inputs, network), strict=True):
            if self.ahead:
                self.atlas.ahead(image.cpu())
            result = self.atlas(image.cpu(), evidence)
            self.left_out[scan_name(image)] = result.meta["left_out"]
            odds = torch.logit(result.as_tensor(), eps=1e-6)
            results.append(torch.cat([torch.zeros_like(odds[:1]), odds]))
        # With the meta data of the scans, as MONAI's inferers return it: what follows names and places results by it.
        return convert_to_dst_type(torch.stack(results), inputs)[0]

    def evidence(self, inputs: MetaTensor, network: Any) -> Sequence[MetaTensor | None]:
        """What else speaks for each class in each scan: here nothing."""
        return [None] * len(inputs)


class CarriedBack:
    """:meth:`Atlas.carried_back` for what an inference evaluator puts out.

    Args:
        atlas: the labelled scans.
    """

    def __init__(self, atlas: Atlas) -> None:
        self.atlas = atlas

    def __call__(self, output: Mapping[str, Any]) -> dict[int, float]:
        """Score one scan: ``image`` as preprocessed, and the result ``working`` (1, H, W, D) on the same grid."""
        image = output["image"].cpu()
        label = MetaTensor(torch.as_tensor(output["working"].cpu()), affine=image.affine)
        return self.atlas.carried_back(image, label)
