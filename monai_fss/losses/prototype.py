# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Loss of PANet, PPNet, ALPNet and CRAPNet: weighted cross-entropy of the query and prototype alignment."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .adnet import episode_cross_entropy
from .segmentation import SegmentationLoss

__all__ = ["PrototypeLoss"]


class PrototypeLoss(SegmentationLoss):
    """L = L_seg + align L_reg, the mean over episodes.

    Wang et al., ICCV 2019 (PANet); Ouyang et al., ECCV 2020 (ALPNet); Ding et al., WACV 2023, Eqs. 18-20 (CRAPNet,
    whose lambda is ``align``; the paper gives no value).

    Args:
        foreground_weight, background_weight: weights of the classes in L_seg, that of :class:`.SegmentationLoss`.
            Defaults 1.0 and 0.05. The alignment loss is unweighted, as in the published codes.
        align: weight of the alignment loss (default 1); an episode that the network says is not ``aligned`` adds 0
            (PANet's, whose predicted query mask is empty). The mean is over the shots that have a mask.

    Raises:
        ValueError: a class weight that is not positive, or a negative ``align``.
    """

    def __init__(self, foreground_weight: float = 1.0, background_weight: float = 0.05, align: float = 1.0) -> None:
        super().__init__(foreground_weight, background_weight)
        if align < 0:
            raise ValueError(f"the weight of alignment must be at least 0, got {align}.")
        self.align = align

    def forward(self, prediction: Mapping[str, torch.Tensor], label: torch.Tensor) -> torch.Tensor:
        """Loss of a batch of episodes, a scalar.

        Args:
            prediction: what ``PANet.forward`` or ``CRAPNet.forward`` returns in training.
            label: (B, 1, H, W), the query's mask.
        """
        return super().forward(prediction, label) + self.align * self._alignment(prediction)

    @staticmethod
    def _alignment(prediction: Mapping[str, torch.Tensor]) -> torch.Tensor:
        logits, support = prediction["aligned_logits"], prediction["support_label"]
        losses = episode_cross_entropy(logits.flatten(0, 1), support.flatten(0, 1)).reshape(logits.shape[:2])
        counts = (support.flatten(2).sum(2) > 0).to(losses.dtype)  # a shot without a mask is padding
        per_episode = (losses * counts).sum(1) / counts.sum(1).clamp(min=1)
        return (per_episode * prediction["aligned"].to(losses.dtype)).mean()
