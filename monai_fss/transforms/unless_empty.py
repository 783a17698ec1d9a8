# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A random transform whose result is taken unless it has lost what matters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable, Transform

__all__ = ["UnlessEmptyd"]


class UnlessEmptyd(Randomizable, Transform):
    """Apply a transform, and take the item as it was where a mask is empty afterwards.

    A window of ten slices can lose a flat supervoxel by a small tilt; an episode without a support teaches nothing.
    ADNet's published 3-D code does so for the support.

    Args:
        key: the mask.
        transform: random or not, of items.
    """

    def __init__(self, key: Hashable, transform: Any) -> None:
        self.key = key
        self.transform = transform

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> UnlessEmptyd:
        """Set the state of the transform."""
        super().set_random_state(seed, state)
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(state=self.R)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """The changed item, or a copy of the one given."""
        changed = self.transform(dict(data))
        return changed if bool(torch.any(torch.as_tensor(changed[self.key]) != 0)) else dict(data)
