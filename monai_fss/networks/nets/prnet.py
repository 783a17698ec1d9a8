# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PRNet: where in the body a patch lies, and what it looks like, learnt from unlabelled scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from monai.networks.blocks import Convolution
from monai.utils import ensure_tuple_rep
from torch import nn

from ..blocks import autocast_bfloat16, fast_bfloat16

__all__ = ["PRNet", "PatchFeatures"]


class PatchFeatures(NamedTuple):
    """What PRNet says of a batch of patches.

    Attributes:
        position: (B, 3), coordinates without a unit; differences of two are offsets by :meth:`PRNet.offset`.
        anatomical: (R, 4 base), f2: the centre of the decoder's second level; R is B, or ``rebuilt``.
        pixel: (R, base), f4: the centre of its last level. Both are taken before the level's ReLU: after it, all of a
            few channels may be 0 (with 8 of them half of the points in head and neck CT), and 0 is like nothing.
        reconstruction: (R, in_channels, *patch_size), logits of intensities of 0..1.
    """

    position: torch.Tensor
    anatomical: torch.Tensor
    pixel: torch.Tensor
    reconstruction: torch.Tensor


class PRNet(nn.Module):
    """Propagation-reconstruction network: an encoder, a head for the position, a decoder that rebuilds the patch.

    Lei et al., "One-shot weakly-supervised segmentation in medical images", arXiv:2111.10773 (section 3.2, Fig. 3). Of
    two patches of a scan the difference of the predicted positions is their offset in mm: r tanh(p(c0) - p(c1))
    (Eq. 2). The decoder has skip connections and the head no non-linearity, as in the published code, neither of which
    the paper says; its 16 channels and patches of 48 x 128 x 128 (slices first) give 10,400,516 parameters.

    Args:
        patch_size: (H, W, slices) of a patch, each a multiple of 16. Default (128, 128, 48), the paper's.
        base: channels of the first level. Default 16, the paper's.
        reach: r in mm along each axis: no offset is larger. Default (500, 500, 700), of the published code for the
            coarse step in the head and neck.
        in_channels: channels of the image.
        spacing: voxel size (H, W, slices) in mm of the patches that it is trained on; kept in the weights, so that who
            uses the network can bring a scan to it. Default (1, 1, 3), the paper's abdomen.
        bfloat16: while training, convolutions in bfloat16, the head in single precision. Default: on processors that
            multiply it fast (four times as fast there), elsewhere not. In use everything is in single precision. On a
            CUDA device MONAI's ``amp`` does the like.

    Raises:
        ValueError: a patch that four halvings do not divide, or a reach or spacing that is not positive.
    """

    if TYPE_CHECKING:  # TorchScript reads annotations that are there when a module is scripted, and not as text
        reach: torch.Tensor
        spacing: torch.Tensor

    def __init__(
        self,
        patch_size: Sequence[int] = (128, 128, 48),
        base: int = 16,
        reach: Sequence[float] = (500.0, 500.0, 700.0),
        in_channels: int = 1,
        spacing: Sequence[float] = (1.0, 1.0, 3.0),
        bfloat16: bool | None = None,
    ) -> None:
        super().__init__()
        if len(patch_size) != 3 or any(n < 16 or n % 16 for n in patch_size) or max(patch_size) == 16:
            raise ValueError(
                "patch_size must be (H, W, slices), each a multiple of 16 and not all of them 16 (instance norm needs "
                f"two voxels), got {tuple(patch_size)}."
            )
        if len(reach) != 3 or len(spacing) != 3 or min(*reach, *spacing) <= 0 or base < 1:
            raise ValueError(
                f"reach {tuple(reach)} and spacing {tuple(spacing)} must be three positive mm each, and base {base} at "
                "least 1."
            )
        self.patch_size = tuple(int(n) for n in patch_size)
        self.in_bfloat16 = fast_bfloat16() if bfloat16 is None else bfloat16
        self.register_buffer("reach", torch.tensor([float(r) for r in reach]))
        self.register_buffer("spacing", torch.tensor([float(s) for s in spacing]))
        b = base
        self.encoder = nn.ModuleList(
            [_two(in_channels, b, b), _two(b, b, 2 * b), _two(2 * b, 2 * b, 4 * b), _two(4 * b, 4 * b, 8 * b)]
            + [_two(8 * b, 8 * b, 16 * b)]
        )
        decoder = [(24 * b, 8 * b, 8 * b), (12 * b, 4 * b, 4 * b), (6 * b, 2 * b, b), (2 * b, b, b)]
        self.decoder = nn.ModuleList([_two(*channels, act=None) for channels in decoder])
        self.act = nn.ReLU()
        cells = (self.patch_size[0] // 16) * (self.patch_size[1] // 16) * (self.patch_size[2] // 16)
        self.head = nn.Sequential(nn.Linear(16 * b * cells, 128), nn.Linear(128, 64), nn.Linear(64, 3))
        self.reconstruct = nn.Conv3d(b, in_channels, 1)
        self.pool = nn.MaxPool3d(2)
        self.upsample = nn.Upsample(scale_factor=2, mode="trilinear", align_corners=False)

    @classmethod
    def of_level(cls, level: Mapping[str, Any], base: int = 16, bfloat16: bool | None = None) -> PRNet:
        """The network of one level, coarse or fine.

        Args:
            level: ``pixdim``, mm of a voxel, one number for all axes or three, (H, W, slices); ``patch_size`` and
                ``reach``, as above. Other settings, of how it is trained, do not matter.
            base, bfloat16: as above.

        Raises:
            ValueError: ``level`` is no mapping, or lacks one of the three.
        """
        known = level.keys() if isinstance(level, Mapping) else ()
        missing = [key for key in ("pixdim", "patch_size", "reach") if key not in known]
        if missing:
            raise ValueError(f"a level of PRNet is a mapping that has {', '.join(missing)} too, got {level}.")
        spacing = ensure_tuple_rep(level["pixdim"], 3)
        return cls(level["patch_size"], base, level["reach"], spacing=spacing, bfloat16=bfloat16)

    def forward(self, patches: torch.Tensor, rebuilt: int = -1) -> PatchFeatures:
        """Look at patches.

        Args:
            patches: (B, in_channels, *patch_size), intensities of 0..1.
            rebuilt: how many of them, the first ones, go through the decoder too: a training that rebuilds some of its
                patches takes half of the time. Default -1: all.
        """
        if torch.jit.is_scripting() or not (self.in_bfloat16 and self.training):
            return self._look(patches, rebuilt)
        with autocast_bfloat16(patches.device.type):
            return self._look(patches, rebuilt)

    @torch.jit.export
    def position(self, patches: torch.Tensor) -> torch.Tensor:
        """The position (B, 3) alone, by the encoder: a third of the work."""
        return self.forward(patches, 0).position

    def offset(self, target: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """How far it is from ``start`` to ``target``, positions (..., 3), in mm: r tanh(target - start) (Eq. 2)."""
        return self.reach * torch.tanh(target - start)

    def _look(self, patches: torch.Tensor, rebuilt: int) -> PatchFeatures:
        levels = self._encode(patches)
        count = len(patches) if rebuilt < 0 else rebuilt
        if count == 0:
            nothing = patches.new_zeros((0,))
            return PatchFeatures(self._position(levels[-1]), nothing, nothing, nothing)
        found: list[torch.Tensor] = []
        x = levels[-1][:count]
        for depth, block in enumerate(self.decoder):
            before = block(torch.cat([self.upsample(x), levels[-2 - depth][:count]], dim=1))
            found.append(before)
            x = self.act(before)
        rebuild = self.reconstruct(x).float()
        return PatchFeatures(self._position(levels[-1]), _centre(found[1]), _centre(found[3]), rebuild)

    def _encode(self, patches: torch.Tensor) -> list[torch.Tensor]:
        if list(patches.shape[2:]) != list(self.patch_size):
            raise ValueError(
                f"patches are {list(patches.shape[2:])} voxels, but the network was built for {list(self.patch_size)}."
            )
        levels: list[torch.Tensor] = []
        x = patches
        for depth, block in enumerate(self.encoder):
            x = block(self.pool(x) if depth > 0 else x)
            levels.append(x)
        return levels

    def _position(self, deepest: torch.Tensor) -> torch.Tensor:
        """In single precision: of 500 mm, bfloat16 tells 2 apart."""
        flat = deepest.flatten(1).float()
        if torch.jit.is_scripting():
            return self.head(flat)
        with torch.autocast(flat.device.type, enabled=False):
            return self.head(flat)


def _two(channels: int, middle: int, out: int, act: str | None = "RELU") -> nn.Sequential:
    """Two convolutions with instance norm and ReLU, the second with ``act``."""
    return nn.Sequential(
        Convolution(3, channels, middle, norm="INSTANCE", act="RELU"),
        Convolution(3, middle, out, norm="INSTANCE", act=act),
    )


def _centre(features: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w, d) -> (B, C), the vector at index size // 2."""
    height, width, depth = features.shape[2] // 2, features.shape[3] // 2, features.shape[4] // 2
    return features[:, :, height, width, depth].float()
