# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Loss of PRNet: the offsets between patches of a scan in mm, and the patches themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["PRNetLoss"]


class PRNetLoss(nn.Module):
    """L = L_dis + L_rec: squared errors of the offsets in mm and of the reconstructions (Eqs. 2 and 3).

    The paper draws two patches of a scan; of n patches every two are a pair here, at no cost, since each is looked at
    once: with 8 of them 28 offsets are learnt from. The published code adds both parts unweighted, each a mean over its
    numbers (and over the two patches a sum); the offset's, in mm^2, is by far the largest at first.

    Args:
        reach: r in mm along each axis, see :class:`monai_fss.networks.nets.PRNet`.
        reconstruction: weight of L_rec. Default 1.

    Raises:
        ValueError: a weight below 0.
    """

    def __init__(self, reach: Sequence[float], reconstruction: float = 1.0) -> None:
        super().__init__()
        if reconstruction < 0:
            raise ValueError(f"reconstruction must be at least 0, got {reconstruction}.")
        self.reach = tuple(float(r) for r in reach)
        self.reconstruction = reconstruction

    def forward(self, features: Any, target: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """A scalar.

        Args:
            features: :class:`monai_fss.networks.nets.PatchFeatures` of B scans times n patches.
            target: ``place`` (B, n, 3), where the patches lie in mm, n at least 2; ``patches`` (B n, C, H, W, D), 0..1.
        """
        place = target["place"]
        position = features.position.reshape(place.shape)
        first, second = torch.triu_indices(place.shape[1], place.shape[1], 1, device=place.device)
        reach = position.new_tensor(self.reach)
        offset = reach * torch.tanh(position[:, first] - position[:, second])
        loss = F.mse_loss(offset, place[:, first] - place[:, second])
        count = len(features.reconstruction)
        if self.reconstruction and count:
            rebuilt = torch.sigmoid(features.reconstruction.float())
            loss = loss + 2 * self.reconstruction * F.mse_loss(rebuilt, target["patches"][:count].float())
        return loss
