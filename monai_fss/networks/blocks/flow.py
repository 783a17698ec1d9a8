# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Dense correspondence of two volumes on one grid: a network that predicts it, and what is done with it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.nets import VoxelMorphUNet
from torch import nn

__all__ = ["FlowNet", "compose_flows", "warp"]

FIRST = 1e-5
"""Standard deviation of the last convolution's first weights, VoxelMorph's: a training begins near the identity."""


def warp(image: torch.Tensor, flow: torch.Tensor, mode: str = "bilinear") -> torch.Tensor:
    """Look an image up at x + flow(x); beyond its edge it has the values of the edge.

    MONAI's ``Warp`` does the same, but keeps a grid, which TorchScript does not compile.

    Args:
        image: (B, C, H, W, D).
        flow: (B, 3, H, W, D), voxels along the three axes.
        mode: ``"bilinear"`` (trilinear) or ``"nearest"``.

    Returns:
        (B, C, H, W, D).
    """
    h, w, d = flow.shape[2], flow.shape[3], flow.shape[4]
    size = torch.tensor([h, w, d], dtype=flow.dtype, device=flow.device)
    lines = [torch.arange(n, dtype=flow.dtype, device=flow.device) for n in (h, w, d)]
    voxels = torch.stack(torch.meshgrid(lines, indexing="ij"), -1)
    where = (2 * (voxels + flow.movedim(1, -1)) + 1) / size - 1
    return F.grid_sample(image, where.flip(-1), mode=mode, padding_mode="border", align_corners=False)


def compose_flows(first: torch.Tensor, then: torch.Tensor) -> torch.Tensor:
    """The flow from x to y + then(y), where y = x + first(x); both and the result (B, 3, H, W, D)."""
    return first + warp(then, first)


class FlowNet(nn.Module):
    """VoxelMorph's U-Net (MONAI's ``VoxelMorphUNet``): from two volumes to where each point of one lies in the other.

    Balakrishnan et al., VoxelMorph: a learning framework for deformable medical image registration, IEEE TMI 2019.

    Args:
        channels: of the levels in pairs, on the way down and on the way up. Default: VoxelMorph's.
        halved: it sees half of the resolution, and its flow is interpolated: an eighth of the work. Default: so.

    Attributes:
        multiple: the sides of volumes are multiples of this.
    """

    def __init__(self, channels: Sequence[int] = (16, 32, 32, 32, 32, 32), halved: bool = True) -> None:
        super().__init__()
        if len(channels) < 4 or len(channels) % 2:
            raise ValueError(
                f"channels must be an even number of 4 or more, down and up in pairs, got {list(channels)}."
            )
        self.body = VoxelMorphUNet(3, 2, channels[1], list(channels), [channels[0], channels[0]])
        self.halved = halved
        self.multiple = 2 ** (len(channels) // 2 + halved)
        last = [module for module in self.body.modules() if isinstance(module, nn.Conv3d)][-1]
        nn.init.normal_(last.weight, std=FIRST)
        if last.bias is not None:
            nn.init.zeros_(last.bias)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        """The flow (B, 3, H, W, D), voxels, by which ``moving`` is warped to ``fixed``; both (B, 1, H, W, D)."""
        pair = torch.cat([moving, fixed], 1)
        if not self.halved:
            return self.body(pair)
        half = self.body(F.avg_pool3d(pair, 2))
        return 2 * F.interpolate(half, scale_factor=2.0, mode="trilinear", align_corners=False)
