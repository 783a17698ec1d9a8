# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The coarse stage: whole scans in windows, on a grid that may be coarser than the scan's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.utils import ensure_tuple_rep

from monai_fss.registration import Grid, resample
from monai_fss.transforms import smooth_spacing

__all__ = ["CoarseStage"]


class CoarseStage:
    """Class logits of whole scans, on the grid of the coarse stage.

    Args:
        roi_size: (H, W, D) of the windows, those of the training.
        pixdim: mm of a voxel, one number or three. Default None: scans have it already.
        overlap: of neighbouring windows. Default 0.5.
    """

    def __init__(
        self, roi_size: Sequence[int], pixdim: float | Sequence[float] | None = None, overlap: float = 0.5
    ) -> None:
        self.windows = SlidingWindowInferer(roi_size, sw_batch_size=1, overlap=overlap, mode="gaussian")
        self.pixdim = None if pixdim is None else ensure_tuple_rep(pixdim, 3)

    def image(self, image: MetaTensor) -> MetaTensor:
        """A scan (1, H, W, D) on the grid of this stage."""
        if self.pixdim is None:
            return image
        small = smooth_spacing(image, self.pixdim)
        return MetaTensor(small.as_tensor(), meta={**image.meta, "affine": small.affine})

    @torch.no_grad()
    def logits(self, image: MetaTensor, network: Any) -> torch.Tensor:
        """(1 + W, H, W, D) of a scan on this grid (1, H, W, D), the background first."""
        return self.windows(image.as_tensor()[None], network)[0].float()

    def on(self, values: torch.Tensor, image: MetaTensor, target: MetaTensor) -> torch.Tensor:
        """Maps (C, h, w, d) that lie on the grid of an image, on that of another one, interpolated."""
        return on_grid(values, Grid.of(image), Grid.of(target)).to(values.device)


def on_grid(values: torch.Tensor, source: Grid, target: Grid) -> torch.Tensor:
    """Maps (C, h, w, d) on another grid of the same world; beyond their border they go on as at it."""
    if source.same(target, 1e-6):
        return values
    there = MetaTensor(values.float().cpu(), affine=torch.from_numpy(source.affine))
    return resample(there, target, padding="border", antialias=False).as_tensor()
