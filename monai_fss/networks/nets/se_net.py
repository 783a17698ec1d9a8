# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""SE-Net: an arm that sees the labelled slice tells the arm that segments where to look, block by block."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution
from torch import nn

from monai_fss.networks.blocks import SpatialExcitation, autocast_bfloat16, excite, fast_bfloat16

from .few_shot import SLICES_PER_PASS, FewShotNet, check_support

__all__ = ["SENet"]

LEVELS = 4
BLOCKS = 2 * LEVELS + 1
KERNEL = 5


class SENet(FewShotNet):
    """Two arms of four encoders, a bottleneck and four decoders, one of which excites the other.

    The conditioner sees the support slice and its mask; after each of its nine blocks a channel squeeze and spatial
    excitation (:class:`monai_fss.networks.blocks.SpatialExcitation`) makes a map of weights, by which the features that
    the segmenter has of the query at the same block are multiplied. So what is known of the organ reaches the query at
    the place where the support shows it: the two are supposed to be roughly aligned. Roy, Siddiqui, Pölsterl, Navab,
    Wachinger, "'Squeeze & excite' guided few-shot segmentation of volumetric images", Medical Image Analysis 59, 101587
    (2020), https://arxiv.org/abs/1902.01314. A block is one convolution of 5 x 5; encoders end by max-pooling, decoders
    begin by unpooling to where the maxima were. As in the published code, the features before the last pooling alone
    skip the bottleneck, in the segmenter: with more of that, the paper says, the network copies the support mask.

    Choices: the conditioner's fourth encoder has weights of its own (the published code uses its third one twice).
    Instance norm, since batches are of one or two slices (batch norm there). A slice of another size than the
    support's has its weights resized. Of several shots the mean is taken of the foreground's logits minus the
    background's.

    Args:
        in_channels: of the images. Default 1.
        segmenter_channels, conditioner_channels: of every block of the arms. Defaults 64 and 16, the published code's.
        ways: size of the zero-filled condition before :meth:`condition` or a state dict brings another. Default 1.
        bfloat16: whether both arms are trained in bfloat16. Default None: where that is fast, see
            :func:`monai_fss.networks.blocks.fast_bfloat16`. In use they work in single precision.

    Raises:
        ValueError: a number of channels that is less than 1.

    The condition is ``shots`` (W, S), 1 where a shot is not padding, and ``weights0`` to ``weights8`` (W, S, 1, h, w),
    those of each block. Images are at least 32 pixels high and wide.
    """

    if TYPE_CHECKING:  # TorchScript cannot read such annotations
        shots: torch.Tensor
        weights0: torch.Tensor
        weights1: torch.Tensor
        weights2: torch.Tensor
        weights3: torch.Tensor
        weights4: torch.Tensor
        weights5: torch.Tensor
        weights6: torch.Tensor
        weights7: torch.Tensor
        weights8: torch.Tensor

    def __init__(
        self,
        in_channels: int = 1,
        segmenter_channels: int = 64,
        conditioner_channels: int = 16,
        ways: int = 1,
        bfloat16: bool | None = None,
    ) -> None:
        super().__init__()
        if min(in_channels, segmenter_channels, conditioner_channels) < 1:
            raise ValueError(
                f"channels must be at least 1, got in_channels {in_channels}, segmenter_channels {segmenter_channels}, "
                f"conditioner_channels {conditioner_channels}."
            )
        self.in_bfloat16 = fast_bfloat16() if bfloat16 is None else bfloat16
        self.conditioner = _Arm(in_channels + 1, conditioner_channels, skips=False)
        self.squeezes = nn.ModuleList(SpatialExcitation(conditioner_channels) for _ in range(BLOCKS))
        self.segmenter = _Arm(in_channels, segmenter_channels, skips=True)
        self.classifier = nn.Conv2d(segmenter_channels, 2, kernel_size=1)
        self.register_condition("shots", torch.zeros(ways, 1))
        for block in range(BLOCKS):
            self.register_condition(f"weights{block}", torch.zeros(ways, 1, 1, 1, 1))

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, H, W) of images (B, C, H, W) by the stored condition; the background's are 0."""
        stored = [
            self.weights0,
            self.weights1,
            self.weights2,
            self.weights3,
            self.weights4,
            self.weights5,
            self.weights6,
            self.weights7,
            self.weights8,
        ]
        ways, shots = self.shots.shape
        found = [torch.zeros_like(image[:, 0])]
        for way in range(ways):
            total = torch.zeros_like(image[:, 0])
            for shot in range(shots):
                weights = [each[way, shot][None] for each in stored]
                total = total + self.shots[way, shot] * self._foreground(image, weights)
            found.append(total / self.shots[way].sum().clamp(min=1))
        return torch.stack(found, 1)

    @torch.jit.ignore
    def condition(self, support_image: torch.Tensor, support_label: torch.Tensor) -> SENet:
        """Store the weights that each support slice gives; see :meth:`FewShotNet.condition` for shapes."""
        check_support(support_image, support_label)
        with torch.no_grad():
            pairs = torch.cat([support_image, support_label.to(support_image)], 2).flatten(0, 1)
            parts = [self._weights(part) for part in pairs.split(SLICES_PER_PASS)]
            for block, weights in enumerate(zip(*parts, strict=True)):
                setattr(self, f"weights{block}", torch.cat(weights).float().unflatten(0, support_image.shape[:2]))
            self.shots = support_label.flatten(2).any(2).to(self.classifier.weight)
        return self

    @torch.jit.ignore
    def episode(self, image: torch.Tensor, support_image: torch.Tensor, support_label: torch.Tensor) -> dict:
        """See :meth:`FewShotNet.episode`."""
        shots = support_image.shape[1]
        pairs = torch.cat([support_image, support_label.to(support_image)], 2)
        half = self.in_bfloat16 and self.training
        with autocast_bfloat16(image.device.type) if half else nullcontext():
            found = [self._foreground(image, self._weights(pairs[:, shot])) for shot in range(shots)]
        foreground = torch.stack(found).mean(0)
        return {"logits": torch.stack([torch.zeros_like(foreground), foreground], 1)}

    @torch.jit.ignore
    def _weights(self, pairs: torch.Tensor) -> list[torch.Tensor]:
        """Weights (N, 1, h, w) of each block, of images with their masks as last channel (N, C + 1, H, W)."""
        features = self.conditioner(pairs, [])
        return [squeeze(each) for squeeze, each in zip(self.squeezes, features, strict=True)]

    def _foreground(self, image: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
        """(B, C, H, W) -> logits of the foreground minus those of the background (B, H, W), single precision."""
        logits = self.classifier(self.segmenter(image, weights)[-1]).float()
        return logits[:, 1] - logits[:, 0]


class _Arm(nn.Module):
    """Encoders, bottleneck and decoders; each block's features may be excited.

    Args:
        in_channels: of the input.
        channels: of every block.
        skips: whether the features before the last pooling also reach the first decoder.
    """

    def __init__(self, in_channels: int, channels: int, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        self.encoders = nn.ModuleList(_block(in_channels if n == 0 else channels, channels) for n in range(LEVELS))
        self.bottleneck = _block(channels, channels)
        self.decoders = nn.ModuleList(
            _block(2 * channels if skips and n == 0 else channels, channels) for n in range(LEVELS)
        )

    def forward(self, x: torch.Tensor, weights: list[torch.Tensor]) -> list[torch.Tensor]:
        """Features of each block, (B, channels, h, w); they are multiplied by ``weights`` (see
        :func:`monai_fss.networks.blocks.excite`), one for each block, where there are any."""
        found: list[torch.Tensor] = []
        places: list[torch.Tensor] = []
        sizes: list[list[int]] = []
        last = x
        for encoder in self.encoders:
            last = encoder(x)
            sizes.append(list(last.shape[2:]))
            x, place = F.max_pool2d_with_indices(last, kernel_size=[2, 2])
            places.append(place)
            x = self._excited(x, weights, len(found))
            found.append(x)
        x = self._excited(self.bottleneck(x), weights, len(found))
        found.append(x)
        for n, decoder in enumerate(self.decoders):
            x = F.max_unpool2d(x, places.pop(), kernel_size=[2, 2], output_size=sizes.pop())
            if self.skips and n == 0:
                x = torch.cat([x, last], 1)
            x = self._excited(decoder(x), weights, len(found))
            found.append(x)
        return found

    def _excited(self, x: torch.Tensor, weights: list[torch.Tensor], block: int) -> torch.Tensor:
        return excite(x, weights[block]) if len(weights) > 0 else x


def _block(in_channels: int, channels: int) -> Convolution:
    return Convolution(2, in_channels, channels, kernel_size=KERNEL, act="PRELU", norm=("INSTANCE", {"affine": True}))
