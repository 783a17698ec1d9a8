# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The coarse network of all organs together with the fine ones of the small organs, in one file of weights."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from .remembering import Remembering

__all__ = ["TwoStageNet"]


class TwoStageNet(Remembering):
    """A coarse network, and for each small organ a fine one that sees its region alone.

    To MONAI's tools it is the coarse network; :class:`monai_fss.inferers.TwoStageInferer` uses the rest: the fine
    networks, where the organs usually lie, and the labelled scans of the multi-atlas prior, which it remembers
    (Valindria et al., MLMI 2018). The stages are trained apart, so the fine networks have no gradient here.

    Args:
        coarse: (B, 1, H, W, D) -> logits (B, 1 + W, H, W, D), the background first.
        fine: of one organ, (B, 1 or 2, h, w, d) -> logits (B, 2, h, w, d). Each organ has a copy of its own. Default
            None: there is no second stage.
        organs: label values of the small organs. Default: none.
    """

    def __init__(self, coarse: nn.Module, fine: nn.Module | None = None, organs: Sequence[int] = ()) -> None:
        super().__init__()
        self.coarse = coarse
        copies = {} if fine is None else {str(organ): deepcopy(fine) for organ in organs}
        self.fine = nn.ModuleDict(copies).requires_grad_(False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, 1 + W, H, W, D) of the coarse stage."""
        return self.coarse(image)
