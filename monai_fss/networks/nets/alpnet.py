# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ALPNet: local prototypes on a grid beside the global one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from monai_fss.networks.blocks import adaptive_local_prototypes, cells_of

from .panet import PANet, outside

__all__ = ["ALPNet"]


class ALPNet(PANet):
    """PANet with adaptive local prototypes: cells of a grid that lie within the mask stand for parts of a class.

    The foreground has a prototype for every cell that its mask covers to more than ``threshold``, and the global one of
    the whole mask, which is left alone where it covers no cell of the training's grid. The background has those of its
    cells. A pixel's similarity to either is the sum of its similarities to the prototypes, weighted by their softmax.
    Ouyang et al., "Self-supervision with superpixels: training few-shot medical image segmentation without annotation",
    ECCV 2020, https://arxiv.org/abs/2007.09886.

    Choices: cells are given in pixels of the image, so that they are the same part of a body whatever the encoder's
    stride and the size of the slice (the published code has 4 x 4 and 2 x 2 pixels of a 32 x 32 feature map, of a slice
    of 256 x 256 pixels of 1.25 mm: 40 and 20 mm). Cells of all shots form one bank, the global prototype is the mean
    over the shots. Where a background covers no cell (the published code passes such an episode over), its global
    prototype stands in. As in the published code, an episode whose predicted query mask is empty is aligned all the
    same: with a foreground similarity of 0 and the cells of the background. The rest is as in :class:`PANet`.

    Args:
        encoder: maps images (B, C, H, W) to features (B, D, h, w), D = ``encoder.out_channels``.
        alpha: scale of the cosine. Default 20, the paper's.
        train_cell: side of a cell in the episodes of a training, in pixels of the image. Default 16: the published
            code's 40 mm, of pixels of 2.5 mm.
        cell: side of a cell in use. Default 8: the published code's 20 mm.
        threshold: share of a cell that the mask must exceed. Default 0.95, the published code's.
        ways: size of the zero-filled condition before :meth:`condition` or a state dict brings another. Default 1.

    Raises:
        ValueError: a number out of its range.

    The condition is ``prototypes`` (W, 2, P, D), background first and padded to the largest number, and ``valid``
    (W, 2, P), which says what is not padding. It does not depend on the network's mode.
    """

    aligns_empty = True

    def __init__(
        self,
        encoder: nn.Module,
        alpha: float = 20.0,
        train_cell: float = 16.0,
        cell: float = 8.0,
        threshold: float = 0.95,
        ways: int = 1,
    ) -> None:
        super().__init__(encoder, alpha, ways)
        if min(train_cell, cell) <= 0 or not 0 < threshold < 1:
            raise ValueError(
                f"train_cell {train_cell} and cell {cell} (pixels) must be positive, threshold {threshold} in (0, 1)."
            )
        self.train_cell = train_cell
        self.cell = cell
        self.threshold = threshold

    @torch.jit.ignore
    def pool(
        self,
        features: torch.Tensor,
        mask: torch.Tensor,
        size: Sequence[int],
        episode: bool = False,
        padding: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prototypes (N, 2, P, D), background first, and which are valid (N, 2, P); see :meth:`PANet.pool`."""
        large = cells_of(list(size), self.train_cell)
        grid = large if episode else cells_of(list(size), self.cell)
        sides = [
            adaptive_local_prototypes(features, outside(mask, padding), grid, self.threshold, always_global=False),
            adaptive_local_prototypes(features, mask, grid, self.threshold, always_global=True, least_grid=large),
        ]
        most = max(valid.shape[1] for _, valid in sides)
        banks = [F.pad(bank, (0, 0, 0, most - bank.shape[1])) for bank, _ in sides]
        return torch.stack(banks, 1), torch.stack([F.pad(valid, (0, most - valid.shape[1])) for _, valid in sides], 1)
