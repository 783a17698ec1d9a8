# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The loss that every few-shot network can be trained by: weighted cross-entropy of the query."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from .adnet import episode_cross_entropy

__all__ = ["SegmentationLoss"]


class SegmentationLoss(nn.Module):
    """Cross-entropy of the query, weighted by class, the mean over episodes.

    It needs the logits alone: a first loss for a new method.

    The mean is over per-episode losses, not over the pixels of the batch, so that the gradient of a batch is the mean
    of the gradients of its episodes however they are spread over processes.

    Args:
        foreground_weight, background_weight: weights of the classes. Defaults 1.0 and 0.05, ALPNet's, against the class
            imbalance (PANet on photographs weighs them alike).

    Raises:
        ValueError: a weight that is not positive.
    """

    class_weight: torch.Tensor

    def __init__(self, foreground_weight: float = 1.0, background_weight: float = 0.05) -> None:
        super().__init__()
        if min(foreground_weight, background_weight) <= 0:
            raise ValueError(
                f"class weights must be positive, got foreground {foreground_weight}, background {background_weight}."
            )
        self.register_buffer("class_weight", torch.tensor([background_weight, foreground_weight]))

    def forward(self, prediction: Mapping[str, torch.Tensor], label: torch.Tensor) -> torch.Tensor:
        """Loss of a batch of episodes, a scalar.

        Args:
            prediction: what :meth:`monai_fss.networks.nets.FewShotNet.episode` returns; ``logits`` (B, 2, *spatial).
            label: (B, 1, *spatial), the query's mask, binary.
        """
        return episode_cross_entropy(prediction["logits"], label, self.class_weight.to(label.device)).mean()
