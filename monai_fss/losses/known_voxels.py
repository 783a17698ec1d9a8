# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Dice and cross-entropy of labels of which some voxels are in doubt."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from monai.networks import one_hot
from torch import nn

__all__ = ["KnownVoxelsLoss"]


class KnownVoxelsLoss(nn.Module):
    """Dice loss of the organs plus cross-entropy, each over the voxels whose label is known; the mean over samples.

    MONAI's ``DiceCELoss`` with ``softmax`` and without the background's Dice, but for three things: voxels of the value
    ``ignore`` count in neither part (pseudo-labels are in doubt in places), the cross-entropy is a mean over the known
    voxels of each sample, so that the gradient of a batch is the mean of its samples' however they are spread over
    processes, and both are computed in single precision.

    Args:
        ignore: value of voxels that do not count. Default -1: no class has it.
        dice: weight of the Dice loss. Default 1.
        weights: of each class, the background first, in the cross-entropy: the mean over a sample's known voxels counts
            each by that of its class. Default: all alike.
    """

    def __init__(self, ignore: int = -1, dice: float = 1.0, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if dice < 0:
            raise ValueError(f"the weight of the Dice loss must be at least 0, got {dice}.")
        self.ignore = ignore
        self.dice = dice
        self.overlap = DiceLoss(include_background=False)
        self.weights = None if weights is None else torch.tensor([float(weight) for weight in weights])

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """A scalar; 0 for a sample of which nothing is known.

        Args:
            logits: (B, 1 + W, *spatial), background first.
            label: (B, 1, *spatial), class numbers 0 to W, or ``ignore``.
        """
        target = label.long()
        known = target != self.ignore
        logs = logits.float().log_softmax(1)
        own = None if self.weights is None else self.weights.to(logs)
        entropy = F.nll_loss(logs.flatten(2), target.flatten(1), own, ignore_index=self.ignore, reduction="none")
        count = known.flatten(1).sum(1).clamp(min=1)
        if own is not None:
            count = (own[(target * known).flatten(1)] * known.flatten(1)).sum(1).clamp(min=torch.finfo(own.dtype).tiny)
        loss = (entropy.sum(1) / count).mean()
        if not self.dice:
            return loss
        probability, truth = logs.exp(), one_hot(target * known, logits.shape[1], dtype=logs.dtype)
        if not bool(known.all()):
            probability, truth = probability * known, truth * known
        return loss + self.dice * self.overlap(probability, truth)
