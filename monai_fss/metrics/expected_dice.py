# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One number for how good a registered mask is, of three signs that need no label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

__all__ = ["MaskSigns", "expected_dice", "mask_signs"]

NEAR = 8.0
"""mm around a mask that are compared: the border, and what surrounds it."""


class MaskSigns(NamedTuple):
    """What a result tells of itself.

    Args:
        confidence: mean probability of the mask's voxels, 0..1.
        likeness: correlation of the intensities of scan and registered labelled scan in and near the mask, -1..1.
    """

    confidence: float
    likeness: float


def mask_signs(
    masks: np.ndarray,
    probabilities: np.ndarray,
    image: np.ndarray,
    registered: Sequence[np.ndarray],
    spacing: Sequence[float],
) -> dict[int, MaskSigns]:
    """Signs of each class.

    Args:
        masks: class of each voxel (h, w, d), 0 to W - 1; W where there is none.
        probabilities: (W, h, w, d).
        image: the scan, (h, w, d).
        registered: labelled scans that were registered to it, on its grid; likeness is the mean over them.
        spacing: mm of a voxel (3,).

    Returns:
        class to its signs, of those that have a voxel.
    """
    reach = np.ceil(NEAR / np.asarray(spacing, dtype=float)).astype(int)
    signs = {}
    for way, box in enumerate(ndimage.find_objects(masks.astype(np.int32) + 1, max_label=len(probabilities))):
        if box is None:
            continue
        sides = zip(box, reach, strict=True)
        around = tuple(slice(max(side.start - more, 0), side.stop + more) for side, more in sides)
        own = masks[around] == way
        near = ndimage.distance_transform_edt(~own, sampling=spacing) < NEAR
        alike = [_correlation(image[around][near], scan[around][near]) for scan in registered]
        signs[way] = MaskSigns(float(probabilities[way][around][own].mean()), float(np.mean(alike)))
    return signs


def expected_dice(reverse: float, signs: MaskSigns) -> float:
    """Quality of a mask, on the scale of the Dice score.

    confidence x reverse^(1/4) x ((1 + likeness) / 2)^(1/4). A mask that is carried back to the labelled scan and meets
    its label there may owe that to a registration that errs the same way there and back; such a mask is seldom where
    the scan's own intensities want it (confidence, after the refinement), nor does it look like the labelled scan
    (likeness). The exponents are those of a regression of the logarithm of the Dice score, whose intercept was near to
    0, rounded to quarters: in three regressions that each left one of three data sets out (CHAOS, MS-CMRSeg, OpenKBP)
    they were 0.14 to 0.29, 0.74 to 1.15 and 0.11 to 0.30. The page of the atlas says what it is worth.

    Args:
        reverse: reverse accuracy, 0..1 (Valindria et al. 2017).
        signs: see :func:`mask_signs`.

    Returns:
        0..1.
    """
    alike = (1 + max(-1.0, min(1.0, signs.likeness))) / 2
    return float(signs.confidence * (reverse * alike) ** 0.25)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of two lists of numbers; 0 where one of them is constant."""
    first, second = one - one.mean(dtype=np.float64), other - other.mean(dtype=np.float64)
    length = float(np.sqrt((first * first).sum() * (second * second).sum()))
    return float((first * second).sum()) / length if length > 0 else 0.0
