# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scans filled up to a size: the image with black, the position in the body as at the border."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, SpatialPad

__all__ = ["ScanPadd"]


class ScanPadd(MapTransform):
    """Pad items to at least a size, about their middle: at 0, but a position goes on as at the border.

    MONAI's ``SpatialPad``, whose mode "edge" fails on an array without channels, as the position of no axes is.

    Args:
        keys: arrays (C, *spatial); C may be 0.
        spatial_size: smallest size; -1: that axis stays.
        position: the key that is a position. Default "position".
    """

    def __init__(
        self,
        keys: KeysCollection,
        spatial_size: Sequence[int],
        position: Hashable = "position",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.pad = SpatialPad(tuple(spatial_size))
        self.position = position

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        """Pad each key."""
        result = dict(data)
        for key in self.key_iterator(result):
            repeated = key == self.position and result[key].shape[0] > 0
            result[key] = self.pad(result[key], mode="edge" if repeated else "constant")
        return result
