# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Batches of patches for PRNet's training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch

__all__ = ["PrepareBatchPatches"]


class PrepareBatchPatches(PrepareBatch):
    """Turn what :class:`monai_fss.transforms.SamplePatches` drew of B scans into what PRNet and its loss take.

    Args:
        rebuilt: patches of a batch that go through the decoder too, see :class:`monai_fss.networks.nets.PRNet`. Default
            -1: all.

    Called with a batch of ``image`` (B, n, C, h, w, slices) and ``place`` (B, n, 3), it gives the patches
    (B n, C, h, w, slices), the target of :class:`monai_fss.losses.PRNetLoss`, and the network's further arguments.
    """

    def __init__(self, rebuilt: int = -1) -> None:
        self.rebuilt = rebuilt

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], tuple[()], dict[str, int]]:
        """Prepare a batch."""
        moved = {key: batchdata[key].to(device, non_blocking=non_blocking, **kwargs) for key in ("image", "place")}
        patches = moved["image"].flatten(0, 1)
        return patches, {"place": moved["place"], "patches": patches}, (), {"rebuilt": self.rebuilt}
