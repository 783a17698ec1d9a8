# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""RP-Net: the support's mask, registered to the query, is refined by what lies inside and outside of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from monai_fss.networks.blocks import ContextRelation, affine_maps, exporting, mapped

from .few_shot import check_support, support_features
from .panet import PANet

__all__ = ["RPNet"]


class RPNet(PANet):
    """Few-shot segmentation by recurrent refinement of a mask.

    :class:`ContextRelation` describes each feature by the inside and the outside of a mask. Prototypes of class and
    background are means of the support's relations under its own mask; the query's relations under the mask found so
    far are compared with them as in :class:`PANet`, and where the class is nearer is the next mask. The first one is
    the support's mask, registered affinely to the query. Tang et al., "Recurrent mask refinement for few-shot medical
    image segmentation", ICCV 2021, https://arxiv.org/abs/2108.00622.

    Choices: the registration is of slices, within the network, so that a conditioned network takes an image alone (the
    published code registers volumes of paired slices beforehand); of several shots the one that fits a query best gives
    its mask. The loss is that of the last pass, and the masks between are hard, without gradient, so that the others
    only make its mask. There is no alignment.

    Args:
        encoder: maps images (B, C, H, W) to features (B, D, h, w), D = ``encoder.out_channels``. The first channel of
            an image is what is registered.
        alpha: scale of the cosine. Default 20, the published code's.
        channels: of the convolutions that see inside and outside. Default 256, the published code's.
        radius: of the window in which they are correlated, in pixels of the feature map. Default 5, the published
            code's.
        passes: refinements in use. Default 10, the published code's.
        train_passes: in an episode of a training. Default 4, the published code's.
        ways: size of the zero-filled condition before :meth:`condition` or a state dict brings another. Default 1.

    Raises:
        ValueError: a number out of its range.

    The condition is ``prototypes`` (W, 2, 1, 64) and ``valid`` (W, 2, 1), background first, of relations, and the
    labelled slices ``support_slices`` and ``support_masks`` (W, S, 1, H, W).
    """

    def __init__(
        self,
        encoder: nn.Module,
        alpha: float = 20.0,
        channels: int = 256,
        radius: int = 5,
        passes: int = 10,
        train_passes: int = 4,
        ways: int = 1,
    ) -> None:
        super().__init__(encoder, alpha, ways)
        if min(channels, radius, passes, train_passes) < 1:
            raise ValueError(
                f"channels {channels}, radius {radius}, passes {passes} and train_passes {train_passes} must be at "
                "least 1."
            )
        self.passes = passes
        self.train_passes = train_passes
        self.pooling = 1
        self.relation = ContextRelation(self.prototypes.shape[3], channels, radius)
        self.prototypes = torch.zeros(ways, 2, 1, self.relation.out_channels)
        for name in ("support_slices", "support_masks"):
            self.register_condition(name, torch.zeros(ways, 1, 1, 32, 32))

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, H, W) of images (B, C, H, W) by the stored condition."""
        query = self.encoder(image).float()
        logits: list[torch.Tensor] = []
        for way in range(self.prototypes.shape[0]):
            slices = self.support_slices[way].unsqueeze(0).expand(image.shape[0], -1, -1, -1, -1)
            masks = self.support_masks[way].unsqueeze(0).expand(image.shape[0], -1, -1, -1, -1)
            start = first_mask(image[:, :1], slices, masks)
            prototypes, valid = self.prototypes[way : way + 1], self.valid[way : way + 1]
            logits.append(self._refined(query, start, prototypes, valid, self.passes))
        foreground = torch.cat(logits, dim=1)
        return torch.cat([torch.zeros_like(foreground[:, :1]), foreground], dim=1)

    @torch.jit.ignore
    def condition(self, support_image: torch.Tensor, support_label: torch.Tensor) -> RPNet:
        """Store the prototypes and the slices of each way; see :meth:`FewShotNet.condition` for shapes."""
        check_support(support_image, support_label)
        with torch.no_grad():
            features = support_features(self.encoder, support_image)
            self.pooling = max(1, round(support_image.shape[3] / features.shape[3]))
            self.prototypes, self.valid = self._pooled(features, support_label)
            self.support_slices = support_image[:, :, :1].float().clone()  # not the caller's own
            self.support_masks = support_label.float().clone()
        return self

    @torch.jit.ignore
    def episode(self, image: torch.Tensor, support_image: torch.Tensor, support_label: torch.Tensor) -> dict:
        """See :meth:`FewShotNet.episode`."""
        batch, shots = support_image.shape[:2]
        # One batch of supports and queries, so that batch statistics, where an encoder has them, are common to both.
        features = self.encoder(torch.cat([support_image.flatten(0, 1), image])).float()
        support, query = features[: batch * shots], features[batch * shots :]
        prototypes, valid = self._pooled(support.unflatten(0, (batch, shots)), support_label)
        start = first_mask(image[:, :1], support_image[:, :, :1], support_label.float())
        passes = self.train_passes if self.training else self.passes
        foreground = self._refined(query, start, prototypes[:, None], valid[:, None], passes)
        return {"logits": torch.cat([torch.zeros_like(foreground), foreground], dim=1)}

    @torch.jit.ignore
    def _pooled(self, features: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Prototypes (N, 2, 1, 64) of the relations of features (N, S, D, h, w) under masks (N, S, 1, H, W)."""
        maps = features.flatten(0, 1)
        relations = self.relation(maps, self._share(label.flatten(0, 1).float(), maps))
        return self.pool(relations.unflatten(0, features.shape[:2]).float(), label, label.shape[3:])

    def _share(self, mask: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Share of a feature map's pixels that a mask (N, 1, H, W) covers.

        An exported network takes images of whole pixels of the map; how many of the image these are is known from the
        support.
        """
        if exporting():
            return F.avg_pool2d(mask, self.pooling)
        return F.adaptive_avg_pool2d(mask, (features.shape[2], features.shape[3]))

    def _refined(
        self, query: torch.Tensor, mask: torch.Tensor, prototypes: torch.Tensor, valid: torch.Tensor, passes: int
    ) -> torch.Tensor:
        """Foreground logits (B, 1, H, W) of queries (B, D, h, w) after some passes from masks (B, 1, H, W)."""
        size = [mask.shape[2], mask.shape[3]]
        for _ in range(passes - 1):
            with torch.no_grad():
                mask = (self._passed(query, mask, prototypes, valid, size) > 0).to(mask.dtype)
        return self._passed(query, mask, prototypes, valid, size)

    def _passed(
        self, query: torch.Tensor, mask: torch.Tensor, prototypes: torch.Tensor, valid: torch.Tensor, size: list[int]
    ) -> torch.Tensor:
        """One pass: logits (B, 1, H, W) by the relations under a mask."""
        score = self.score(self.relation(query, self._share(mask, query)).float(), prototypes, valid)
        return F.interpolate(score, size=size, mode="bilinear", align_corners=False)


def first_mask(image: torch.Tensor, slices: torch.Tensor, masks: torch.Tensor, threshold: float = 0.1) -> torch.Tensor:
    """The mask of the shot that fits best, registered affinely to each query: (B, 1, H, W), binary.

    Args:
        image: (B, 1, H, W).
        slices, masks: (B, S, 1, H', W'), each query with its own shots. One whose mask is empty is padding.
        threshold: of the mapped mask. Default 0.1, the published code's.
    """
    shots, size = slices.shape[1], [image.shape[2], image.shape[3]]
    queries = image.unsqueeze(1).expand(-1, shots, -1, -1, -1).flatten(0, 1)
    matrix, left = affine_maps(slices.flatten(0, 1), queries)
    found = (mapped(masks.flatten(0, 1), matrix, size) > threshold).to(image.dtype).unflatten(0, (-1, shots))
    unfit = left.unflatten(0, (-1, shots)).masked_fill(masks.flatten(2).sum(2) == 0, float("inf"))
    best = F.one_hot(unfit.argmin(1), shots).to(image.dtype)
    return (found * best[:, :, None, None, None]).sum(1)
