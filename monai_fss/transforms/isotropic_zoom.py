# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Random zoom by one factor along all axes, as the published few-shot code has it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import Affine, MapTransform, Randomizable
from monai.utils import ensure_tuple_rep

__all__ = ["RandIsotropicZoomd"]


class RandIsotropicZoomd(Randomizable, MapTransform):
    """Make all that an item shows larger or smaller about its middle, by one factor along all axes.

    The published code of ADNet and SSL-ALPNet draws it from 0.9 to 1.2. MONAI's scale ranges are another thing: those
    of the sampling grid, so that what is shown becomes 1 / scale as large, each axis by itself. Its ``RandZoomd``
    rounds the factor to whole pixels and does not take an item without channels, such as a position of no axes.

    Args:
        keys: arrays (C, *spatial) of one spatial size; C may be 0.
        zoom: (least, most) factor, drawn uniformly.
        mode: "bilinear" or "nearest", one or one for each key.
        padding_mode: what a smaller image leaves free: "zeros", "border" or "reflection", one or one for each key.

    Raises:
        ValueError: ``zoom`` is not two factors above 0, the least first, or the modes are not as many as the keys.
    """

    def __init__(
        self,
        keys: KeysCollection,
        zoom: Sequence[float],
        mode: str | Sequence[str] = "bilinear",
        padding_mode: str | Sequence[str] = "zeros",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(zoom) != 2 or not 0 < zoom[0] <= zoom[1]:
            raise ValueError(f"zoom must be (least, most) factor, both above 0, got {tuple(zoom)}.")
        self.zoom = (float(zoom[0]), float(zoom[1]))
        self.mode = ensure_tuple_rep(mode, len(self.keys))
        self.padding_mode = ensure_tuple_rep(padding_mode, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Draw a factor, and resample each key once."""
        result, factor = dict(data), self.R.uniform(*self.zoom)
        for key, mode, padding in self.key_iterator(result, self.mode, self.padding_mode):
            array = torch.as_tensor(result[key])
            scale = [1 / factor] * (array.ndim - 1)
            zoomed = Affine(scale_params=scale, mode=mode, padding_mode=padding, dtype=np.float32, image_only=True)
            result[key] = zoomed(array)
        return result
