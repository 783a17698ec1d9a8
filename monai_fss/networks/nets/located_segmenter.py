# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A segmentation network for crops, together with the networks that find where to crop."""

from __future__ import annotations

import torch
from torch import nn

from ..blocks import autocast_bfloat16, fast_bfloat16
from .prnet import PRNet
from .remembering import Remembering

__all__ = ["LocatedSegmenter"]


class LocatedSegmenter(Remembering):
    """What PRNet's pipeline ends with: a U-Net that knows the organs' surroundings alone, and what finds these.

    Lei et al., "One-shot weakly-supervised segmentation in medical images", arXiv:2111.10773, train the U-Net on crops
    around the pseudo-masks, so that a new scan has to be cropped alike: the labelled scan's points are found in it
    first. All that this needs (both PRNets, and what they saw at the points) is kept in one file of weights with the
    U-Net. To MONAI's tools it is the U-Net; :class:`monai_fss.inferers.LocatedInferer` uses the rest.

    Args:
        segmenter: (B, C, H, W, D) -> logits (B, 1 + W, H, W, D), background first.
        coarse, fine: networks of the coarse and the fine jumps; they are not trained any more. Default of ``fine``: the
            coarse one is all that there is, as in the paper (its code has two).
        bfloat16: whether the segmenter is trained in bfloat16, see :class:`PRNet`. Default: where that is fast.
    """

    free_prefix = "point_"

    def __init__(
        self, segmenter: nn.Module, coarse: PRNet, fine: PRNet | None = None, bfloat16: bool | None = None
    ) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.coarse = coarse.requires_grad_(False)
        self.fine = None if fine is None else fine.requires_grad_(False)
        self.in_bfloat16 = fast_bfloat16() if bfloat16 is None else bfloat16

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, H, W, D) of crops (B, C, H, W, D) with voxels and intensities as in training."""
        if torch.jit.is_scripting() or not (self.in_bfloat16 and self.training):
            return self.segmenter(image)
        with autocast_bfloat16(image.device.type):
            return self.segmenter(image).float()

    def points(self) -> dict[str, torch.Tensor]:
        """What :meth:`remember` kept of the labelled scan's points; empty before."""
        return self.remembered()
