# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Brightness of one structure against the rest."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import GaussianSmooth, MapTransform, RandomizableTransform

__all__ = ["RandMaskContrastd"]


class RandMaskContrastd(RandomizableTransform, MapTransform):
    """Make what lies under a mask brighter or darker than it was.

    An organ's brightness beside its neighbours differs between patients and scans (iron in liver and spleen, say),
    which neither gamma nor any other change of the whole image brings about. The factor f is log-uniform; the image x
    becomes x (1 + (f - 1) m) with the mask m smoothed, clipped to 0..1.

    An image that has been brought to mean 0 and standard deviation 1 has no such range, and its 0 is not black. With
    ``bounded=False`` brightness counts from the image's least value, and nothing is clipped.

    Args:
        keys: images (1, H, W) in 0..1, or of any range with ``bounded=False``.
        mask_key: binary mask (1, H, W).
        factor: largest factor; the smallest is its inverse. Default 3.
        sigma: of the smoothing of the mask, in pixels, or one of each axis. Default 1.
        prob: probability of the change. Default 0.5.
        bounded: whether images are in 0..1 and stay so. Default: they are.
    """

    def __init__(
        self,
        keys: KeysCollection,
        mask_key: str,
        factor: float = 3.0,
        sigma: float | Sequence[float] = 1.0,
        prob: float = 0.5,
        allow_missing_keys: bool = False,
        bounded: bool = True,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        if factor <= 1:
            raise ValueError(f"factor must be above 1, got {factor}.")
        self.mask_key = mask_key
        self.factor = factor
        self.smooth = GaussianSmooth(sigma)
        self.bounded = bounded
        self.drawn = 1.0

    def randomize(self, data: Any = None) -> None:
        """Draw whether to change, and the factor."""
        super().randomize(None)
        self.drawn = math.exp(self.R.uniform(-1, 1) * math.log(self.factor))

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict:
        """Change the images."""
        self.randomize()
        result = dict(data)
        if not self._do_transform:
            return result
        mask = self.smooth(result[self.mask_key].float())
        for key in self.key_iterator(result):
            image, change = result[key], 1 + (self.drawn - 1) * mask
            black = image.min()
            result[key] = (image * change).clamp(0, 1) if self.bounded else black + (image - black) * change
        return result
