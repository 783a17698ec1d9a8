# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The loss of LT-Net: likeness, smoothness, and what must be as before after a way there and back."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss, LocalNormalizedCrossCorrelationLoss
from torch import nn

from .data_aug import roughness

__all__ = ["LTNetLoss"]


class LTNetLoss(nn.Module):
    """How far a labelled scan that was carried to an unlabelled one is like it, and is itself again when carried back.

    Wang et al., CVPR 2020, whose cycles of the image, the transformation and the anatomy these are; its adversarial
    loss is left out. The weights are ours. All three cycles are 0 where the flows lead back.

    Args:
        window: edge of the correlation's window, voxels. Default 9, VoxelMorph's.
        smooth: weight of the squared gradients of both flows. Default 1, as for DataAug's.
        image: weight of the mean absolute difference of the labelled scan before and after. Default 1.
        transformation: weight of the mean length, voxels, of what both flows leave of a point's way. Default 0.1: it
            is in voxels, the others are shares.
        anatomy: weight of the Dice loss of the masks before and after. Default 1.
    """

    def __init__(
        self,
        window: int = 9,
        smooth: float = 1.0,
        image: float = 1.0,
        transformation: float = 0.1,
        anatomy: float = 1.0,
    ) -> None:
        super().__init__()
        self.similarity = LocalNormalizedCrossCorrelationLoss(kernel_size=window)
        self.smooth, self.image, self.transformation, self.anatomy = smooth, image, transformation, anatomy
        self.overlap = DiceLoss(squared_pred=True)

    def forward(self, found: Any, scan: torch.Tensor) -> torch.Tensor:
        """A scalar.

        Args:
            found: see :class:`monai_fss.networks.nets.Cycle`.
            scan: the unlabelled scans, (B, 1, H, W, D).
        """
        flows = roughness(found.forth) + roughness(found.back)
        return self.similarity(found.moved, scan) + self.smooth * flows + sum(self.cycles(found).values())

    def cycles(self, found: Any) -> dict[str, torch.Tensor]:
        """The weighted losses of the three cycles, by name."""
        length = (found.residual.square().sum(1) + torch.finfo(found.residual.dtype).tiny).sqrt()
        return {
            "image": self.image * F.l1_loss(found.returned, found.labelled),
            "transformation": self.transformation * length.mean(),
            "anatomy": self.anatomy * self.overlap(found.masks_returned, found.masks),
        }
