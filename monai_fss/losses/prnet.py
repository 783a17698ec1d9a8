# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Loss of PRNet: the offset of two patches in mm, and the patches themselves."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["PRNetLoss"]


class PRNetLoss(nn.Module):
    """L = L_dis + L_rec: squared errors of the offset in mm and of both reconstructions (Eq. 3).

    The published code adds the three unweighted, each a mean over its numbers; the offset's, in mm^2, is by far the
    largest at first.

    Args:
        reconstruction: weight of L_rec. Default 1.
    """

    def __init__(self, reconstruction: float = 1.0) -> None:
        super().__init__()
        if reconstruction < 0:
            raise ValueError(f"reconstruction must be at least 0, got {reconstruction}.")
        self.reconstruction = reconstruction

    def forward(
        self,
        offset: torch.Tensor,
        true_offset: torch.Tensor,
        reconstructions: torch.Tensor,
        patches: torch.Tensor,
    ) -> torch.Tensor:
        """A scalar.

        Args:
            offset: predicted, (B, 3), mm.
            true_offset: (B, 3), mm.
            reconstructions: logits of intensities of 0..1, (2, B, C, H, W, D), of the first and second patches.
            patches: (2, B, C, H, W, D), 0..1.
        """
        rebuilt = torch.sigmoid(reconstructions.float())
        of_each = [F.mse_loss(a, b.float()) for a, b in zip(rebuilt, patches, strict=True)]
        return F.mse_loss(offset, true_offset) + self.reconstruction * (of_each[0] + of_each[1])
