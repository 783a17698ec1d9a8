# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Batches of a labelled scan and unlabelled ones on its grid, for DataAug's and LT-Net's trainings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import PrepareBatch

__all__ = ["PrepareBatchPairs"]

GIVEN = ("flow", "back")


class PrepareBatchPairs(PrepareBatch):
    """Turn aligned scans into what :class:`monai_fss.networks.nets.DataAugNet` and its loss take.

    Called with a batch of :class:`monai_fss.inferers.AlignedScans`' items it gives the pairs (B, 2, H, W, D), labelled
    scan first; as the loss's target these as ``image`` and ``contours`` (B, 1, H, W, D); and as the network's further
    arguments ``flow`` and ``back`` (B, 3, H, W, D), where the batch has them.
    """

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], tuple[()], dict[str, torch.Tensor]]:
        """Prepare a batch."""
        moved = {
            key: batchdata[key].to(device, non_blocking=non_blocking, **kwargs)
            for key in ("labelled", "image", "contours", *GIVEN)
            if key in batchdata
        }
        image = torch.cat([moved["labelled"], moved["image"]], 1)
        target = {"image": image, "contours": moved["contours"]}
        return image, target, (), {key: moved[key] for key in GIVEN if key in moved}
