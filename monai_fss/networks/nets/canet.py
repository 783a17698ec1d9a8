# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""CANet: a decoder compares the query densely with the support's foreground, and refines its own mask."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from monai_fss.networks.blocks import DenseComparison, support_prototypes

from .few_shot import FewShotNet, check_support, support_features

__all__ = ["CANet"]


class CANet(FewShotNet):
    """Few-shot segmentation by a learned comparison with one foreground prototype.

    :class:`DenseComparison` is given the query's features and the mean feature under the support's mask, and the
    probabilities that it found itself in the pass before (zeros in the first). The background has no prototype. Zhang
    et al., "CANet: Class-agnostic segmentation networks with iterative refinement and attentive few-shot learning",
    CVPR 2019, https://arxiv.org/abs/1903.02351.

    This is the form in which Hansen et al. 2022 (ADNet, Tables 1 to 3) compare it: the dense comparison as a decoder on
    the encoder that all methods share, trained without labels. With ``passes=1`` nothing is refined.

    Choices: in training the history is the network's own first pass over the same episode, without gradient (the
    published code keeps the last epoch's prediction of a pair, and episodes drawn at random come once); it is dropped,
    which leaves zeros, with ``history_dropout``, episode by episode. In use there are always ``passes`` passes: the
    published code stops when the overlap with the true masks no longer rises, which use does not know. Shots count
    alike (the paper weighs them by an attention branch; Hansen et al. have one shot).

    Logits as in :class:`ADNet`: the background 0, a way its foreground minus its background logit.

    Args:
        encoder: maps images (B, C, H, W) to features (B, D, h, w), D = ``encoder.out_channels``.
        channels: of the decoder. Default 256, the published code's.
        passes: of the decoder over a query in use. Default 5, the published code's most.
        history_dropout: probability that an episode of a training has no history. Default 0.7, the published code's.
        dropout: of the decoder's channels, in training. Default 0.5, the published code's.
        ways: size of the zero-filled condition before :meth:`condition` or a state dict brings another. Default 1.

    Raises:
        ValueError: a number out of its range.

    The condition is ``prototypes`` (W, D).
    """

    def __init__(
        self,
        encoder: nn.Module,
        channels: int = 256,
        passes: int = 5,
        history_dropout: float = 0.7,
        dropout: float = 0.5,
        ways: int = 1,
    ) -> None:
        super().__init__()
        if min(channels, passes, ways) < 1:
            raise ValueError(f"channels {channels}, passes {passes} and ways {ways} must be at least 1.")
        if not 0 <= history_dropout <= 1 or not 0 <= dropout < 1:
            raise ValueError(f"history_dropout {history_dropout} must be in [0, 1], dropout {dropout} in [0, 1).")
        self.encoder = encoder
        self.passes = passes
        self.history_dropout = history_dropout
        width = cast(int, encoder.out_channels)
        self.decoder = DenseComparison(width, channels, dropout=dropout)
        self.register_condition("prototypes", torch.zeros(ways, width))

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, H, W) of images (B, C, H, W) by the stored condition."""
        query = self.encoder(image).float()
        scores = [
            self._refined(query, self.prototypes[way].unsqueeze(0).expand(query.shape[0], -1))
            for way in range(self.prototypes.shape[0])
        ]
        return self._logits(torch.cat(scores, dim=1), list(image.shape[2:]))

    @torch.jit.ignore
    def condition(self, support_image: torch.Tensor, support_label: torch.Tensor) -> CANet:
        """Store the prototype of each way; see :meth:`FewShotNet.condition` for shapes."""
        check_support(support_image, support_label)
        with torch.no_grad():
            self.prototypes = support_prototypes(support_features(self.encoder, support_image), support_label)
        return self

    @torch.jit.ignore
    def episode(self, image: torch.Tensor, support_image: torch.Tensor, support_label: torch.Tensor) -> dict:
        """See :meth:`FewShotNet.episode`."""
        batch, shots = support_image.shape[:2]
        # One batch of supports and queries, so that batch statistics, where an encoder has them, are common to both.
        features = self.encoder(torch.cat([support_image.flatten(0, 1), image])).float()
        support, query = features[: batch * shots], features[batch * shots :]
        prototype = support_prototypes(support.unflatten(0, (batch, shots)), support_label)
        score = self._trained(query, prototype) if self.training else self._refined(query, prototype)
        return {"logits": self._logits(score, list(image.shape[2:]))}

    def _refined(self, query: torch.Tensor, prototype: torch.Tensor) -> torch.Tensor:
        """Score (B, 1, h, w) of queries (B, D, h, w) by their prototypes (B, D), each pass seeing the one before."""
        compared = self.decoder.compare(query, prototype)
        logits = self.decoder(compared, torch.zeros_like(query[:, :2]))
        for _ in range(1, self.passes):
            logits = self.decoder(compared, torch.softmax(logits, dim=1))
        return logits[:, 1:] - logits[:, :1]

    @torch.jit.ignore
    def _trained(self, query: torch.Tensor, prototype: torch.Tensor) -> torch.Tensor:
        """The same in one pass that learns, with a history of one pass that does not, or none."""
        compared = self.decoder.compare(query, prototype)
        history = torch.zeros_like(query[:, :2])
        kept = torch.rand(query.shape[0], device=query.device) >= self.history_dropout
        if kept.any():
            with torch.no_grad():
                first = torch.softmax(self.decoder(compared, history).float(), dim=1)
            history = first * kept[:, None, None, None]
        logits = self.decoder(compared, history)
        return logits[:, 1:] - logits[:, :1]

    def _logits(self, score: torch.Tensor, size: list[int]) -> torch.Tensor:
        """(B, W, h, w) -> (B, 1 + W, H, W)."""
        score = F.interpolate(score, size=size, mode="bilinear", align_corners=False)
        return torch.cat([torch.zeros_like(score[:, :1]), score], dim=1)
