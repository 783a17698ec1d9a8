# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where the fine stage looks for a small organ: the box of what the coarse stage, the prior or both found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from monai_fss.registration import Grid
from monai_fss.transforms import largest_component

__all__ = ["SURE", "Roi", "box_on", "mean_box", "select_roi", "smallest_box"]

SURE = 0.9
"""Probability of the coarse stage above which a prior does not take an organ away without a word."""
Box = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Roi:
    """The region of an organ.

    Args:
        low, high: voxel indices (3,), from and up to but without.
        source: what it was made by, in words.
        note: what a user should know besides. Default "": nothing.
    """

    low: np.ndarray
    high: np.ndarray
    source: str
    note: str = ""

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """To cut it out of (H, W, D)."""
        h, w, d = (slice(int(a), int(b)) for a, b in zip(self.low, self.high, strict=True))
        return h, w, d

    @property
    def text(self) -> str:
        """Source and note, for a report."""
        return f"region by {self.source}{f'; {self.note}' if self.note else ''}"


def select_roi(
    probability: np.ndarray,
    prior: np.ndarray | None,
    threshold: float,
    margin: float,
    spacing: Sequence[float],
    usual: np.ndarray,
) -> Roi:
    """Choose the region of an organ.

    It is the box around the voxels in which the coarse probability, with a prior its product with that, exceeds the
    threshold, with a margin; and with a prior around those in which this alone is above 1/2, too: a coarse stage that
    has learnt little of an organ shows a small part of it, and the product less. Where there are none, it is the box of
    the prior by itself, and where that has none either, the box that the organ usually fills. A prior that shows the
    organ nowhere is none: it lies outside what was registered, or is too small for that grid. Where the coarse stage
    was sure (:data:`SURE`) and the product leaves nothing of that, its largest piece is taken in. Of both the note
    tells.

    Args:
        probability: of the coarse stage, (H, W, D).
        prior: probability by the registered scans, (H, W, D); None where there is no prior.
        threshold: above which a voxel counts.
        margin: mm around the box.
        spacing: mm of a voxel (3,).
        usual: (2, 3), lower and upper corner as shares of the volume, see :func:`mean_box`.

    Returns:
        the region, at least one voxel.
    """
    alone = None if prior is None else smallest_box(prior > threshold)
    note = "" if prior is None or alone is not None else "the prior shows nothing"
    if prior is None or alone is None:
        found, source = smallest_box(probability > threshold), "coarse map"
    else:
        shown, sure = probability * prior > threshold, probability > SURE
        source = "coarse map and prior" if shown.any() else "prior alone, since the coarse map shows nothing there"
        missed = sure.any() and not shown[sure].any()
        counted = shown | (prior > (0.5 if shown.any() and not missed else threshold))
        if missed:
            counted |= largest_component(sure)
            source = "prior and coarse map"
            note = f"the prior has nothing where the coarse map is above {SURE}, which was taken in"
        found = smallest_box(counted)
    if found is None:
        found, source = _of_shares(usual, probability.shape), "usual place, since the coarse map shows nothing"
    reach = np.ceil(margin / np.asarray(spacing, dtype=float)).astype(int)
    low = np.maximum(found[0] - reach, 0)
    return Roi(low, np.minimum(found[1] + reach, probability.shape), source, note)


def smallest_box(mask: np.ndarray) -> Box | None:
    """Lower and upper corner of the box around what is true in (H, W, D); None where nothing is."""
    if not mask.any():
        return None
    sides = [np.flatnonzero(mask.any(axis=tuple(set(range(3)) - {axis}))) for axis in range(3)]
    return np.array([side[0] for side in sides]), np.array([side[-1] + 1 for side in sides])


def mean_box(masks: Iterable[np.ndarray]) -> np.ndarray:
    """Where an organ usually lies.

    Args:
        masks: bool (H, W, D) of several scans, of any size.

    Returns:
        (2, 3), the mean lower and upper corner of its boxes, as shares (0..1) of the volumes; (0, 1), all of it, where
        no mask shows anything.
    """
    corners = []
    for mask in masks:
        if (box := smallest_box(mask)) is not None:
            corners.append(np.stack(box) / np.asarray(mask.shape))
    return np.mean(corners, axis=0) if corners else np.array([[0.0] * 3, [1.0] * 3])


def box_on(roi: Roi, source: Grid, target: Grid) -> Roi:
    """The same region on another grid of the same world: the voxels whose centres lie in it, at least one."""
    corners = np.stack([roi.low - 0.5, roi.high - 0.5])
    change = np.linalg.solve(target.affine, source.affine)
    there = corners @ change[:3, :3].T + change[:3, 3]
    low, high = np.ceil(np.round(there.min(0), 6)).astype(int), np.ceil(np.round(there.max(0), 6)).astype(int)
    low = np.clip(low, 0, np.asarray(target.shape) - 1)
    return Roi(low, np.clip(high, low + 1, target.shape), roi.source, roi.note)


def _of_shares(usual: np.ndarray, shape: Sequence[int]) -> Box:
    size = np.asarray(shape)
    low = np.minimum(np.floor(usual[0] * size).astype(int), size - 1)
    return low, np.clip(np.ceil(usual[1] * size).astype(int), low + 1, size)
