# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PANet: foreground and background prototypes, and their alignment between support and query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from monai_fss.networks.blocks import softmax_similarity, support_prototypes

from .few_shot import FewShotNet, check_support, support_features

__all__ = ["PANet"]


class PANet(FewShotNet):
    """Few-shot segmentation by the nearest prototype, foreground or background.

    Masked average pooling gives one prototype of a class and one of its background; a query pixel's similarity to each
    is alpha cos. Training adds the alignment of prototypes: the query with its predicted mask segments the support.
    Wang et al., "PANet: Few-shot image semantic segmentation with prototype alignment", ICCV 2019,
    https://arxiv.org/abs/1908.06391; for medical scans with self-supervision as in Ouyang et al., ECCV 2020.

    As logits: the background has 0, a way its foreground similarity minus its background similarity, so that a softmax
    over one way is the paper's. Choices where several classes are asked for together (the paper has one background,
    what no class covers): each way is compared with a background of its own, everything outside its mask, other classes
    included. A way's logit thus depends on no other way. The prototypes of several shots are averaged over the shots;
    a shot whose mask is everything has no background, and where no shot has one, its similarity is 0.

    Args:
        encoder: maps images (B, C, H, W) to features (B, D, h, w), D = ``encoder.out_channels``.
        alpha: scale of the cosine. Default 20, the paper's.
        ways: size of the zero-filled condition before :meth:`condition` or a state dict brings another. Default 1.

    The condition is ``prototypes`` (W, 2, P, D), background first, and ``valid`` (W, 2, P): here P = 1. A subclass
    pools more prototypes by its own :meth:`pool`.

    Attributes:
        aligns_empty: whether an episode whose predicted query mask is empty is aligned, with a background alone (and a
            foreground similarity of 0). PANet's published code passes it over.

    Shapes: B batch, W ways, S shots, C channels, D features, P prototypes.
    """

    aligns_empty = False

    def __init__(self, encoder: nn.Module, alpha: float = 20.0, ways: int = 1) -> None:
        super().__init__()
        if alpha <= 0 or ways < 1:
            raise ValueError(f"alpha {alpha} and ways {ways} must be positive.")
        self.encoder = encoder
        self.alpha = float(alpha)
        self.register_condition("prototypes", torch.zeros(ways, 2, 1, cast(int, encoder.out_channels)))
        self.register_condition("valid", torch.zeros(ways, 2, 1, dtype=torch.bool))

    @torch.jit.ignore
    def pool(
        self,
        features: torch.Tensor,
        mask: torch.Tensor,
        size: Sequence[int],
        episode: bool = False,
        padding: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prototypes (N, 2, P, D), background first, and which are valid (N, 2, P).

        Args:
            features: (N, S, D, h, w).
            mask: (N, S, 1, H', W'), binary, of any size.
            size: (H, W) of the images, by which a subclass may divide the features.
            episode: within an episode of training, where a subclass may divide them otherwise.
            padding: whether a shot with an empty mask is padding (default), or all background.
        """
        sides = [outside(mask, padding), mask]
        prototypes = torch.stack([support_prototypes(features, side) for side in sides], 1)
        valid = torch.stack([side.flatten(1).sum(1) > 0 for side in sides], 1)
        return prototypes[:, :, None], valid[:, :, None]

    def score(self, features: torch.Tensor, prototypes: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """Foreground minus background similarity, (B, W, h, w).

        Args:
            features: (B, D, h, w).
            prototypes: (W, 2, P, D), or (B, W, 2, P, D): each query with its own.
            valid: (W, 2, P) or (B, W, 2, P).
        """
        similarity = softmax_similarity(features, prototypes.flatten(-4, -3), valid.flatten(-3, -2), self.alpha)
        return similarity[:, 1::2] - similarity[:, 0::2]

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, H, W) of images (B, C, H, W) by the stored condition."""
        return self._logits(self.score(self.encoder(image).float(), self.prototypes, self.valid), list(image.shape[2:]))

    @torch.jit.ignore
    def condition(self, support_image: torch.Tensor, support_label: torch.Tensor) -> PANet:
        """Store the prototypes of each way; see :meth:`FewShotNet.condition` for shapes."""
        check_support(support_image, support_label)
        with torch.no_grad():
            features = support_features(self.encoder, support_image)
            self.prototypes, self.valid = self.pool(features, support_label, support_image.shape[3:])
        return self

    def _logits(self, score: torch.Tensor, size: list[int]) -> torch.Tensor:
        """(B, W, h, w) -> (B, 1 + W, H, W); similarities are interpolated, as in the published codes."""
        foreground = F.interpolate(score, size=size, mode="bilinear", align_corners=False)
        return torch.cat([torch.zeros_like(foreground[:, :1]), foreground], dim=1)

    @torch.jit.ignore
    def episode(self, image: torch.Tensor, support_image: torch.Tensor, support_label: torch.Tensor) -> dict:
        """See :meth:`FewShotNet.episode`.

        Returns:
            a dict of ``logits`` (B, 2, H, W), ``aligned_logits`` (B, S, 2, H, W) of the support shots segmented by the
            query's predicted mask, ``aligned`` (B,) bool: whether that mask held anything or need not
            (:attr:`aligns_empty`), and ``support_label``.
        """
        batch, shots = support_image.shape[:2]
        # One batch of supports and queries, so that batch statistics, where an encoder has them, are common to both.
        # Single precision under AMP too: half cannot hold the sum over a background of 256 x 256 pixels.
        features = self.encoder(torch.cat([support_image.flatten(0, 1), image])).float()
        support, query = features[: batch * shots], features[batch * shots :]
        size = list(support_image.shape[3:])
        prototypes, valid = self.pool(support.unflatten(0, (batch, shots)), support_label, size, episode=True)
        score = self.score(query, prototypes[:, None], valid[:, None])
        predicted = (score > 0).to(query.dtype).detach()
        prototypes, valid = self.pool(query[:, None], predicted[:, None], image.shape[2:], True, not self.aligns_empty)
        aligned = self._logits(self._align(prototypes, valid, support, shots), size)
        return {
            "logits": self._logits(score, list(image.shape[2:])),
            "aligned_logits": aligned.reshape(batch, shots, 2, *size),
            "aligned": (predicted.flatten(1).sum(1) > 0) | self.aligns_empty,
            "support_label": support_label,
        }

    def _align(self, prototypes: torch.Tensor, valid: torch.Tensor, support: torch.Tensor, shots: int) -> torch.Tensor:
        """The roles reversed: prototypes of the query under its predicted mask segment the support (B S, D, h, w)."""
        prototypes, valid = (x.repeat_interleave(shots, dim=0)[:, None] for x in (prototypes, valid))
        return self.score(support, prototypes, valid)


def outside(mask: torch.Tensor, padding: bool = True) -> torch.Tensor:
    """Background of each shot (N, S, 1, H, W); where ``padding``, a shot with an empty mask has none."""
    mask = mask > 0
    return (~mask & mask.flatten(2).any(2)[..., None, None, None] if padding else ~mask).float()
