# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""ALPNet: local prototypes on a grid beside the global one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from monai_fss.networks.blocks import adaptive_local_prototypes

from .panet import PANet, outside

__all__ = ["ALPNet"]

MAP = 32  # pixels of the feature map that the paper's windows are counted in


class ALPNet(PANet):
    """PANet with adaptive local prototypes: cells of a grid that lie within the mask stand for parts of a class.

    The foreground has a prototype for every cell that its mask covers to ``threshold``, and the global one of the whole
    mask, which is left alone where it covers no cell. The background has those of its cells. A pixel's similarity to
    either is the sum of its similarities to the prototypes, weighted by their softmax. Ouyang et al.,
    "Self-supervision with superpixels: training few-shot medical image segmentation without annotation", ECCV 2020,
    https://arxiv.org/abs/2007.09886.

    Choices: windows are given in pixels of the paper's 32 x 32 feature map and kept as a fraction of the map, whatever
    the encoder's stride and the size of the slice, so a window of 4 is a grid of 8 x 8 cells. Cells of all shots form
    one bank, the global prototype is the mean over the shots. Where a background covers no cell (the published code
    passes such an episode over), its global prototype stands in. The rest is as in :class:`PANet`.

    Args:
        encoder: maps images (B, C, H, W) to features (B, D, h, w), D = ``encoder.out_channels``.
        alpha: scale of the cosine. Default 20, the paper's.
        train_window: side of a cell in training mode. Default 4, the published code's.
        window: side of a cell in evaluation mode. Default 2, the published code's.
        threshold: share of a cell that the mask must cover. Default 0.95, the published code's. It is kept with the
            weights (``cell_threshold``): a state dict brings its own.
        ways: size of the zero-filled condition before :meth:`condition` or a state dict brings another. Default 1.

    The condition is ``prototypes`` (W, 2, P, D), background first and padded to the largest number, and ``valid``
    (W, 2, P), which says what is not padding.
    """

    def __init__(
        self,
        encoder: nn.Module,
        alpha: float = 20.0,
        train_window: float = 4,
        window: float = 2,
        threshold: float = 0.95,
        ways: int = 1,
    ) -> None:
        super().__init__(encoder, alpha, ways)
        if not (0 < train_window <= MAP and 0 < window <= MAP and 0 < threshold <= 1):
            raise ValueError(
                f"train_window {train_window} and window {window} must lie in (0, {MAP}], threshold {threshold} in "
                "(0, 1]."
            )
        self.train_grid = round(MAP / train_window)
        self.grid = round(MAP / window)
        # A buffer, so that a model file of PANet, which has the same weights, is not taken for one of ALPNet.
        self.register_buffer("cell_threshold", torch.tensor(float(threshold)))

    @torch.jit.ignore
    def pool(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Prototypes (N, 2, P, D), background first, and which are valid (N, 2, P); see :meth:`PANet.pool`."""
        grid = self.train_grid if self.training else self.grid
        threshold = float(self.cell_threshold)
        sides = [
            adaptive_local_prototypes(features, outside(mask), grid, threshold, always_global=False),
            adaptive_local_prototypes(features, mask, grid, threshold, always_global=True),
        ]
        most = max(valid.shape[1] for _, valid in sides)
        banks = [F.pad(bank, (0, 0, 0, most - bank.shape[1])) for bank, _ in sides]
        return torch.stack(banks, 1), torch.stack([F.pad(valid, (0, most - valid.shape[1])) for _, valid in sides], 1)
