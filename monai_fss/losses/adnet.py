# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Loss of ADNet: weighted cross-entropy, prototype alignment, and a threshold kept small."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["ADNetLoss", "episode_cross_entropy"]


def episode_cross_entropy(
    logits: torch.Tensor, label: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy of each episode, (B,): a weighted mean over its own pixels.

    Args:
        logits: (B, 2, *spatial).
        label: (B, 1, *spatial), binary.
        weight: (2,) weights of background and foreground; None: a plain mean.
    """
    target = label.flatten(1).long()
    loss = F.cross_entropy(logits.flatten(2), target, weight, reduction="none")
    if weight is None:
        return loss.mean(1)
    return loss.sum(1) / weight.to(loss.dtype)[target].sum(1)


class ADNetLoss(nn.Module):
    """L = L_S + L_T + L_PAR (Eqs. 4-6), the mean over episodes.

    The mean is over per-episode losses, not over the pixels of the batch, so that the gradient of a batch is the mean
    of the gradients of its episodes however they are spread over processes.

    Args:
        foreground_weight, background_weight: weights of the classes in L_S. Defaults 1.0 and 0.1, the paper's, against
            the class imbalance. The alignment loss is unweighted, as in the published code.
        align: weight of L_PAR (default 1); an episode whose predicted query mask is empty adds 0.
        compact: weight of L_T = T / alpha (default 1), which asks for compact foreground features.
    """

    class_weight: torch.Tensor

    def __init__(
        self, foreground_weight: float = 1.0, background_weight: float = 0.1, align: float = 1.0, compact: float = 1.0
    ) -> None:
        super().__init__()
        if min(foreground_weight, background_weight) <= 0 or min(align, compact) < 0:
            raise ValueError(
                f"class weights must be positive and loss weights at least 0, got foreground {foreground_weight}, "
                f"background {background_weight}, align {align}, compact {compact}."
            )
        self.register_buffer("class_weight", torch.tensor([background_weight, foreground_weight]))
        self.align = align
        self.compact = compact

    def forward(self, prediction: Mapping[str, torch.Tensor], label: torch.Tensor) -> torch.Tensor:
        """Loss of a batch of episodes, a scalar.

        Args:
            prediction: what ``ADNet.forward`` returns in training.
            label: (B, 1, H, W), the query's mask.
        """
        weight = self.class_weight.to(label.device)
        segmentation = episode_cross_entropy(prediction["logits"], label, weight).mean()
        logits, support = prediction["aligned_logits"], prediction["support_label"]
        per_shot = episode_cross_entropy(logits.flatten(0, 1), support.flatten(0, 1)).reshape(logits.shape[:2]).mean(1)
        alignment = (per_shot * prediction["aligned"].to(per_shot.dtype)).mean()
        return segmentation + self.compact * prediction["threshold"] / prediction["alpha"] + self.align * alignment
