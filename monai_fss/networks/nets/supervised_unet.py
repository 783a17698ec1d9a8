# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The ordinary supervised 3-D network: what learning from many labels gives, and the student of pseudo-labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import DynUNet
from torch import nn

from ..blocks import autocast_bfloat16, fast_bfloat16
from .model_note import pass_over_note

__all__ = ["SupervisedUNet"]


class SupervisedUNet(nn.Module):
    """MONAI's ``DynUNet`` (nnU-Net's) that works from half resolution on: its first convolution has a stride of 2.

    On a processor full resolution costs most of the time. The logits of half resolution are interpolated linearly to
    that of the image.

    Args:
        ways: classes besides the background.
        channels: of the levels, the first of which has half of the image's resolution and each further one half of the
            one before. Default (24, 48, 96, 192), 3.2 million weights; the sides of an image are multiples of 16 then.
        bfloat16: whether it is trained in bfloat16. Default None: where that is fast, see
            :func:`monai_fss.networks.blocks.fast_bfloat16`. In use it works in single precision.
        in_channels: of the image. Default 1.

    Attributes:
        output_prefix: by which the names of the weights begin that belong to the classes.
    """

    output_prefix = "body.output_block."

    def __init__(
        self, ways: int, channels: Sequence[int] = (24, 48, 96, 192), bfloat16: bool | None = None, in_channels: int = 1
    ) -> None:
        super().__init__()
        levels = len(channels)
        self.body = DynUNet(
            spatial_dims=3,
            in_channels=in_channels,
            out_channels=1 + ways,
            kernel_size=[3] * levels,
            strides=[2] * levels,
            upsample_kernel_size=[2] * (levels - 1),
            filters=list(channels),
        )
        self.in_bfloat16 = fast_bfloat16() if bfloat16 is None else bfloat16

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, H, W, D), background first, of windows (B, C, H, W, D)."""
        if torch.jit.is_scripting() or not (self.in_bfloat16 and self.training):
            return self._full(self.body(image), image)
        with autocast_bfloat16(image.device.type):
            half = self.body(image)
        return self._full(half.float(), image)

    def _full(self, half: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return F.interpolate(half, size=image.shape[2:], mode="trilinear", align_corners=False)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        pass_over_note(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
