# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""CRAPNet: support and query refine each other by cycle-resemblance attention before prototypes are compared."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from monai_fss.networks.blocks import (
    CarafeDownsample,
    CycleResemblanceAttention,
    cells_of,
    exporting,
    reassemble_down,
    softmax_similarity,
)

from .few_shot import FewShotNet, check_support, support_features

__all__ = ["CRAPNet"]


class CRAPNet(FewShotNet):
    """Few-shot segmentation by local and class prototypes of features that saw the query.

    Blocks of :class:`CycleResemblanceAttention` refine the support's features by the query's and the query's by the
    support's (Eqs. 1-13). CARAFE++ reassembles the support's 32 x 32 cells to 8 x 8 local prototypes (Eq. 14), and
    the mean feature of the class joins them (Eq. 15). A class scores sum(S softmax(S)) over its prototypes, S = alpha
    cos (Eqs. 16 and 17). Ding et al., "Few-shot medical image segmentation with cycle-resemblance attention",
    WACV 2023, https://arxiv.org/abs/2212.03967. No code is public; what the paper leaves open is chosen as follows
    (the blocks say what is chosen within them, ``PrototypeLoss`` what of Eqs. 18-20):

    - The query's pixels and the class prototypes are refined features (z), as section 3.2 has it. Eqs. 15 and 16 print
      the encoder's (x), by which the query's branch would have no effect; ``refined=False`` is that.
    - Attention and prototypes work on cells of ``cell`` x ``cell`` pixels of the image, means of the encoder's
      features, whatever its stride: 32 x 32 of a training window, and more of a larger slice.
      The query is classified at the encoder's own resolution: what the blocks add to it is interpolated.
    - Masks become the share of each cell, and CARAFE's kernels reassemble them as they do the features: a local
      prototype is foreground (background) where ``threshold`` of what it was made of is, as in SSL-ALPNet.
    - A foreground too small for a local prototype has its class prototype alone. The background has no class
      prototype (Eq. 15) unless no local one is left to it.
    - Shots are refined one by one, and the query by each of them: its mean over the shots is classified. Local
      prototypes of all shots form one bank, the class prototype is the mean over the shots.
    - The alignment (Eq. 19) takes the predicted mask (p > 0.5, without gradient) with the query's features as support
      and goes through the blocks again with the roles exchanged; where it is empty, with a background alone and a
      foreground similarity of 0, as in SSL-ALPNet's code.

    The features of the support depend on the query, so :meth:`condition` stores feature maps and masks, and each query
    goes through the blocks with each labelled slice. Logits as in :class:`ADNet`: the background 0, a way log(p /
    (1 - p)) = its score minus that of its background; each way is compared with its own background.

    Args:
        encoder: maps images (B, C, H, W) to features (B, D, h, w), D = ``encoder.out_channels``.
        blocks: of a branch. Default 5, the paper's best (Table 3).
        branches: 2 (default), or 1 that updates both kinds of features at once (Table 4).
        refined: see above.
        alpha: scale of the cosine. Default 20, the paper's.
        sigma: downsampling of CARAFE++. Default 4, the paper's.
        threshold: of local prototypes, above 0.5. Default 0.95, SSL-ALPNet's.
        cell: side of a cell in pixels of the image. Default 4: 32 x 32 of 128 x 128 pixels; the paper's is 8.
        ways: size of the zero-filled condition before :meth:`condition` or a state dict brings another. Default 1.

    Raises:
        ValueError: a number out of its range.

    Shapes: B batch, W ways, S shots, C channels, D features, G and g cells of a support and a query slice.
    """

    def __init__(
        self,
        encoder: nn.Module,
        blocks: int = 5,
        branches: int = 2,
        refined: bool = True,
        alpha: float = 20.0,
        sigma: int = 4,
        threshold: float = 0.95,
        cell: float = 4.0,
        ways: int = 1,
    ) -> None:
        super().__init__()
        if min(alpha, sigma, cell, ways) <= 0 or not 0.5 <= threshold < 1:
            raise ValueError(
                f"alpha {alpha}, sigma {sigma}, cell {cell} and ways {ways} must be positive, "
                f"threshold {threshold} from 0.5 to below 1."
            )
        self.encoder = encoder
        self.refined = refined
        self.alpha = float(alpha)
        self.threshold = threshold
        self.cell = float(cell)
        self.pooling = 1
        channels = cast(int, encoder.out_channels)
        self.attention = CycleResemblanceAttention(channels, blocks, branches, query=refined)
        self.reassembly = CarafeDownsample(channels, sigma)
        self.register_condition("support_features", torch.zeros(ways, 1, channels, 1, 1))
        self.register_condition("support_masks", torch.zeros(ways, 1, 1, 1, 1))

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, H, W) of images (B, C, H, W) by the stored condition."""
        query = self.encoder(image).float()
        scores = [
            self._score(
                query,
                self._cells(query, list(image.shape[2:])),
                self.support_features[way].unsqueeze(0).expand(query.shape[0], -1, -1, -1, -1),
                self.support_masks[way].unsqueeze(0).expand(query.shape[0], -1, -1, -1, -1),
            )
            for way in range(self.support_features.shape[0])
        ]
        return self._logits(torch.cat(scores, dim=1), list(image.shape[2:]))

    @torch.jit.ignore
    def condition(self, support_image: torch.Tensor, support_label: torch.Tensor) -> CRAPNet:
        """Store the feature maps and masks of each way; see :meth:`FewShotNet.condition` for shapes."""
        check_support(support_image, support_label)
        with torch.no_grad():
            size = list(support_image.shape[3:])
            encoded = self.encoder(support_image[:1, 0])
            self.pooling = max(1, round(self.cell * encoded.shape[2] / size[0]))
            self.support_features = support_features(lambda part: self._cells(self.encoder(part), size), support_image)
            masks = self._cells(support_label.flatten(0, 1).to(self.support_features.dtype), size)
            self.support_masks = masks.reshape(*support_image.shape[:2], *masks.shape[1:])
        return self

    def _cells(self, maps: torch.Tensor, size: list[int]) -> torch.Tensor:
        """Means of the cells of an image of ``size`` (H, W): (N, C, h, w) -> (N, C, G, G).

        Features and masks alike, so that they stay in register. An exported network takes images of whole cells, and
        cells of ``pooling`` pixels of the feature map: how many these are is known from the support.
        """
        if exporting():
            return F.avg_pool2d(maps, self.pooling)
        rows, columns = cells_of(size, self.cell)
        return F.adaptive_avg_pool2d(maps, (rows, columns))

    def _logits(self, score: torch.Tensor, size: list[int]) -> torch.Tensor:
        """(B, W, h, w) -> (B, 1 + W, H, W)."""
        score = F.interpolate(score, size=size, mode="bilinear", align_corners=False)
        return torch.cat([torch.zeros_like(score[:, :1]), score], dim=1)

    def _score(
        self,
        query: torch.Tensor,
        cells: torch.Tensor,
        support: torch.Tensor,
        masks: torch.Tensor,
        padding: bool = True,
    ) -> torch.Tensor:
        """Foreground minus background score (B, 1, h, w) of queries (B, D, h, w), each with its own support.

        ``cells`` are those of the queries (B, D, g, g), ``support`` is (B, S, D, G, G), ``masks`` (B, S, 1, G, G). A
        shot with an empty mask is padding, or all background.
        """
        valid = _counted(masks, padding)
        refined: list[torch.Tensor] = []
        added = torch.zeros_like(cells)
        for shot in range(support.shape[1]):
            z_s, z_q = support[:, shot], cells
            # the first always: every weight takes part in every step; a padding shot counts nowhere
            if shot == 0 or exporting() or bool(valid[:, shot].any()):
                z_s, z_q = self.attention(z_s, cells)
            refined.append(z_s)
            added = added + (z_q - cells) * valid[:, shot, None, None, None]
        if self.refined:
            added = added / valid.sum(1).clamp(min=1)[:, None, None, None]
            query = query + F.interpolate(added, size=query.shape[2:], mode="bilinear", align_corners=False)
        prototypes, known = self._prototypes(torch.stack(refined, dim=1), support, masks, padding)
        scores = softmax_similarity(query, prototypes, known, self.alpha)  # Eq. 16, and inside the brackets of Eq. 17
        return scores[:, 1:] - scores[:, :1]

    def _prototypes(
        self, z_s: torch.Tensor, x_s: torch.Tensor, masks: torch.Tensor, padding: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Banks of prototypes (B, 2, P, D), background first, and which of them count (B, 2, P)."""
        batch, shots = z_s.shape[:2]
        kernels = self.reassembly.kernels(z_s.flatten(0, 1))
        local = reassemble_down(z_s.flatten(0, 1), kernels, self.reassembly.factor)  # Eq. 14
        local = local.flatten(2).transpose(1, 2).reshape(batch, -1, z_s.shape[2])
        share = reassemble_down(masks.flatten(0, 1), kernels.detach(), self.reassembly.factor).reshape(batch, shots, -1)
        labelled = _counted(masks, padding).unsqueeze(2)
        background = (labelled & (1 - share > self.threshold)).flatten(1)
        foreground = (labelled & (share > self.threshold)).flatten(1)
        outside = (1 - masks) * labelled[..., None, None]
        spare = ~background.any(1, keepdim=True) & (outside.flatten(1).sum(1, keepdim=True) > 0)
        whole = z_s if self.refined else x_s
        banks = [torch.cat([local, _mean(whole, mask).unsqueeze(1)], dim=1) for mask in (outside, masks)]  # Eq. 15
        known = [
            torch.cat([background, spare], dim=1),
            torch.cat([foreground, masks.flatten(1).sum(1, keepdim=True) > 0], dim=1),
        ]
        return torch.stack(banks, dim=1), torch.stack(known, dim=1)

    @torch.jit.ignore
    def episode(self, image: torch.Tensor, support_image: torch.Tensor, support_label: torch.Tensor) -> dict:
        """See :meth:`FewShotNet.episode`.

        Returns:
            a dict of ``logits`` (B, 2, H, W), ``aligned_logits`` (B, S, 2, H, W) of the support shots segmented by the
            query's predicted mask, ``aligned`` (B,) bool, all True: an empty mask is aligned too; ``support_label``.
        """
        batch, shots = support_image.shape[:2]
        # One batch of supports and queries, so that batch statistics, where an encoder has them, are common to both.
        features = self.encoder(torch.cat([support_image.flatten(0, 1), image])).float()
        support, query = features[: batch * shots], features[batch * shots :]
        size, own = list(support_image.shape[3:]), list(image.shape[2:])
        masks = self._cells(support_label.flatten(0, 1).to(features.dtype), size).unflatten(0, (batch, shots))
        cells, of_support = self._cells(query, own), self._cells(support, size)
        score = self._score(query, cells, of_support.unflatten(0, (batch, shots)), masks)
        predicted = (score > 0).to(query.dtype).detach()
        # Eq. 19: the query and its predicted mask segment the support shots.
        other, mask = (x.repeat_interleave(shots, dim=0)[:, None] for x in (cells, self._cells(predicted, own)))
        aligned = self._logits(self._score(support, of_support, other, mask, padding=False), size)
        return {
            "logits": self._logits(score, list(image.shape[2:])),
            "aligned_logits": aligned.unflatten(0, (batch, shots)),
            "aligned": torch.ones(batch, dtype=torch.bool, device=image.device),
            "support_label": support_label,
        }


def _mean(features: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Mean over the shots of the mean feature under a soft mask: (B, S, D, G, G), (B, S, 1, G, G) -> (B, D)."""
    area = masks.flatten(2).sum(2)
    pooled = (features * masks).flatten(3).sum(3) / area.clamp(min=1e-5).unsqueeze(2)
    return pooled.sum(1) / (area > 0).sum(1, keepdim=True).clamp(min=1)


def _counted(masks: torch.Tensor, padding: bool) -> torch.Tensor:
    """(B, S): which shots count, of soft masks (B, S, 1, G, G); where ``padding``, those with a mask."""
    held = masks.flatten(2).sum(2) > 0
    return held if padding else torch.ones_like(held)
