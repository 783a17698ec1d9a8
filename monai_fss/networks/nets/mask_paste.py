# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Mask paste: a floor that looks at no image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .few_shot import FewShotNet, check_support

__all__ = ["MaskPaste"]


class MaskPaste(FewShotNet):
    """Answers every query slice with the support mask itself, the union of the shots.

    A method that does not beat it has learnt nothing about the image. It takes part in every protocol like a network.

    Args:
        encoder: not used; accepted so that it can stand wherever a method does.
        ways: size of the zero-filled condition.
    """

    masks: torch.Tensor

    def __init__(self, encoder: nn.Module | None = None, ways: int = 1) -> None:
        super().__init__()
        self.register_condition("masks", torch.zeros(ways, 1, 1))
        self.anchor = nn.Parameter(torch.zeros(()), requires_grad=False)  # so that it has a device, like any network

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> logits (B, 1 + W, H, W); masks of another size are resized (nearest)."""
        masks = F.interpolate(self.masks[None], size=image.shape[2:], mode="nearest").expand(len(image), -1, -1, -1)
        foreground = torch.where(masks > 0, 10.0, -10.0)
        return torch.cat([torch.zeros_like(foreground[:, :1]), foreground], dim=1)

    @torch.jit.ignore
    def condition(self, support_image: torch.Tensor, support_label: torch.Tensor) -> MaskPaste:
        """Store the masks."""
        check_support(support_image, support_label)
        self.masks = support_label.amax(dim=(1, 2)).float()
        return self
