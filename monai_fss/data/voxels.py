# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Judging voxel values."""

from __future__ import annotations

import numpy as np

from monai_fss.data.problems import Findings

__all__ = ["check_finite", "count_labels"]

_COUNTABLE = 1 << 16


def count_labels(array: np.ndarray, found: Findings) -> dict[int, int] | None:
    """
    Count the voxels of each label, background 0 left out.

    Args:
        array: finite values.
        found: gets fractional and negative values, with the first one.

    Returns:
        value to number of voxels in rising order; None where a value is no label.
    """
    fractional = np.zeros(array.shape, bool) if array.dtype.kind in "biu" else array != np.round(array)
    for bad, word in ((fractional, "fractional"), (array < 0, "negative")):
        if bad.any():
            value = np.format_float_positional(array[_first(bad)], trim="-")
            found.refuse(
                f"label has {int(bad.sum())} {word} values, the first is {value} at {_first(bad)}",
                "Labels are the integers 0, 1, 2, ...: use nearest-neighbour interpolation when resampling",
            )
            return None
    flat = array.ravel(order="K")
    if flat.max() < _COUNTABLE:
        numbers = np.bincount(flat.astype(np.int64))
        values = np.flatnonzero(numbers)
        numbers = numbers[values]
    else:
        values, numbers = np.unique(flat, return_counts=True)
    return {int(v): int(n) for v, n in zip(values, numbers, strict=True) if v != 0}


def check_finite(array: np.ndarray, found: Findings) -> bool:
    """Tell whether every voxel is finite; refuse NaN and infinite ones with their number and the first index."""
    if array.dtype.kind in "biu" or np.isfinite(array).all():
        return True
    nan, bad = np.isnan(array), ~np.isfinite(array)
    number = int(nan.sum())
    found.refuse(
        f"has {number} NaN and {int(bad.sum()) - number} infinite voxels, the first at {_first(bad)}",
        "Replace them by a value that means something, such as air",
    )
    return False


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))
