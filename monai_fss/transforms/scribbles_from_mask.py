# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Simulate what an annotator draws: thin lines in a few slices, from a mask."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from scipy.ndimage import distance_transform_edt, label
from skimage.morphology import skeletonize

__all__ = ["ScribblesFromMaskd", "scribbles_from_mask"]


def scribbles_from_mask(
    mask: np.ndarray,
    spacing: Sequence[float],
    slices: int = 5,
    background: int | None = None,
    margin: float = 10.0,
) -> np.ndarray:
    """Skeletons of each class in a few slices, and lines for the background around them and beyond their ends.

    Skeletons are those of Zhang and Suen, "A fast parallel algorithm for thinning digital patterns", Communications of
    the ACM 27, 1984, as scikit-image has them; every piece of a class in a slice has at least one voxel of scribble.

    Args:
        mask: (H, W, D), whole numbers, 0 for what is not labelled.
        spacing: voxel size (H, W, D) in mm.
        slices: of each class at most so many, spread evenly over those that show it. Default 5.
        background: the value of the background's scribbles. Default: none are drawn.
        margin: distance in mm from all labelled voxels at which the background's lines run. Default 10. They are drawn
            in the slices that have a scribble; and about as far beyond each end of a class, if the scan goes on there,
            a straight line crosses the middle of the class's end slice, without which growth leaks along the axis. It
            reaches a margin beyond the class on either side, and leaves out what is labelled and what is nearer to
            another class than to its own (unless nothing would be left of it).

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
            result[..., z][_skeleton(mask[..., z] == value)] = value
    if background is not None:
        _draw_background(result, mask, spacing, background, margin)
    return result


def _skeleton(mask: np.ndarray) -> np.ndarray:
    """Lines of one pixel, bool (H, W). A piece that vanishes, such as one of two by two pixels, keeps a pixel."""
    thin = skeletonize(mask)
    pieces, count = label(mask, structure=np.ones((3, 3)))
    for piece in set(range(1, count + 1)) - set(pieces[thin].tolist()):
        thin[tuple(np.argwhere(pieces == piece)[0])] = True
    return thin


def _spread(shown: np.ndarray, slices: int) -> list[int]:
    """The middles of equal parts of the slices that show a class."""
    count = min(slices, len(shown))
    return [int(shown[int((2 * i + 1) / (2 * count) * len(shown))]) for i in range(count)]


def _draw_background(
    scribbles: np.ndarray, mask: np.ndarray, spacing: Sequence[float], value: int, margin: float
) -> None:
    far = distance_transform_edt(mask == 0, sampling=spacing)
    drawn = np.flatnonzero(scribbles.any(axis=(0, 1)))
    classes = [int(v) for v in np.unique(mask) if v != 0]
    for z in drawn:
        line = _skeleton((far[..., z] >= margin) & (far[..., z] < margin + 2 * max(spacing[:2])))
        scribbles[..., z][line & (scribbles[..., z] == 0)] = value
    for own in classes:
        for beyond, line in _beyond_ends(mask == own, far, spacing, margin):
            scribbles[..., beyond][line & (scribbles[..., beyond] == 0)] = value


def _beyond_ends(
    own: np.ndarray, far: np.ndarray, spacing: Sequence[float], margin: float
) -> Iterator[tuple[int, np.ndarray]]:
    """Slice and line, bool (H, W), beyond the first and the last slice of a class."""
    shown = np.flatnonzero(own.any(axis=(0, 1))).tolist()
    steps = max(1, round(margin / spacing[2]))
    for end, z in ((shown[0], max(shown[0] - steps, 0)), (shown[-1], min(shown[-1] + steps, own.shape[2] - 1))):
        if z == end:
            continue
        line = _across(own[..., end], spacing, margin)
        clear = line & (far[..., z] >= min(margin, abs(z - end) * spacing[2]) - 1e-6)
        yield z, clear if clear.any() else line & (far[..., z] > 0)


def _across(plane: np.ndarray, spacing: Sequence[float], margin: float) -> np.ndarray:
    """A straight line through the middle of a binary slice along its longer axis, a margin longer at each end."""
    inside = distance_transform_edt(np.pad(plane, 1), sampling=spacing[:2])[1:-1, 1:-1]
    middle = np.unravel_index(int(inside.argmax()), plane.shape)
    points = np.argwhere(plane)
    axis = int(np.argmax(np.ptp(points, axis=0) * np.asarray(spacing[:2])))
    more = round(margin / spacing[axis])
    first, last = max(points[:, axis].min() - more, 0), points[:, axis].max() + more
    line = np.zeros_like(plane)
    np.moveaxis(line, axis, 1)[middle[1 - axis], first : last + 1] = True
    return line


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
            spacing = mask.pixdim.tolist()
            drawn = scribbles_from_mask(np.asarray(mask[0]), spacing, self.slices, self.background, self.margin)
            result[key] = MetaTensor(torch.from_numpy(drawn)[None], affine=mask.affine)
        return result
