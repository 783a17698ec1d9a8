# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""From logits of ways to probabilities, and from probabilities to label values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["WayProbabilitiesd", "WaysToLabeld"]


class WayProbabilitiesd(MapTransform):
    """Probability of each way against the background, by itself.

    (1 + W, *spatial) logits -> (W, *spatial) sigmoid(way - background). Probabilities, unlike logits, can be
    interpolated to another grid.

    Args:
        keys: the logits.
    """

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict:
        """Replace logits by probabilities."""
        result = dict(data)
        for key in self.key_iterator(result):
            logits = result[key]
            result[key] = torch.sigmoid(logits[1:] - logits[:1])
        return result


class WaysToLabeld(MapTransform):
    """Ways compete: each voxel gets the label value of its most probable way, or 0 where none exceeds the threshold.

    Args:
        keys: probabilities (W, *spatial); they become labels (1, *spatial), int16, or int32 where a value needs it.
        values: label value of each way.
        threshold: a labelled voxel has more than this probability. Default 0.5, as the argmax of the logits has it.

    Raises:
        ValueError: the number of ways is not that of ``values``.
    """

    def __init__(
        self, keys: KeysCollection, values: Sequence[int], threshold: float = 0.5, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.values = [int(v) for v in values]
        self.threshold = threshold

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict:
        """Replace probabilities by labels."""
        result = dict(data)
        for key in self.key_iterator(result):
            ways = result[key].shape[0]
            if ways != len(self.values):
                raise ValueError(
                    f"{key}: {ways} ways but {len(self.values)} label values. Give one value for each way."
                )
            probability, way = result[key].max(dim=0, keepdim=True)
            dtype = torch.int16 if max(self.values) <= torch.iinfo(torch.int16).max else torch.int32
            values = torch.tensor(self.values, dtype=dtype, device=way.device)
            result[key] = torch.where(probability > self.threshold, values[way.long()], 0).to(dtype)
        return result
