# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""DataAug: how a labelled scan must be deformed, and its intensities changed, to look like an unlabelled one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from monai.networks.nets import UNet
from torch import nn

from ..blocks import FlowNet, warp

__all__ = ["DataAugNet", "Transformations"]


class Transformations(NamedTuple):
    """What :class:`DataAugNet` says of a labelled scan x and an unlabelled scan y on one grid, (B, C, H, W, D) each.

    Attributes:
        flow: C = 3, voxels: a point of y lies in x at y's place plus this.
        back: C = 3, the other way round.
        change: C = 1, what is added to the intensities of x.
        moved: x, deformed to the shape of y.
        moved_back: y, deformed to the shape of x.
        dressed: x with the appearance of y, in the shape of y.
    """

    flow: torch.Tensor
    back: torch.Tensor
    change: torch.Tensor
    moved: torch.Tensor
    moved_back: torch.Tensor
    dressed: torch.Tensor


class DataAugNet(nn.Module):
    """The spatial and the appearance transformation of DataAug.

    Zhao, Balakrishnan, Durand, Guttag, Dalca, Data augmentation using learned transformations for one-shot medical
    image segmentation, CVPR 2019. Two networks predict where points of y lie in x and the other way round, as in the
    published code; a U-Net sees x and y in the shape of x, and predicts what is added to x. No gradient goes from the
    appearance to the flows: all are trained in one go, and the flows are what they would be alone.

    Args:
        flow_channels: see :class:`monai_fss.networks.blocks.FlowNet`.
        appearance_channels: of the levels of the appearance network, the first of half resolution.
        halved: see :class:`monai_fss.networks.blocks.FlowNet`.
        learn_flows: whether there are networks of flows. Default: so. Else flows are handed in.

    Attributes:
        multiple: the sides of volumes are multiples of this.
    """

    def __init__(
        self,
        flow_channels: Sequence[int] = (16, 32, 32, 32, 32, 32),
        appearance_channels: Sequence[int] = (16, 32, 32),
        halved: bool = True,
        learn_flows: bool = True,
    ) -> None:
        super().__init__()
        self.forth = FlowNet(flow_channels, halved) if learn_flows else None
        self.back = FlowNet(flow_channels, halved) if learn_flows else None
        none: Any = None  # intensities count; MONAI takes it, though its annotation does not say so
        self.appearance = UNet(3, 2, 1, list(appearance_channels), [2] * (len(appearance_channels) - 1), norm=none)
        self.multiple = max(2 ** (len(flow_channels) // 2 + halved), 2 ** (len(appearance_channels) - 1))

    def forward(
        self, image: torch.Tensor, flow: torch.Tensor | None = None, back: torch.Tensor | None = None
    ) -> Transformations:
        """Look at pairs.

        Args:
            image: (B, 2, H, W, D), the labelled scan and the unlabelled one.
            flow, back: (B, 3, H, W, D), where they are known. Default: the networks predict them.

        Raises:
            ValueError: they are not given, and there is no network that predicts them.
        """
        labelled, scan = image[:, :1], image[:, 1:]
        if flow is None or back is None:
            if self.forth is None or self.back is None:
                raise ValueError("there is no network of flows: give flow and back, or build it with learn_flows.")
            flow, back = self.forth(labelled, scan), self.back(scan, labelled)
        moved, moved_back = warp(labelled, flow), warp(scan, back)
        change = self.appearance(torch.cat([labelled, moved_back.detach()], 1))
        dressed = warp(labelled + change, flow.detach())
        return Transformations(flow, back, change, moved, moved_back, dressed)
