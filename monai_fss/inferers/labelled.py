# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A labelled scan as an atlas keeps it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor

from monai_fss.data import InputWarning
from monai_fss.registration.field import DisplacementField
from monai_fss.registration.grid import Grid
from monai_fss.registration.masks import resample_masks
from monai_fss.registration.reduced import reduced
from monai_fss.registration.resample import moving_indices
from monai_fss.transforms import label_boxes

from .scans import scan_name

__all__ = ["LabelledScan", "seen", "warn_thin", "why_unseen"]

OUTSIDE = (
    "the organ lies outside the scan, as far as registration shows. Check that both show the same part of the body"
)
SMALL = 27
"""Voxels of the grid, three along each axis, that an organ fills which is seen on it for certain."""
SPARSE = 0.6
"""An organ is drawn in more than this share of the slices between its first and its last one."""
UNIT = 100.0
"""mm, the unit of :meth:`LabelledScan.frame`: coordinates within a body are about as large as intensities."""


@dataclass(frozen=True, eq=False)
class LabelledScan:
    """A labelled scan: as registration sees it, its label as it is, and where each value of that lies."""

    image: MetaTensor
    label: MetaTensor
    boxes: Mapping[int, tuple[slice, slice, slice]]

    @classmethod
    def of(cls, scan: Mapping[str, Any]) -> LabelledScan:
        """From a preprocessed item with ``image`` (C, H, W, D) and ``label`` (1, H, W, D)."""
        label = scan["label"]
        whole = np.asarray(torch.as_tensor(label)[0].cpu())
        return cls(seen(scan["image"]), label, label_boxes(whole if whole.dtype.kind in "iu" else whole.astype(int)))

    def mm3(self, value: int) -> float:
        """Volume of a value in the label."""
        if value not in self.boxes:
            return 0.0
        voxels = int((np.asarray(self.label[0])[self.boxes[value]] == value).sum())
        return voxels * float(torch.prod(self.label.pixdim))

    def frame(self) -> np.ndarray:
        """(4, 4), from the scan's world, mm, to coordinates in units of 100 mm about the middle of what is labelled."""
        box = [
            (min(s[axis].start for s in self.boxes.values()), max(s[axis].stop for s in self.boxes.values()))
            for axis in range(3)
        ]
        affine = np.asarray(self.label.affine.cpu(), np.float64)
        middle = affine @ np.array([*((start + stop - 1) / 2 for start, stop in box), 1.0])
        result = np.diag([1 / UNIT] * 3 + [1.0])
        result[:3, 3] = -middle[:3] / UNIT
        return result

    def lies_in(self, value: int, grid: Grid, field: DisplacementField | None = None) -> bool:
        """Whether a voxel of a grid, moved by a field, comes to lie in the box of a value, or beside it."""
        if value not in self.boxes:
            return False
        own = Grid.of(self.label)
        beside = float((grid.spacing / own.spacing.min()).max())  # the box may lie between two voxels of the grid
        low = torch.tensor([s.start - beside for s in self.boxes[value]])
        high = torch.tensor([s.stop - 1 + beside for s in self.boxes[value]])
        moved = moving_indices(grid, own, field, torch.device("cpu"))
        return any(bool(((index > low) & (index < high)).all(-1).any()) for _, index in moved)

    def thin(self, values: Sequence[int]) -> list[int]:
        """Those of the values that are drawn in one slice of several, or with slices left out in between."""
        found = []
        for value in [value for value in values if value in self.boxes]:
            box = self.boxes[value]
            drawn = int((np.asarray(self.label[0])[box] == value).any((0, 1)).sum())
            if drawn < self.label.shape[-1] and (drawn == 1 or drawn < SPARSE * (box[2].stop - box[2].start)):
                found.append(value)
        return found

    def masks(self, values: Sequence[int], grid: Grid, field: DisplacementField | None = None) -> np.ndarray:
        """(len(values), *grid.shape), 0..1."""
        return resample_masks(self.label, self.boxes, values, grid, field)


def seen(image: MetaTensor) -> MetaTensor:
    """What registration sees: the intensities alone, without the coordinates that a network may be given, and of a
    large scan no more than it needs."""
    return reduced(cast(MetaTensor, image[:1]))


def why_unseen(value: int, placed: Sequence[tuple[LabelledScan, DisplacementField]], grid: Grid) -> str:
    """Why no voxel of an organ was found on a grid: it lies beyond the query, or is too small for the grid.

    Args:
        value: of the organ.
        placed: labelled scans with their registrations, at least one.
        grid: on which it was looked for.
    """
    mm3 = max(scan.mm3(value) for scan, _ in placed)
    small = mm3 < SMALL * float(np.prod(grid.spacing))
    if not small or not any(scan.lies_in(value, grid, field) for scan, field in placed):
        return OUTSIDE
    spacing = " x ".join(f"{mm:.3g}" for mm in grid.spacing)
    return (
        f"its {mm3:.3g} mm3 are too few for the grid of {spacing} mm that it was looked for on. The atlas takes "
        "a finer one: --set spacing=[1,1,1]"
    )


def warn_thin(scans: Iterable[LabelledScan], values: Sequence[int]) -> None:
    """Warn of organs that are drawn in one slice, or with slices left out: registration carries over what is drawn.

    Warns:
        InputWarning: of each scan that has some.
    """
    for scan in scans:
        if thin := scan.thin(values):
            text = ", ".join(map(str, thin))
            warnings.warn(
                f"{scan_name(scan.image)}: label value(s) {text} are drawn in one slice, or with slices left out. "
                "Registration carries over what is drawn, so masks will be as thin. Label whole organs, or give a "
                "model, which needs one slice of each (--model).",
                InputWarning,
                stacklevel=3,
            )
