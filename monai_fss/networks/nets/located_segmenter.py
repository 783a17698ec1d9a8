# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A segmentation network for crops, together with the networks that find where to crop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..blocks import fast_bfloat16
from .model_note import pass_over_note
from .prnet import PRNet

__all__ = ["LocatedSegmenter"]

PREFIX = "point_"


class LocatedSegmenter(nn.Module):
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

    Attributes:
        free_prefix: of the buffers that :meth:`remember` makes; their names and shapes are those of the weights loaded.
    """

    free_prefix = PREFIX

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
        with torch.autocast(image.device.type, torch.bfloat16):
            return self.segmenter(image).float()

    def remember(self, points: Mapping[str, torch.Tensor]) -> LocatedSegmenter:
        """Keep what is known of the labelled scan's points (tensors by name) among the weights."""
        for name in list(self.points()):
            del self._buffers[PREFIX + name]
        device = self.coarse.reach.device
        for name, value in points.items():
            self.register_buffer(PREFIX + name, value.detach().clone().to(device))
        return self

    def points(self) -> dict[str, torch.Tensor]:
        """What :meth:`remember` kept; empty before."""
        return {
            name.removeprefix(PREFIX): value
            for name, value in self._buffers.items()
            if name.startswith(PREFIX) and value is not None
        }

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        pass_over_note(state_dict, prefix)
        kept = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix + PREFIX)}
        self.remember({name.removeprefix(PREFIX): value for name, value in kept.items()})
        super()._load_from_state_dict(state_dict, prefix, *args)
