# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Simulate what an annotator draws: thin lines in a few slices, from a mask."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy.ndimage import distance_transform_edt, label

__all__ = ["ScribblesFromMaskd", "scribbles_from_mask", "thinned"]


def thinned(mask: np.ndarray) -> np.ndarray:
    """The skeleton of a binary slice, lines of one pixel that keep its connectedness.

    T. Y. Zhang and C. Y. Suen, "A fast parallel algorithm for thinning digital patterns", Communications of the ACM 27,
    1984. (scikit-image, which has it too, is not among our dependencies.)

    Args:
        mask: (H, W), non-zero inside.

    Returns:
        bool (H, W). A piece of two by two pixels, which the algorithm loses, keeps a pixel.
    """
    image = np.pad(np.asarray(mask) != 0, 1)
    before = image.copy()
    while True:
        removed = False
        for step in (0, 1):
            drop = _removable(image, step)
            removed |= bool(drop.any())
            image &= ~drop
        if not removed:
            break
    pieces, count = label(before, structure=np.ones((3, 3)))
    for piece in range(1, count + 1):
        if not image[pieces == piece].any():
            image[tuple(np.argwhere(pieces == piece)[0])] = True
    return image[1:-1, 1:-1]


def _removable(image: np.ndarray, step: int) -> np.ndarray:
    """Border pixels that one half of an iteration takes away."""
    shifts = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]  # P2 to P9, clockwise from north
    around = np.stack([np.roll(image, (-dy, -dx), axis=(0, 1)) for dy, dx in shifts]).astype(np.int8)
    count = around.sum(0)
    turns = ((around == 0) & (np.roll(around, -1, axis=0) == 1)).sum(0)
    north, east, south, west = around[0], around[2], around[4], around[6]
    if step == 0:
        sides = (north * east * south == 0) & (east * south * west == 0)
    else:
        sides = (north * east * west == 0) & (north * south * west == 0)
    return image & (count >= 2) & (count <= 6) & (turns == 1) & sides


def scribbles_from_mask(
    mask: np.ndarray,
    spacing: Sequence[float],
    slices: int = 5,
    background: int | None = None,
    margin: float = 10.0,
) -> np.ndarray:
    """Skeletons of each class in a few slices, and lines around them for the background.

    Args:
        mask: (H, W, D), whole numbers, 0 for what is not labelled.
        spacing: voxel size (H, W, D) in mm.
        slices: of each class at most so many, spread evenly over those that show it. Default 5.
        background: the value of the background's scribbles. Default: none are drawn.
        margin: distance in mm from all labelled voxels at which the background's lines run. Default 10. They are drawn
            in the slices that have a scribble.

    Returns:
        int16 (H, W, D): the values of the mask on the scribbles, 0 elsewhere.

    Raises:
        ValueError: nothing is labelled, ``background`` is a value of the mask, or a number that is not positive.
    """
    mask = np.asarray(mask)
    values = [int(value) for value in np.unique(mask) if value != 0]
    if not values or background in values or slices < 1 or margin <= 0:
        raise ValueError(
            f"mask: has the values {values}, background {background}, slices {slices}, margin {margin}. Label "
            "something, give the background a value of its own, and positive numbers."
        )
    result = np.zeros(mask.shape, np.int16)
    for value in values:
        for z in _spread(np.flatnonzero((mask == value).any(axis=(0, 1))), slices):
            result[..., z][thinned(mask[..., z] == value)] = value
    if background is not None:
        _draw_background(result, mask != 0, spacing, background, margin)
    return result


def _spread(shown: np.ndarray, slices: int) -> list[int]:
    """The middles of equal parts of the slices that show a class."""
    count = min(slices, len(shown))
    return [int(shown[int((2 * i + 1) / (2 * count) * len(shown))]) for i in range(count)]


def _draw_background(
    scribbles: np.ndarray, labelled: np.ndarray, spacing: Sequence[float], value: int, margin: float
) -> None:
    far = distance_transform_edt(~labelled, sampling=spacing)
    for z in np.flatnonzero(scribbles.any(axis=(0, 1))):
        line = thinned((far[..., z] >= margin) & (far[..., z] < margin + 2 * max(spacing[:2])))
        scribbles[..., z][line & (scribbles[..., z] == 0)] = value


class ScribblesFromMaskd(MapTransform):
    """:func:`scribbles_from_mask` in a chain of MONAI: a mask becomes scribbles.

    Args:
        keys: masks (1, H, W, D), MetaTensors, replaced by the scribbles.
        slices, background, margin: see :func:`scribbles_from_mask`.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        slices: int = 5,
        background: int | None = None,
        margin: float = 10.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.slices = slices
        self.background = background
        self.margin = margin

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict:
        """Draw."""
        result = dict(data)
        for key in self.key_iterator(result):
            mask = result[key]
            if not isinstance(mask, MetaTensor):
                raise ValueError(f"{key}: must be a MetaTensor, whose affine says how large a voxel is.")
            spacing = np.linalg.norm(np.asarray(mask.affine, dtype=float)[:3, :3], axis=0)
            drawn = scribbles_from_mask(np.asarray(mask[0]), spacing, self.slices, self.background, self.margin)
            result[key] = MetaTensor(torch.from_numpy(drawn)[None], affine=mask.affine)
        return result
