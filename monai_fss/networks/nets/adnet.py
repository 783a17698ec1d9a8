# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ADNet: anomaly detection-inspired few-shot segmentation with one foreground prototype and a learned threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from monai_fss.networks.blocks import (
    VOLUME_WINDOW,
    cosine_similarity,
    label_windows,
    masked_average_pooling,
    support_prototypes,
)

from .few_shot import FewShotNet, check_support, support_features

__all__ = ["ADNet"]


class ADNet(FewShotNet):
    """Few-shot segmentation that models the foreground alone.

    One prototype stands for each class (Eq. 1). Every query feature gets an anomaly score, its negative scaled cosine
    to the prototype (Eq. 2); what scores below a learned threshold T is foreground, softly (Eq. 3). Hansen et al.,
    "Anomaly detection-inspired few-shot medical image segmentation through self-supervision with supervoxels",
    Medical Image Analysis 78, 2022, https://doi.org/10.1016/j.media.2022.102385.

    As logits: the background has 0, a way log(p / (1 - p)) with its foreground probability p. So a softmax over one
    way gives p, and the argmax over several gives a pixel that several claim to the most probable, and one that none
    claims (all p < 0.5) to the background.

    Slices or volumes: the dimensions are the encoder's. In 3-D a shot is a whole support volume, whose mask may label
    some of its slices alone (section 5.4, k = one or all). The published 3-D code encodes support and query of an
    episode apart, so that batch statistics are those of one window; here, as in 2-D, they are common.

    Args:
        encoder: maps images (B, C, *spatial) to features (B, D, *smaller), D = ``encoder.out_channels``; of three
            dimensions if its ``spatial_dims`` says so.
        alpha: scale of the cosine (Eq. 2). Default 20, the paper's.
        kappa: steepness of the sigmoid (Eq. 3). Default 0.5, the paper's best (Table 6).
        threshold: initial value of T. Default -10, as in the published code (the paper gives none).
        ways: size of the zero-filled condition before :meth:`condition` or a state dict brings another. Default 1.
        support_window: of volumes, the largest part (H, W, slices) of a support that is encoded at once; of a larger
            one as few windows as hold the labelled voxels, whose mean feature is that of all of these voxels. Instance
            norm depends on what a window shows, so it should be that of the queries: default (256, 256, 40), as
            ``FewShotVolumeInferer`` has it. (256, 256, 1) encodes each labelled slice without its neighbours, as the
            published code does with a single one.

    Raises:
        ValueError: a number that is not positive.

    Shapes: B batch, W ways, S shots, C channels, D features; *spatial is H, W or H, W, slices.
    """

    def __init__(
        self,
        encoder: nn.Module,
        alpha: float = 20.0,
        kappa: float = 0.5,
        threshold: float = -10.0,
        ways: int = 1,
        support_window: Sequence[int] = VOLUME_WINDOW,
    ) -> None:
        super().__init__()
        if alpha <= 0 or kappa <= 0 or ways < 1:
            raise ValueError(f"alpha {alpha}, kappa {kappa} and ways {ways} must be positive.")
        if len(support_window) != 3 or min(support_window) < 1:
            raise ValueError(f"support_window must be (H, W, slices), each at least 1, got {tuple(support_window)}.")
        self.encoder = encoder
        self.alpha = alpha
        self.kappa = kappa
        self.support_window = [int(n) for n in support_window]
        self.spatial_dims = int(getattr(encoder, "spatial_dims", 2))
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))
        self.register_condition("prototypes", torch.zeros(ways, cast(int, encoder.out_channels)))

    def anomaly_score(self, features: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
        """Eq. 2: -alpha cos(features, prototypes), (B, W, *smaller), in [-alpha, alpha]."""
        return -self.alpha * cosine_similarity(features, prototypes)

    def probability(self, score: torch.Tensor) -> torch.Tensor:
        """Eq. 3: 1 - sigmoid(kappa (S - T))."""
        # In single precision under AMP too: in half precision a confident probability is 1.0, and its logit infinite.
        return torch.sigmoid(self.kappa * (self.threshold - score.float()))

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, *spatial) of images (B, C, *spatial) by the stored condition."""
        score = self.anomaly_score(self.encoder(image), self.prototypes)
        return self._logits(self.probability(score), list(image.shape[2:]))

    @torch.jit.ignore
    def condition(self, support_image: torch.Tensor, support_label: torch.Tensor) -> ADNet:
        """Store the prototype of each way; see :meth:`FewShotNet.condition` for shapes."""
        check_support(support_image, support_label)
        with torch.no_grad():
            if self.spatial_dims == 3:
                self.prototypes = self._volume_prototypes(support_image, support_label)
                return self
            self.prototypes = support_prototypes(support_features(self.encoder, support_image), support_label)
        return self

    @torch.jit.ignore
    def _volume_prototypes(self, support_image: torch.Tensor, support_label: torch.Tensor) -> torch.Tensor:
        """:func:`support_prototypes` with one window at a time in memory; one that ways share is encoded once.

        What is nan at the far end of a volume fills it up to the size of others, and is cut off: instance norm would
        take it for a part of the body.
        """
        pooled: list[list[torch.Tensor]] = [[] for _ in support_image]
        seen, features = torch.empty(0), torch.empty(0)
        for shot in range(support_image.shape[1]):
            for padded, mask, own in zip(support_image[:, shot], support_label[:, shot], pooled, strict=True):
                image, label = _without_nan(padded, mask)
                parts = []
                for window, part in label_windows(label[0], self.support_window):
                    cut = image[(slice(None), *window)]
                    if not torch.equal(cut, seen.to(cut)):
                        seen, features = cut, self.encoder(cut[None]).float()
                    parts.append(masked_average_pooling(features, part[None, None])[0] * part.sum())
                if parts:
                    own.append(torch.stack(parts).sum(0) / label.sum())
        return torch.stack([torch.stack(own).mean(0) for own in pooled])

    def _logits(self, probability: torch.Tensor, size: list[int]) -> torch.Tensor:
        """(B, W, *smaller) -> (B, 1 + W, *size); probabilities, not scores, are interpolated, as in the public code."""
        mode = "bilinear" if probability.dim() == 4 else "trilinear"
        probability = F.interpolate(probability, size=size, mode=mode, align_corners=True)
        foreground = torch.logit(probability, eps=1e-6)
        return torch.cat([torch.zeros_like(foreground[:, :1]), foreground], dim=1)

    @torch.jit.ignore
    def episode(self, image: torch.Tensor, support_image: torch.Tensor, support_label: torch.Tensor) -> dict:
        """See :meth:`FewShotNet.episode`.

        Returns:
            a dict of ``logits`` (B, 2, *spatial), ``aligned_logits`` (B, S, 2, *spatial) of the support shots segmented
            by the query's predicted mask, ``aligned`` (B,) bool: whether the query's mask held anything,
            ``support_label``, ``threshold`` (), ``alpha``.
        """
        batch, shots = support_image.shape[:2]
        # One batch of supports and queries, so that batch statistics, where an encoder has them, are common to both.
        features = self.encoder(torch.cat([support_image.flatten(0, 1), image]))
        support, query = features[: batch * shots], features[batch * shots :]
        support = support.reshape(batch, shots, *support.shape[1:])
        prototypes = support_prototypes(support, support_label)
        probability = self.probability(self.anomaly_score(query, prototypes[:, None]))
        predicted = (probability > 0.5).to(query.dtype).detach()
        aligned = self._align(query, predicted, support)
        size = list(support_image.shape[3:])
        return {
            "logits": self._logits(probability, list(image.shape[2:])),
            "aligned_logits": self._logits(aligned, size).reshape(batch, shots, 2, *size),
            "aligned": predicted.flatten(1).sum(1) > 0,
            "support_label": support_label,
            "threshold": self.threshold,
            "alpha": self.alpha,
        }

    def _align(self, query: torch.Tensor, predicted: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
        """Eq. 5: the roles reversed, the predicted query mask makes the prototype that segments the support shots."""
        prototypes = support_prototypes(query[:, None], predicted[:, None])
        shots = support.shape[1]
        prototypes = prototypes.repeat_interleave(shots, dim=0)
        return self.probability(self.anomaly_score(support.flatten(0, 1), prototypes[:, None]))


def _without_nan(image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(C, H, W, D) and (1, H, W, D) without the far ends where the image is nan."""
    known = ~torch.isnan(image[0])
    ends = [int(known.movedim(axis, 0).flatten(1).any(1).sum()) for axis in range(3)]
    window = (slice(None), *(slice(0, end) for end in ends))
    return image[window], label[window]
