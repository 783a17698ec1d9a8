# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where each value of a label map is."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

__all__ = ["label_boxes"]

_LIST = 1 << 16
Box = tuple[slice, slice, slice]


def label_boxes(label: np.ndarray) -> dict[int, Box]:
    """
    The smallest box around the voxels of each value, in one pass.

    Args:
        label: whole numbers (H, W, D), 0 or more.

    Returns:
        value to box, in rising order, background 0 left out.
    """
    if label.size == 0:
        return {}
    if label.max() < _LIST:  # ndimage makes a list as long as the greatest value
        found = ndimage.find_objects(label if label.dtype.kind in "iu" else label.astype(np.int32))
        return {value: box for value, box in enumerate(found, start=1) if box is not None}
    values = np.unique(label)
    values = values[values != 0]
    numbers = np.where(label == 0, 0, np.searchsorted(values, label) + 1)
    found = ndimage.find_objects(numbers)
    return {int(value): box for value, box in zip(values, found, strict=True)}
