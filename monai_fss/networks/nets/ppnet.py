# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PPNet: several prototypes a class, which stand for its parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from monai_fss.networks.blocks import max_similarity, part_prototypes

from .panet import PANet, outside

__all__ = ["PPNet"]


class PPNet(PANet):
    """PANet with part-aware prototypes: k-means divides the features of a class, and of its background, into clusters.

    A prototype is the mean of a cluster and ``global_weight`` times the mean of the whole class; a pixel's similarity
    to a class is that to the most similar of its prototypes, alpha max cos. Gradients reach the features through the
    means, not through the assignment to clusters. Liu et al., "Part-aware prototype network for few-shot semantic
    segmentation", ECCV 2020, https://arxiv.org/abs/2007.06309.

    This is the form in which Hansen et al. 2022 (ADNet, Tables 1 to 3) compare it, trained without labels: five
    prototypes of the class and five of its background. The semantic branch and the graph over unlabelled images, which
    need labels of many classes, are no part of it.

    Choices: k-means starts at pixels at even distances in the order of rows rather than at random ones, so that a
    condition depends on the support alone. As in the published code, features of the class are taken at twice their
    resolution and those of the background at their own (in the alignment the published code doubles both). The rest is
    as in :class:`PANet`, an empty predicted mask included, which is not aligned.

    Args:
        encoder: maps images (B, C, H, W) to features (B, D, h, w), D = ``encoder.out_channels``.
        alpha: scale of the cosine. Default 20, the published code's.
        clusters: prototypes of a class, and of its background. Default 5, that of both papers.
        global_weight: share of the mean of the whole class in each prototype. Default 0.8, the published code's.
        ways: size of the zero-filled condition before :meth:`condition` or a state dict brings another. Default 1.

    Raises:
        ValueError: a number out of its range.

    The condition is ``prototypes`` (W, 2, clusters, D), background first, and ``valid`` (W, 2, clusters).
    """

    def __init__(
        self,
        encoder: nn.Module,
        alpha: float = 20.0,
        clusters: int = 5,
        global_weight: float = 0.8,
        ways: int = 1,
    ) -> None:
        super().__init__(encoder, alpha, ways)
        if clusters < 1 or global_weight < 0:
            raise ValueError(f"clusters {clusters} must be at least 1, global_weight {global_weight} at least 0.")
        self.clusters = clusters
        self.global_weight = float(global_weight)

    @torch.jit.ignore
    def pool(
        self,
        features: torch.Tensor,
        mask: torch.Tensor,
        size: Sequence[int],
        episode: bool = False,
        padding: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prototypes (N, 2, P, D), background first, and which are valid (N, 2, P); see :meth:`PANet.pool`."""
        sides = [
            part_prototypes(features, side, self.clusters, self.global_weight, upscale)
            for side, upscale in ((outside(mask, padding), 1), (mask, 2))
        ]
        return torch.stack([bank for bank, _ in sides], 1), torch.stack([valid for _, valid in sides], 1)

    def score(self, features: torch.Tensor, prototypes: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Foreground minus background similarity, (B, W, h, w); see :meth:`PANet.score`."""
        similarity = max_similarity(features, prototypes.flatten(-4, -3), valid.flatten(-3, -2), self.alpha)
        return similarity[:, 1::2] - similarity[:, 0::2]
