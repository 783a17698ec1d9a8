# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A labelled scan as an atlas keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor

from monai_fss.registration.field import DisplacementField
from monai_fss.registration.grid import Grid
from monai_fss.registration.masks import resample_masks
from monai_fss.registration.reduced import reduced
from monai_fss.transforms import label_boxes

__all__ = ["LabelledScan", "seen"]

SPARSE = 0.6
"""An organ is drawn in more than this share of the slices between its first and its last one."""


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
