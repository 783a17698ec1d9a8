# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""An atlas as MONAI's evaluators use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.inferers import Inferer

from monai_fss.metrics import MaskSigns, expected_dice

from .atlas import Atlas
from .found import found_in, with_found
from .scans import each_scan

__all__ = ["AtlasInferer", "AtlasQuality", "AtlasReverseAccuracy"]

LEAST = 1e-6
"""Probability of a class where there is none of it: logits stay finite."""
FOUND_OUT = ("left_out", "doubt", "confidence", "agreement", "signs")
"""Of a result's meta data what travels with the answer."""


class AtlasInferer(Inferer):
    """An :class:`Atlas` where MONAI expects an inferer; the network is not asked.

    Args:
        atlas: the labelled scans.
        prefetch: whether :class:`AtlasQuality` or :class:`AtlasReverseAccuracy` will be asked too: its registration
            runs beside the other one.
    """

    def __init__(self, atlas: Atlas, prefetch: bool = False) -> None:
        self.atlas = atlas
        self.prefetch = prefetch

    def __call__(self, inputs: torch.Tensor, network: Any = None, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, C, H, W, D) MetaTensor -> logits (B, 1 + W, h, w, d), background 0, on the grids that the atlas works on.

        The affines of the result say where these lie; of a batch, smaller ones are filled up at the far end. The other
        meta data are those of the scans: what follows names results by them, and finds the scan's own grid there, see
        :class:`monai_fss.inferers.NativeLabeld`. :func:`monai_fss.inferers.found_in` has ``left_out``: why a class is
        empty, {value: reason}; and, where the answer is doubtful, ``doubt``: why.
        """
        if not isinstance(inputs, MetaTensor):
            raise TypeError("the atlas needs to know where the scan lies: give a MetaTensor, as LoadImage makes it.")
        images = each_scan(inputs)
        results, found = [], []
        for image, evidence in zip(images, self.evidence(inputs, network), strict=True):
            result = self.result(cast(MetaTensor, image.cpu()), evidence, network)
            found.append({key: result.meta[key] for key in FOUND_OUT if key in result.meta})
            results.append(_logits(result))
        size = [max(result.shape[axis] for result in results) for axis in (1, 2, 3)]
        affines = torch.stack([torch.as_tensor(result.affine) for result in results])
        stacked = torch.stack([_filled(result, size) for result in results]).to(inputs.device)
        batched = inputs.affine.ndim == 3
        made = MetaTensor(stacked)  # its constructor takes meta data of one scan alone
        made.meta = {"affine": affines if batched else affines[0]}
        made.is_batch = inputs.is_batch
        return with_found(made, inputs, found)

    def result(self, image: MetaTensor, evidence: MetaTensor | None, network: Any) -> MetaTensor:
        """Probabilities (W, h, w, d) of one scan: the atlas's, see :meth:`Atlas.__call__`."""
        return self.atlas(image, evidence, self.prefetch)

    def evidence(self, inputs: MetaTensor, network: Any) -> Sequence[MetaTensor | None]:
        """What else speaks for each class in each scan: here nothing."""
        return [None] * len(inputs)


def _logits(probabilities: MetaTensor) -> MetaTensor:
    """(W, h, w, d) -> (1 + W, h, w, d)."""
    logits = torch.zeros(len(probabilities) + 1, *probabilities.shape[1:])
    torch.logit(probabilities.as_tensor(), eps=LEAST, out=logits[1:])
    return MetaTensor(logits, affine=probabilities.affine)


def _filled(logits: MetaTensor, size: Sequence[int]) -> torch.Tensor:
    plain = logits.as_tensor()
    if list(plain.shape[1:]) == list(size):
        return plain
    pad = [n for axis in (3, 2, 1) for n in (0, size[axis - 1] - plain.shape[axis])]
    filled = F.pad(plain, pad, value=float(torch.logit(torch.tensor(LEAST, dtype=torch.float64))))
    filled[0] = 0
    return filled


class AtlasReverseAccuracy:
    """:meth:`Atlas.reverse_accuracy` for what an inference evaluator puts out.

    Args:
        atlas: the labelled scans.
    """

    def __init__(self, atlas: Atlas) -> None:
        self.atlas = atlas

    def __call__(self, output: Mapping[str, Any]) -> dict[int, float]:
        """Score one scan: ``image`` as preprocessed, and the label map ``pred`` (1, H, W, D), on any grid."""
        return self.atlas.reverse_accuracy(output["image"].cpu(), output["pred"].cpu())


class AtlasQuality(AtlasReverseAccuracy):
    """:func:`monai_fss.metrics.expected_dice` for what an inference evaluator puts out.

    Args:
        atlas: the labelled scans, the same that have made the result, with ``prefetch``.

    Raises:
        ValueError: the result says nothing of itself: it is not of an :class:`AtlasInferer` with ``prefetch``.
    """

    def __call__(self, output: Mapping[str, Any]) -> dict[int, float]:
        """Score one scan: as :class:`AtlasReverseAccuracy`; 0 where nothing was found."""
        found = found_in(output["pred"])
        if "signs" not in found:
            raise ValueError("pred: has no signs of its quality. Make it by AtlasInferer(atlas, prefetch=True).")
        signs = {int(value): MaskSigns(*own) for value, own in found["signs"].items()}
        back = super().__call__(output)
        return {value: expected_dice(score, signs[value]) if value in signs else 0.0 for value, score in back.items()}
