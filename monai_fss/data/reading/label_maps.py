# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whether a volume is a label map that was put among the scans."""

from __future__ import annotations

import numpy as np

__all__ = ["looks_like_labels"]

# Anatomies of more than a hundred classes exist; a scan of 8 bits has as many values as this.
_MOST_VALUES = 256
_SAMPLE = 100_000
# Of all neighbouring voxels, and of those of which one is not background: measured .98 and .6 and more on masks of
# organs, .5 (air) and less than .2 on scans.
_EQUAL, _EQUAL_INSIDE = 0.9, 0.5


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
