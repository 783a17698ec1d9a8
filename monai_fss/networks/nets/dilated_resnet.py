# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A 2-D ResNet whose last two stages widen their kernels instead of shrinking the feature map."""

from __future__ import annotations

from typing import cast

import torch
from monai.networks.nets.resnet import ResNet, ResNetBlock, ResNetBottleneck
from torch import nn

__all__ = ["DilatedResNet"]

BLOCKS: dict[int, tuple[type[ResNetBlock] | type[ResNetBottleneck], list[int]]] = {
    18: (ResNetBlock, [2, 2, 2, 2]),
    50: (ResNetBottleneck, [3, 4, 6, 3]),
    101: (ResNetBottleneck, [3, 4, 23, 3]),
}
PLANES = [64, 128, 256, 512]


class DilatedResNet(ResNet):
    """MONAI's ResNet (He et al. 2016, arXiv:1512.03385) at output stride 8, with a 1x1 reduction on top.

    The strides of the last two stages are exchanged for dilation (Chen et al. 2017, arXiv:1706.05587, section 3.1),
    so the weights of a classification network keep their meaning: every fourth pixel of the map before the reduction
    is what the ordinary ResNet computes at stride 32. The parameters carry torchvision's names;
    :func:`~monai_fss.networks.nets.pretrained.load_pretrained` reads its files.

    Args:
        depth: 18, 50 or 101. 101 by default, the encoder of ADNet (Hansen et al. 2022, arXiv:2203.02048); its body
            has 42,500,160 parameters. 18 (11,176,512) and 50 (23,508,032) are for smaller machines.
        in_channels: channels of the image.
        out_channels: channels after the 1x1 convolution without bias, 256 in ADNet; None leaves the convolution out.

    Attributes:
        depth: as given.
        out_channels: channels of the feature map.
        stride: 8, pixels of the image for one pixel of the feature map.

    Raises:
        ValueError: when ``depth`` is none of the three.

    Example:
        >>> DilatedResNet(depth=18)(torch.zeros(2, 3, 256, 256)).shape
        torch.Size([2, 256, 32, 32])
    """

    kind = "ResNet"
    remedy = "Give a torchvision checkpoint of this depth, or build the encoder with the checkpoint's depth."

    def __init__(self, depth: int = 101, in_channels: int = 3, out_channels: int | None = 256) -> None:
        if depth not in BLOCKS:
            raise ValueError(f"depth: {depth} is not among {sorted(BLOCKS)}. Choose one of them.")
        block, layers = BLOCKS[depth]
        super().__init__(
            block,
            layers,
            PLANES,
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        self.depth = depth
        self.stride = 8
        body_channels = PLANES[-1] * block.expansion
        self.out_channels = body_channels if out_channels is None else out_channels
        self.reduce = (
            nn.Identity() if out_channels is None else nn.Conv2d(body_channels, out_channels, kernel_size=1, bias=False)
        )
        exchange_stride_for_dilation([*self.layer3, *self.layer4])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the feature map.

        Args:
            x: images (B, in_channels, H, W).

        Returns:
            Features (B, out_channels, ceil(H / 8), ceil(W / 8)).
        """
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.reduce(x)


def exchange_stride_for_dilation(blocks: list[nn.Module]) -> None:
    """Change consecutive ResNet blocks in place so that none of them shrinks its input.

    A convolution that had a stride keeps the dilation of its input, everything after it gets twice that: then each
    kernel still meets the pixels it met before. For bottlenecks this is torchvision's
    ``replace_stride_with_dilation``; torchvision has no such option for the basic blocks of depth 18.

    Args:
        blocks: MONAI's ``ResNetBlock`` or ``ResNetBottleneck`` modules in the order of their execution.
    """
    dilation = 1
    for block in blocks:
        for name in ("conv1", "conv2"):
            conv = getattr(block, name)
            if conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (dilation, dilation)
            dilation *= conv.stride[0]
            conv.stride = (1, 1)
        if isinstance(block.downsample, nn.Sequential):
            cast(nn.Conv2d, block.downsample[0]).stride = (1, 1)
