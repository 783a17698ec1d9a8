# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A run of slices of a scan, where its item names one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import Crop, MapTransform

__all__ = ["SliceRanged"]


class SliceRanged(MapTransform):
    """Crop volumes to the slices that the item itself names, and pass items that name none on as they are.

    So a scan can be scaled and located as a whole, and trained on in parts (see
    :func:`monai_fss.data.training_items`).

    Args:
        keys: volumes (C, H, W, D). A MetaTensor keeps its place in space.
        range_key: of ``[first, stop]``: slices ``first`` to ``stop - 1`` of the last axis stay.
        allow_missing_keys: whether an item may be without one of ``keys``.

    Raises:
        ValueError: when called: the range is empty or reaches beyond a volume.

    Example:
        >>> SliceRanged("image")({"image": torch.zeros(1, 8, 8, 30), "slices": [4, 9]})["image"].shape
        torch.Size([1, 8, 8, 5])
    """

    backend = Crop.backend

    def __init__(self, keys: KeysCollection, range_key: Hashable = "slices", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.range_key = range_key
        self.crop = Crop()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item, its volumes (C, H, W, stop - first) where it names a range."""
        item = dict(data)
        if self.range_key not in item:
            return item
        first, stop = item[self.range_key]
        for key in self.key_iterator(item):
            depth = item[key].shape[-1]
            if not 0 <= first < stop <= depth:
                raise ValueError(
                    f"{self.range_key}: {first} to {stop} of {key!r}, which has {depth} slices. Name a part of them."
                )
            whole = [slice(None)] * (item[key].ndim - 2)
            item[key] = self.crop(item[key], (*whole, slice(first, stop)))
        return item
