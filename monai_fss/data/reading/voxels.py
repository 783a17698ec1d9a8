# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Judging voxel values."""

from __future__ import annotations

import numpy as np

from monai_fss.data.problems import Findings

__all__ = ["check_finite", "count_values", "looks_like_labels", "whole_numbers"]

_COUNTABLE = 1 << 16
_ROUNDED = 1e-3  # 0 and 255 times a slope of 1/255 in single precision, or what a resampling left
_SLAB = 1 << 23  # voxels that are counted at once: what is made of them on the way is larger than they are
# Anatomies of more than a hundred classes exist; a scan of 8 bits has as many values as this.
_MOST_VALUES = 256
_SAMPLE = 100_000
# Of all neighbouring voxels, and of those of which one is not background: measured .98 and .6 and more on masks of
# organs, .5 (air) and less than .2 on scans.
_EQUAL, _EQUAL_INSIDE = 0.9, 0.5


def count_values(label: np.ndarray) -> dict[int, int]:
    """Count the voxels of each value of a label map (whole numbers, 0 or more) in rising order, without those of 0."""
    flat = label.ravel(order="K")
    counts: dict[int, int] = {}
    for start in range(0, flat.size, _SLAB):
        for value, number in zip(*_count(flat[start : start + _SLAB]), strict=True):
            counts[int(value)] = counts.get(int(value), 0) + int(number)
    return {value: counts[value] for value in sorted(counts) if value != 0}


def whole_numbers(array: np.ndarray, found: Findings) -> np.ndarray | None:
    """
    Label values as whole numbers.

    Args:
        array: finite values. Those within 1e-3 of a whole number are rounded to it.
        found: gets fractional and negative values, with the first one.

    Returns:
        integers: the array itself where it has such, else a copy; None where a value is no label.
    """
    if array.dtype.kind in "bu":
        return array
    rounded = array if array.dtype.kind == "i" else np.round(array)
    fractional = np.zeros(0, bool) if array.dtype.kind == "i" else np.abs(array - rounded) > _ROUNDED
    for bad, word in ((fractional, "fractional"), (rounded < 0, "negative")):
        if bad.any():
            value = np.format_float_positional(array[_first(bad)], trim="-")
            found.refuse(
                f"label has {int(bad.sum())} {word} values, the first is {value} at {_first(bad)}",
                "Labels are the integers 0, 1, 2, ...: use nearest-neighbour interpolation when resampling",
            )
            return None
    if array.dtype.kind == "i":
        return array
    if rounded.max(initial=0) >= 2.0**63:
        found.refuse(f"label has the value {rounded.max():g}", "Label values must be below 2^63")
        return None
    return rounded.astype(np.int32 if rounded.max(initial=0) < 2.0**31 else np.int64)


def _count(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values that occur, and how often."""
    if values.max() >= _COUNTABLE:
        return np.unique(values, return_counts=True)
    numbers = np.bincount(values.astype(np.intp))
    occurring = np.flatnonzero(numbers)
    return occurring, numbers[occurring]


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


def looks_like_labels(array: np.ndarray) -> bool:
    """
    Tell whether voxels are labels: whole numbers, few of them, of which most neighbours are equal.

    Args:
        array: (H, W, D), finite. A sample of it decides first, so that an ordinary scan costs next to nothing.

    Returns:
        True for a label map. A scan of fewer values than 256 that is flat almost everywhere would be taken for one.
    """
    flat = array.ravel(order="K")
    sample = flat[:: -(-flat.size // _SAMPLE)]
    if sample.dtype.kind == "f" and not np.array_equal(sample, np.round(sample)):
        return False
    if len(np.unique(sample)) > _MOST_VALUES or sample.min() < 0:
        return False
    pairs = equal = inside = equal_inside = 0
    for axis in range(array.ndim):
        one = np.moveaxis(array, axis, 0)
        same = one[1:] == one[:-1]
        shown = (one[1:] != 0) | (one[:-1] != 0)
        pairs, equal = pairs + same.size, equal + int(same.sum())
        inside, equal_inside = inside + int(shown.sum()), equal_inside + int((same & shown).sum())
    return equal >= _EQUAL * pairs and equal_inside >= _EQUAL_INSIDE * inside
