# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Segment whole volumes with a 3-D network that is conditioned once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from monai.inferers import SlidingWindowInferer

from monai_fss.networks.blocks import VOLUME_WINDOW

from .few_shot import FewShotInferer
from .support import SupportSet

__all__ = ["FewShotVolumeInferer"]


class FewShotVolumeInferer(FewShotInferer):
    """Condition a 3-D network on the support set once, then segment any number of volumes by MONAI's sliding window.

    A scan that fits into one window is segmented in one pass, as in ADNet's paper (section 5.4); the window bounds the
    memory of larger ones, such as CT of more than 40 slices. Logits of overlapping windows are averaged, by a Gaussian
    around each window's middle.

    Args:
        support: the labelled volumes, see :func:`volume_support`. None: the network must have been conditioned before.
        roi_size: largest window (H, W, slices); an axis of a smaller scan is taken as it is, unpadded. Default
            (256, 256, 40): an abdominal scan of the paper. The compact encoder takes 1.4 GB in all for
            256 x 256 x 36.
        overlap: of windows, as a fraction of their size, where there are several. Default 0.25.
    """

    def __init__(
        self,
        support: SupportSet | None = None,
        roi_size: Sequence[int] = VOLUME_WINDOW,
        overlap: float | Sequence[float] = 0.25,
    ) -> None:
        super().__init__(support)
        if len(roi_size) != 3 or min(roi_size) < 1:
            raise ValueError(f"roi_size must be (H, W, slices), each at least 1, got {tuple(roi_size)}.")
        self.roi_size = tuple(int(n) for n in roi_size)
        self.overlap = overlap

    def segment(self, inputs: torch.Tensor, net: Any) -> torch.Tensor:
        """(B, C, H, W, D) -> logits (B, 1 + W, H, W, D)."""
        # A window that is padded would show a network with instance norm another scan.
        window = [min(largest, extent) for largest, extent in zip(self.roi_size, inputs.shape[2:], strict=True)]
        windows = SlidingWindowInferer(window, sw_batch_size=1, overlap=self.overlap, mode="gaussian", progress=False)
        return cast(torch.Tensor, windows(inputs, net))
