# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""LT-Net: correspondence of a labelled scan and any other, forward and back, by which the label is transferred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import nn

from ..blocks import FlowNet, compose_flows, warp
from .model_note import pass_over_note

__all__ = ["Cycle", "LTNet"]


class Cycle(NamedTuple):
    """The labelled scan, carried to an unlabelled one and back: what LT-Net's loss compares.

    Attributes:
        forth: (B, 3, H, W, D), voxels: a point of the unlabelled scan lies in the labelled one at its place plus this.
        back: (B, 3, H, W, D): a point of the labelled scan lies in ``moved`` at its place plus this.
        residual: (B, 3, H, W, D), the two in turn: 0 where they lead back.
        labelled, masks: the labelled scan (B, 1, H, W, D), and of each class its mask (B, W, H, W, D), 0..1.
        moved: the labelled scan, warped to the unlabelled one.
        returned, masks_returned: what became of the labelled scan and its masks there and back.
    """

    forth: torch.Tensor
    back: torch.Tensor
    residual: torch.Tensor
    labelled: torch.Tensor
    masks: torch.Tensor
    moved: torch.Tensor
    returned: torch.Tensor
    masks_returned: torch.Tensor


class LTNet(nn.Module):
    """Label transfer by reversible voxel-wise correspondence.

    Wang, Cao, Wei, Wang, Ma, Wang, Meng, Zheng, LT-Net: label transfer by learning reversible voxel-wise correspondence
    for one-shot medical image segmentation, CVPR 2020. One network predicts the flow by which the labelled scan is
    warped to an unlabelled one, another the flow by which the result is warped back. The labelled scan belongs to the
    weights (:meth:`hold`), on a grid that all others are brought to, so that the network is an ordinary segmentation
    network on that grid. The paper's discriminator is not part of it.

    Args:
        ways: classes besides the background.
        grid_size: (H, W, D) of the grid, multiples of ``multiple``.
        flow_channels, halved: see :class:`monai_fss.networks.blocks.FlowNet`.

    Attributes:
        multiple: the sides of the grid are multiples of this.

    Raises:
        ValueError: they are not.
    """

    if TYPE_CHECKING:  # TorchScript reads annotations that are there when a module is scripted, and not as text
        labelled: torch.Tensor
        masks: torch.Tensor
        affine: torch.Tensor

    def __init__(
        self,
        ways: int,
        grid_size: Sequence[int],
        flow_channels: Sequence[int] = (16, 32, 32, 32, 32, 32),
        halved: bool = True,
    ) -> None:
        super().__init__()
        self.forth = FlowNet(flow_channels, halved)
        self.back = FlowNet(flow_channels, halved)
        self.multiple = self.forth.multiple
        size = [int(side) for side in grid_size]
        if len(size) != 3 or any(side < 1 or side % self.multiple for side in size):
            raise ValueError(f"grid_size must be three multiples of {self.multiple}, got {list(grid_size)}.")
        self.register_buffer("labelled", torch.zeros(1, 1, *size))
        self.register_buffer("masks", torch.zeros(1, ways, *size, dtype=torch.uint8))
        self.register_buffer("affine", torch.eye(4, dtype=torch.float64))  # not halved with the weights

    @torch.jit.ignore
    def hold(self, labelled: torch.Tensor, masks: torch.Tensor, affine: torch.Tensor) -> LTNet:
        """Keep the labelled scan; returns itself.

        Args:
            labelled: (1, H, W, D), intensities 0..1.
            masks: (W, H, W, D), 0..1; kept in steps of 1 / 255.
            affine: (4, 4), index of the grid to mm.

        Raises:
            ValueError: they are of another size.
        """
        for name, value in (("labelled", labelled), ("masks", masks)):
            own = getattr(self, name)
            if value.shape != own.shape[1:]:
                raise ValueError(f"{name} must be of shape {tuple(own.shape[1:])}, got {tuple(value.shape)}.")
        self.labelled.copy_(labelled[None])
        self.masks.copy_((masks[None] * 255).round())
        self.affine.copy_(affine)
        return self

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, H, W, D), background 0, of scans (B, 1, H, W, D) on the grid; while training a cycle."""
        if not torch.jit.is_scripting() and self.training:
            return cast(torch.Tensor, self.cycle(image))
        count = image.shape[0]
        flow = self.forth(self.labelled.expand(count, -1, -1, -1, -1), image)
        masks = self.masks.to(flow.dtype).expand(count, -1, -1, -1, -1) / 255
        logits = torch.logit(warp(masks, flow), eps=1e-6)  # finite where there is none of a class
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)

    @torch.jit.ignore
    def cycle(self, image: torch.Tensor) -> Cycle:
        """Carry the labelled scan to scans (B, 1, H, W, D) and back."""
        labelled = self.labelled.expand(len(image), -1, -1, -1, -1)
        masks = (self.masks.to(image.dtype) / 255).expand(len(image), -1, -1, -1, -1)
        forth = self.forth(labelled, image)
        moved = warp(labelled, forth)
        back = self.back(moved, labelled)
        returned, masks_returned = warp(moved, back), warp(warp(masks, forth), back)
        residual = compose_flows(back, forth)
        return Cycle(forth, back, residual, labelled, masks, moved, returned, masks_returned)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        pass_over_note(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
