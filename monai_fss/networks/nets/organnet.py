# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""OrganNet: a 3-D U-Net that reasons, level by level, about a registered anchor and its mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from monai.networks.blocks import Convolution, UpSample
from torch import nn

from monai_fss.networks.blocks import PyramidReasoning, autocast_bfloat16, fast_bfloat16

from .few_shot import FewShotNet, check_support

__all__ = ["SHARINGS", "OrganNet"]

SHARINGS = ("none", "anchor_mask", "target_anchor", "all")
"""Which of the three encoders have the same weights (Table 3)."""


class Bottleneck(nn.Module):
    """1 x 1 x 1, 3 x 3 x 3 and 1 x 1 x 1 convolution over half of the channels, added to what came in.

    Instance norm, since a batch of volumes is small. (The paper says "bottleneck" and no more.)

    Args:
        channels: in, and out.
        out_channels: where they are others, the shortcut is a 1 x 1 x 1 convolution.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        inner = max(out_channels // 2, 1)
        self.body = nn.Sequential(
            _convolution(channels, inner, 1),
            _convolution(inner, inner, 3),
            _convolution(inner, out_channels, 1, act=None),
        )
        self.shortcut = nn.Identity() if channels == out_channels else nn.Conv3d(channels, out_channels, 1)
        self.act = nn.LeakyReLU(0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W, D) -> (B, out_channels, H, W, D)."""
        return self.act(self.body(x) + self.shortcut(x))


def _convolution(
    channels: int, out_channels: int, size: int, stride: int = 1, act: str | None = "LEAKYRELU"
) -> nn.Module:
    return Convolution(
        3, channels, out_channels, stride, size, adn_ordering="NA", act=act, norm=("INSTANCE", {"affine": True})
    )


