# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The loss of DataAug's transformations."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from monai.losses import LocalNormalizedCrossCorrelationLoss
from torch import nn

__all__ = ["DataAugLoss", "roughness"]


def roughness(values: torch.Tensor, counts: torch.Tensor | None = None) -> torch.Tensor:
    """Mean squared difference of neighbouring voxels, the mean over the three axes.

    Args:
        values: (B, C, H, W, D), each side at least 2.
        counts: (B, 1, H, W, D), the weight of a voxel's difference from the next one. Default: 1.
    """
    total = values.new_zeros(())
    for axis in (2, 3, 4):
        count = values.shape[axis] - 1
        squared = (values.narrow(axis, 1, count) - values.narrow(axis, 0, count)).square()
        total = total + (squared if counts is None else squared * counts.narrow(axis, 0, count)).mean() / 3
    return total


class DataAugLoss(nn.Module):
    """How well flows and appearance explain an unlabelled scan, and how smooth they are.

    Flows: local normalised cross-correlation there and back, and the squared gradient of the displacements, as in
    VoxelMorph. Appearance: the mean squared difference of the dressed scan and the unlabelled one, and the squared
    gradient of the change but for voxels on contours of the label, where intensities may change abruptly (Zhao et al.,
    CVPR 2019).

    Args:
        window: edge of the correlation's window, voxels. Default 9, the published code's.
        smooth: weight of the flows' gradient. Default 1, the published code's.
        reconstruction: weight of the squared difference; that of the change's gradient is 1. Default 50, the published
            code's.
        flows: whether flows are learnt. Default: so; else they are given, and count in nothing.
    """

    def __init__(self, window: int = 9, smooth: float = 1.0, reconstruction: float = 50.0, flows: bool = True) -> None:
        super().__init__()
        self.similarity = LocalNormalizedCrossCorrelationLoss(kernel_size=window)
        self.smooth = smooth
        self.reconstruction = reconstruction
        self.flows = flows

    def forward(self, found: Any, target: dict[str, torch.Tensor]) -> torch.Tensor:
        """A scalar.

        Args:
            found: see :class:`monai_fss.networks.nets.Transformations`.
            target: ``image`` (B, 2, H, W, D), the labelled scan and the unlabelled one; ``contours`` (B, 1, H, W, D), 1
                on contours of the label, else 0.
        """
        labelled, scan = target["image"][:, :1], target["image"][:, 1:]
        loss = self.reconstruction * F.mse_loss(found.dressed, scan) + roughness(found.change, 1 - target["contours"])
        if not self.flows:
            return loss
        likeness = self.similarity(found.moved, scan) + self.similarity(found.moved_back, labelled)
        return loss + likeness + self.smooth * (roughness(found.flow) + roughness(found.back))
