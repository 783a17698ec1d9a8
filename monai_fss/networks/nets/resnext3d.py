# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A 3-D ResNeXt that keeps every slice, the encoder of ADNet's one-step volume segmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import torch
from monai.networks.nets.resnet import ResNet, ResNetBottleneck
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

__all__ = ["ResNeXt3D", "ResNeXtBottleneck"]

CARDINALITY = 32


class ResNeXtBottleneck(ResNetBottleneck):
    """MONAI's bottleneck with 32 groups, twice as wide inside (Xie et al. 2017, arXiv:1611.05431)."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1, **arguments: Any) -> None:
        super().__init__(in_planes, planes, stride=stride, **arguments)
        width = 2 * planes
        self.conv1 = nn.Conv3d(in_planes, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, stride=stride, padding=1, groups=CARDINALITY, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3 = nn.Conv3d(width, planes * self.expansion, kernel_size=1, bias=False)


class ResNeXt3D(ResNet):
    """The modified 3-D ResNeXt-101 of ADNet (Hansen et al. 2022, Table 9), with a 1x1x1 reduction on top.

    It is MONAI's ResNet with another block and other strides: no stage and no pooling takes a step across slices, and
    the last two stages take none in plane, so features have stride (8, 8, 1). The parameters carry the names of the
    public Kinetics file ``resnext-101-kinetics.pth`` (Hara et al. 2018, arXiv:1711.09577), which
    :func:`~monai_fss.networks.nets.pretrained.load_pretrained` reads. Two things that Table 9 leaves open follow that
    file: the second stage is 256 wide (the table says 128), and there is no dilation.

    Volumes are (H, W, slices) here as everywhere; the file's kernels are (time, H, W), so slices are brought to the
    front inside.

    Args:
        in_channels: channels of the image. The paper repeats one three times, which the loaded weights of one channel
            amount to.
        out_channels: channels after the 1x1x1 convolution without bias, 256 in the paper; None leaves it out.
        layers: blocks of each stage. Default: those of depth 101; the body then has 47,521,216 parameters with
            three image channels.
        checkpointing: whether a training step keeps the input of each block alone and computes the rest anew on the
            way back: a third more to compute, 2.2 instead of 8.6 GB kept for one episode of the paper (two windows).
            Gradients and running statistics are the same.

    Attributes:
        out_channels: channels of the feature map.
        stride: (8, 8, 1), voxels of the image for one of the feature map.
        spatial_dims: 3.

    Example:
        >>> ResNeXt3D()(torch.zeros(1, 1, 64, 64, 10)).shape
        torch.Size([1, 256, 8, 8, 10])
    """

    kind = "3-D ResNeXt"
    remedy = "Give the Kinetics weights of a ResNeXt-101 with cardinality 32, such as resnext-101-kinetics.pth."

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int | None = 256,
        layers: Sequence[int] = (3, 4, 23, 3),
        checkpointing: bool = False,
    ) -> None:
        super().__init__(
            ResNeXtBottleneck,
            list(layers),
            [64, 128, 256, 512],
            spatial_dims=3,
            n_input_channels=in_channels,
            conv1_t_stride=(1, 2, 2),  # type: ignore[arg-type]  # MONAI declares tuple[int] for three
            feed_forward=False,
            bias_downsample=False,
        )
        self.maxpool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
        for stage, stride in ((self.layer2, (1, 2, 2)), (self.layer3, (1, 1, 1)), (self.layer4, (1, 1, 1))):
            for name in ("conv2", "downsample.0"):
                cast(nn.Conv3d, stage[0].get_submodule(name)).stride = stride
        self.depth = 3 * sum(layers) + 2
        self.spatial_dims = 3
        self.stride = (8, 8, 1)
        self.checkpointing = checkpointing
        body_channels = 512 * ResNeXtBottleneck.expansion
        self.out_channels = body_channels if out_channels is None else out_channels
        self.reduce = (
            nn.Identity() if out_channels is None else nn.Conv3d(body_channels, out_channels, kernel_size=1, bias=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the feature map.

        Args:
            x: volumes (B, in_channels, H, W, D), D slices.

        Returns:
            Features (B, out_channels, ceil(H / 8), ceil(W / 8), D).
        """
        x = x.permute(0, 1, 4, 2, 3)
        x = self._stages(self.maxpool(self.act(self.bn1(self.conv1(x)))))
        return self.reduce(x).permute(0, 1, 3, 4, 2)

    def _stages(self, x: torch.Tensor) -> torch.Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 (TorchScript leaves out what stands under this test alone)
            if self.checkpointing and self.training:
                return self._stages_checkpointed(x)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    @torch.jit.unused
    def _stages_checkpointed(self, x: torch.Tensor) -> torch.Tensor:
        for block in (*self.layer1, *self.layer2, *self.layer3, *self.layer4):
            # There is no dropout, so that no random state needs to come back.
            x = checkpoint(
                block,
                x,
                use_reentrant=False,
                preserve_rng_state=False,
                context_fn=partial(_contexts, block),
            )
        return x


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For a block's way forward, and for its second one on the way back."""
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Normalise by the batch without counting it in the running statistics, which have seen it already."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    kept = [
        (norm.momentum, None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone())
        for norm in norms
    ]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            if count is not None and norm.num_batches_tracked is not None:
                norm.num_batches_tracked.copy_(count)
