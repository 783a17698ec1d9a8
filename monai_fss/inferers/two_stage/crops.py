# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What the fine stage of an organ is trained on: its region in each training scan."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from monai_fss.data import read_organ_maps
from monai_fss.registration import Grid

from .coarse import on_grid
from .rois import Roi, box_on, smallest_box

__all__ = ["OrganCrops"]


class OrganCrops(Transform):
    """Cut an organ's region out of what the stages before left of a scan.

    The region is the smallest box around the one that was selected, as in use, and the organ's own with a margin: where
    selection went wrong in training there would be nothing to learn.

    Args:
        organ: label value.
        margin: mm around the organ itself.
        selected: whether the selected region counts. Default: it does; the fixed-point baseline is trained on boxes of
            the organ alone.
        context: which of the maps of the file are shown, such as ``["maps", "priors"]``. Default: the coarse one.
    """

    def __init__(self, organ: int, margin: float, selected: bool = True, context: Sequence[str] = ("maps",)) -> None:
        self.organ, self.margin, self.selected = int(organ), float(margin), selected
        self.context = list(context) or ["maps"]  # of what nobody asks for something is cut out all the same

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``maps`` (a file of :func:`monai_fss.data.save_organ_maps`) -> ``image``, ``context`` (of what
        is shown a channel each) and ``label`` (1 where the organ is), (C, h, w, d)."""
        kept = read_organ_maps(data["maps"])
        image, label = kept["image"], (kept["label"] == self.organ).float()
        whole, coarse = Grid.of(image), Grid.of(kept["maps"])
        number = kept["organs"].index(self.organ)
        low, high = np.zeros(3, int), np.asarray(whole.shape)
        own = smallest_box(label[0].numpy() > 0)
        corners = kept["boxes"][number].numpy()
        found = box_on(Roi(corners[0], corners[1], ""), coarse, whole)
        if own is not None:
            reach = np.ceil(self.margin / whole.spacing).astype(int)
            low, high = np.maximum(own[0] - reach, 0), np.minimum(own[1] + reach, whole.shape)
            if self.selected:
                low, high = np.minimum(low, found.low), np.maximum(high, found.high)
        else:
            low, high = found.low, found.high
        box = (slice(None), *Roi(low, high, "").slices)
        grid = whole.crop(low.tolist(), high.tolist())
        affine = torch.from_numpy(grid.affine)
        shown = torch.stack([kept[name].as_tensor()[number] for name in self.context])
        context = on_grid(shown, coarse, grid)
        cut = {"image": image.as_tensor()[box], "label": label.as_tensor()[box], "context": context}
        return {**data, **{key: MetaTensor(values.clone(), affine=affine) for key, values in cut.items()}}
