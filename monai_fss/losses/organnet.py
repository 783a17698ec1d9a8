# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Loss of OrganNet and RP-Net: Dice and cross-entropy of the organ, in equal parts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from monai.losses import DiceCELoss
from torch import nn

__all__ = ["OrganNetLoss"]


class OrganNetLoss(nn.Module):
    """L = L_Dice + L_CE of episodes of one organ (Zhou et al., OrganNet, section 3.2).

    MONAI's ``DiceCELoss`` of the softmax; the Dice is that of the organ alone, each episode by itself, since each shows
    another organ.

    Args:
        dice, cross_entropy: weights. Defaults 1 and 1, the paper's equal ones.
    """

    def __init__(self, dice: float = 1.0, cross_entropy: float = 1.0) -> None:
        super().__init__()
        self.loss = DiceCELoss(
            include_background=False, to_onehot_y=True, softmax=True, lambda_dice=dice, lambda_ce=cross_entropy
        )

    def forward(self, prediction: Mapping[str, torch.Tensor], label: torch.Tensor) -> torch.Tensor:
        """Loss of a batch of episodes, a scalar.

        Args:
            prediction: what :meth:`monai_fss.networks.nets.FewShotNet.episode` returns; ``logits`` (B, 2, *spatial).
            label: (B, 1, *spatial), the query's mask, binary.
        """
        loss: torch.Tensor = self.loss(prediction["logits"], label)
        return loss
