# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The fine stage of one organ: its region alone, beside the maps of it that the stages before made (auto-context)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer

from monai_fss.registration import Grid

from .coarse import on_grid
from .rois import Roi, smallest_box

__all__ = ["FineStage", "fixed_point"]

ROUNDS, ALIKE = 10, 0.95


class FineStage:
    """Probability of an organ in its region.

    Args:
        roi_size: (H, W, D) of the windows, those of the training; smaller regions are padded with 0.
        overlap: of neighbouring windows. Default 0.5.
    """

    def __init__(self, roi_size: Sequence[int], overlap: float = 0.5) -> None:
        self.windows = SlidingWindowInferer(roi_size, sw_batch_size=1, overlap=overlap, mode="gaussian")

    @torch.no_grad()
    def __call__(self, image: MetaTensor, context: torch.Tensor, source: Grid, roi: Roi, network: Any) -> torch.Tensor:
        """Probability (h, w, d) in a region.

        Args:
            image: (1, H, W, D).
            context: what the network sees beside it, such as the organ's coarse probability, (C, H', W', D'); C may be
                0.
            source: grid of that.
            roi: in voxels of the image.
            network: (1, 1 + C, h, w, d) -> logits (1, 2, h, w, d).
        """
        channels = [image.as_tensor()[(slice(None), *roi.slices)]]
        if len(context):
            own = Grid.of(image).crop(roi.low.tolist(), roi.high.tolist())
            channels.append(on_grid(context, source, own).to(channels[0]))
        logits = self.windows(torch.cat(channels)[None], network)
        return logits[0].float().softmax(0)[1]


def fixed_point(
    first: np.ndarray,
    segment: Callable[[Roi], torch.Tensor],
    margin: float,
    spacing: Sequence[float],
) -> tuple[Roi, torch.Tensor] | None:
    """The fixed-point baseline: the fine mask makes the next region, until it stays the same.

    Zhou et al., A fixed-point model for pancreas segmentation in abdominal CT scans, MICCAI 2017: at most 10 rounds,
    until the Dice of two masks that follow one another is 0.95; an empty mask ends them, and the one before it stays.

    Args:
        first: the coarse mask, bool (H, W, D).
        segment: probability (h, w, d) in a region.
        margin: mm around a mask.
        spacing: mm of a voxel (3,).

    Returns:
        the last region with its probability; None where the coarse mask is empty, or the first fine one.
    """
    mask, last = first, None
    reach = np.ceil(margin / np.asarray(spacing, dtype=float)).astype(int)
    for number in range(1, ROUNDS + 1):
        box = smallest_box(mask)
        if box is None:
            break
        text = f"coarse mask, {number} round(s)" if number > 1 else "coarse mask"
        roi = Roi(np.maximum(box[0] - reach, 0), np.minimum(box[1] + reach, mask.shape), text)
        probability = segment(roi)
        new = np.zeros_like(mask)
        new[roi.slices] = (probability > 0.5).cpu().numpy()
        if not new.any():
            break
        alike = 2 * np.sum(new & mask) / (new.sum() + mask.sum())
        mask, last = new, (roi, probability)
        if alike >= ALIKE:
            break
    return last