class _Level(nn.Sequential):
    """One level of an encoder: a 3 x 3 x 3 convolution, of stride 2 below the first level, and two bottlenecks."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__(
            _convolution(channels, out_channels, 3, stride),
            Bottleneck(out_channels, out_channels),
            Bottleneck(out_channels, out_channels),
        )


class OrganNet(FewShotNet):
    """One-shot segmentation of an organ that an anchor shows: a scan, registered to the query, and its mask.

    Three encoders see the target, the anchor and the anchor's mask. On each level a pyramid reasoning module
    (:class:`monai_fss.networks.blocks.PyramidReasoning`) lets the target gather the anchor's features and its mask's
    from a neighbourhood; the concatenation goes down the target's encoder and, as the skip connection, to the decoder.
    What an organ is, the network learns from others: each episode is a class of its own. Zhou et al., "Generalized
    organ segmentation by imitating one-shot reasoning using anatomical correlation", IPMI 2021,
    https://arxiv.org/abs/2103.16344. No code is public; what the paper leaves open is chosen as follows:

    - A level is a 3 x 3 x 3 convolution, of stride 2 below the first one, and the paper's two bottlenecks, of the
      decoder one; M (Eqs. 1 to 6) is the number of channels of the level.
    - What is concatenated (3 M channels) is brought to M by 1 x 1 x 1 before it goes down, since an encoder that shares
      its weights with the target's takes M; the decoder gets all of it.
    - Several anchors are averaged in probability.
    - Borders: volumes are filled up with 0 at the far end to what the levels can halve, and cut off again.

    The condition is the anchor itself, already on the query's grid: ``anchor_image`` (W, S, C, H, W, D) and
    ``anchor_mask`` (W, S, K, H, W, D), so a query has the same H, W, D. See
    :class:`monai_fss.inferers.OrganNetInferer`, which registers, and conditions organ by organ.

    Args:
        image_channels: C. Default 1.
        mask_channels: K. Default 1: the anchor's registered mask; further ones are what else is known of it.
        channels: of the levels, from shallow to deep. Default: the paper's 8, doubled at each downsampling.
        neighbourhoods: of the modules, from shallow to deep, odd; levels beyond have none, and the target goes down
            by itself there. Default (7, 5, 3), the paper's.
        sharing: "none", "anchor_mask" (default, the paper's best, Table 3), "target_anchor" or "all": encoders that
            have the same weights; the first convolution is shared where the inputs have as many channels.
        ways: size of the zero-filled condition before :meth:`condition` or a state dict brings another. Default 1.
        bfloat16: whether the convolutions are trained in bfloat16; attention never is. Default None: where that is
            fast, see :func:`monai_fss.networks.blocks.fast_bfloat16`. In use it works in single precision.

    Raises:
        ValueError: a number out of its range, or another sharing.
    """

    spatial_dims = 3

    def __init__(
        self,
        image_channels: int = 1,
        mask_channels: int = 1,
        channels: Sequence[int] = (8, 16, 32, 64),
        neighbourhoods: Sequence[int] = (7, 5, 3),
        sharing: str = "anchor_mask",
        ways: int = 1,
        bfloat16: bool | None = None,
    ) -> None:
        super().__init__()
        if min(image_channels, mask_channels, ways, *channels) < 1 or len(channels) < 2:
            raise ValueError(
                f"image_channels {image_channels}, mask_channels {mask_channels}, ways {ways} and channels "
                f"{tuple(channels)} must be positive, and there must be at least two levels."
            )
        if len(neighbourhoods) > len(channels):
            raise ValueError(
                f"{len(neighbourhoods)} neighbourhoods for {len(channels)} levels. Give one for each level."
            )
        if sharing not in SHARINGS:
            raise ValueError(f"sharing must be one of {', '.join(SHARINGS)}, got '{sharing}'.")
        self.in_channels = image_channels
        self.mask_channels = mask_channels
        self.in_bfloat16 = fast_bfloat16() if bfloat16 is None else bfloat16
        self.depth = len(channels)
        self.step = 2 ** (len(channels) - 1)
        wide = list(channels)
        reasoning = wide[: len(neighbourhoods)]  # anchors are not looked at on deeper levels
        self.target = _encoder(image_channels, wide)
        self.anchor = self.target if sharing in ("target_anchor", "all") else _encoder(image_channels, reasoning)
        shared = {"anchor_mask": self.anchor, "all": self.target}.get(sharing)
        self.mask = (
            _encoder(mask_channels, reasoning) if shared is None else _like(shared, mask_channels, image_channels, wide)
        )
        self.reasoning = nn.ModuleList(
            PyramidReasoning(width, width, width, width, size)
            for width, size in zip(reasoning, neighbourhoods, strict=True)
        )
        self.merging = nn.ModuleList(_convolution(3 * width, width, 1) for width in reasoning[: len(wide) - 1])
        skips = [3 * width if level < len(neighbourhoods) else width for level, width in enumerate(wide)]
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        below = skips[-1]
        for level in range(len(wide) - 2, -1, -1):
            self.up.append(UpSample(3, below, wide[level], 2, mode="deconv"))
            self.decoder.append(Bottleneck(wide[level] + skips[level], wide[level]))
            below = wide[level]
        self.head = nn.Conv3d(wide[0], 1, 1)
        self.register_condition("anchor_image", torch.zeros(ways, 1, image_channels, 1, 1, 1))
        self.register_condition("anchor_mask", torch.zeros(ways, 1, mask_channels, 1, 1, 1))

    def segment(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, H, W, D) of images (B, C, H, W, D) by the stored anchors."""
        ways: list[torch.Tensor] = [torch.zeros_like(image[:, :1])]
        for way in range(self.anchor_image.shape[0]):
            ways.append(self._mean(image, self.anchor_image[way], self.anchor_mask[way]))
        return torch.cat(ways, 1)

    def _mean(self, image: torch.Tensor, anchors: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Log-odds (B, 1, H, W, D) of the mean probability over the anchors (S, C, ...) that have a mask."""
        logits: list[torch.Tensor] = []
        for shot in range(anchors.shape[0]):
            if shot == 0 or bool(torch.any(masks[shot, 0] > 0)):
                anchor, mask = anchors[shot].unsqueeze(0), masks[shot].unsqueeze(0)
                size = [image.shape[0], -1] + list(image.shape[2:])
                if list(anchor.shape[2:]) == [1, 1, 1]:  # not conditioned: nothing is known of any organ
                    anchor = torch.zeros_like(image)
                    mask = torch.zeros_like(image[:, :1]).expand(-1, mask.shape[1], -1, -1, -1)
                if anchor.shape[2:] != image.shape[2:]:
                    raise ValueError(
                        f"the anchor has {list(anchor.shape[2:])} voxels and the image {list(image.shape[2:])}. "
                        "Register the anchor to the image first: both lie on one grid."
                    )
                logits.append(self._reason(image, anchor.expand(size), mask.expand(size)))
        if len(logits) == 1:
            return logits[0]
        probability = torch.stack([torch.sigmoid(one) for one in logits]).mean(0)
        return torch.logit(probability, eps=1e-6)  # finite where all are certain

    def _reason(self, image: torch.Tensor, anchor: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Log-odds (B, 1, H, W, D) by one anchor for each image."""
        if torch.jit.is_scripting() or not (self.in_bfloat16 and self.training):
            return self._log_odds(image, anchor, mask)
        with autocast_bfloat16(image.device.type):
            return self._log_odds(image, anchor, mask).float()

    def _log_odds(self, image: torch.Tensor, anchor: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        shape = image.shape[2:]
        step = self.step
        pad = [0, -shape[2] % step, 0, -shape[1] % step, 0, -shape[0] % step]
        x_t, x_a, x_m = F.pad(image, pad), F.pad(anchor, pad), F.pad(mask, pad)
        skips: list[torch.Tensor] = []
        for level, target in enumerate(self.target):
            x_t = target(x_t)
            skip = x_t
            for index, (other, third, module) in enumerate(zip(self.anchor, self.mask, self.reasoning)):  # noqa: B905
                if index == level:
                    x_a, x_m = other(x_a), third(x_m)
                    skip = module(x_t, x_a, x_m)
            for index, merge in enumerate(self.merging):
                if index == level:
                    x_t = merge(skip)
            skips.append(skip)
        x = skips[-1]
        for index, (up, block) in enumerate(zip(self.up, self.decoder)):  # noqa: B905
            x = block(torch.cat([up(x), skips[self.depth - 2 - index]], 1))
        return self.head(x)[:, :, : shape[0], : shape[1], : shape[2]]

    @torch.jit.ignore
    def of_pair(self, pair: torch.Tensor) -> torch.Tensor:
        """Log-odds (B, 1, H, W, D) of targets, anchors and masks side by side, (B, 2 C + K, H, W, D)."""
        image, anchor = pair[:, : self.in_channels], pair[:, self.in_channels : 2 * self.in_channels]
        return self._reason(image, anchor, pair[:, 2 * self.in_channels :])

    @torch.jit.ignore
    def condition(self, support_image: torch.Tensor, support_label: torch.Tensor) -> OrganNet:
        """Store the anchors of each way, registered to the query.

        Args:
            support_image: (W, S, C, H, W, D).
            support_label: (W, S, K, H, W, D); the first channel is the mask, 0..1. A shot whose mask is empty
                is padding.

        Raises:
            ValueError: shapes that do not belong together, an empty way, or another number of channels than K.
        """
        if support_label.shape[2] != self.mask_channels:
            raise ValueError(
                f"support_label has {support_label.shape[2]} channel(s) for each anchor, and the network takes "
                f"{self.mask_channels}. Give the mask, and beside it what anchor_mask says."
            )
        check_support(support_image, support_label[:, :, :1])
        with torch.no_grad():
            # The first anchor of a way is always asked: one without a mask must not be the first.
            order = (
                (support_label[:, :, 0].flatten(2).sum(2) > 0)
                .to(torch.uint8)
                .argsort(dim=1, descending=True, stable=True)
            )
            ways = torch.arange(len(order), device=order.device)[:, None]
            self.anchor_image = support_image[ways, order].clone()
            self.anchor_mask = support_label[ways, order].to(support_image.dtype)
        return self

    @torch.jit.ignore
    def episode(self, image: torch.Tensor, support_image: torch.Tensor, support_label: torch.Tensor) -> dict:
        """See :meth:`FewShotNet.episode`; of the support its first shot is the anchor.

        Returns:
            a dict of ``logits`` (B, 2, H, W, D), the background 0, and ``support_label``.
        """
        organ = self._reason(image, support_image[:, 0], support_label[:, 0].to(image.dtype))
        return {"logits": torch.cat([torch.zeros_like(organ), organ], 1), "support_label": support_label}


def _encoder(channels: int, wide: Sequence[int]) -> nn.ModuleList:
    widths = [channels, *wide]
    return nn.ModuleList(_Level(widths[i], widths[i + 1], 1 if i == 0 else 2) for i in range(len(wide)))


def _like(shared: nn.ModuleList, channels: int, own: int, wide: Sequence[int]) -> nn.ModuleList:
    """An encoder of the same weights, but for its first convolution where it takes other channels."""
    if channels == own:
        return shared
    first = nn.Sequential(_convolution(channels, wide[0], 3), *list(cast(nn.Sequential, shared[0]))[1:])
    return nn.ModuleList([first, *list(shared)[1:]])
