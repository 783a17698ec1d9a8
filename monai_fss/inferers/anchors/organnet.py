# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Segment a scan organ by organ, each in windows around the registered mask of its anchors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference

from monai_fss.inferers.atlas import Atlas, Placed
from monai_fss.inferers.atlas_inferer import AtlasInferer
from monai_fss.networks.nets import OrganNet
from monai_fss.registration.grid import Grid
from monai_fss.registration.refinement import AppearanceRefinement
from monai_fss.transforms import label_boxes

from .registered import ANCHOR_MASKS, anchors_on_grid

__all__ = ["OrganNetInferer"]


class OrganNetInferer(AtlasInferer):
    """Register the labelled scans to the query, and let :class:`monai_fss.networks.nets.OrganNet` find their organs.

    Each organ is looked for in windows that cover the moved masks of all anchors and ``margin`` around them. Of several
    anchors the probabilities are averaged; then the organs compete.

    Args:
        atlas: the labelled scans. Its grid is the one that the network was trained on (``spacing``).
        roi_size: (h, w, d) of a window, voxels: as in training.
        margin: mm around the moved masks. Default 20: what registration leaves between organ and mask.
        anchor_mask: one of :data:`.registered.ANCHOR_MASKS`, as in training. Default "registered".
        refinement: used for "refined".
        overlap: of neighbouring windows. Default 0.5.
        prefetch: see :class:`AtlasInferer`.
    """

    def __init__(
        self,
        atlas: Atlas,
        roi_size: Sequence[int],
        margin: float = 20.0,
        anchor_mask: str = "registered",
        refinement: AppearanceRefinement | None = None,
        overlap: float = 0.5,
        prefetch: bool = False,
    ) -> None:
        super().__init__(atlas, prefetch)
        if anchor_mask not in ANCHOR_MASKS:
            raise ValueError(f"anchor_mask must be one of {', '.join(ANCHOR_MASKS)}, got '{anchor_mask}'.")
        self.roi_size = tuple(int(n) for n in roi_size)
        self.margin = margin
        self.refinement = (refinement or AppearanceRefinement()) if anchor_mask == "refined" else None
        self.overlap = overlap

    def result(self, image: MetaTensor, evidence: MetaTensor | None, network: Any) -> MetaTensor:
        """Probabilities (W, h, w, d) of one scan, see :meth:`Atlas.__call__`."""
        net = cast(OrganNet, network.module if hasattr(network, "module") else network)

        def decide(fixed: np.ndarray, grid: Grid, placed: list[Placed]) -> tuple[np.ndarray, np.ndarray]:
            images, masks = anchors_on_grid(fixed, grid, placed, self.atlas.values, self.refinement)
            found = [
                self._organ(torch.from_numpy(fixed), images, masks[:, way], grid, net) for way in range(masks.shape[1])
            ]
            unseen = (masks[:, :, 0].amax((0, 2, 3, 4)) < 0.5).numpy()
            return torch.stack(found).numpy(), unseen

        return self.atlas.segment(image, decide, self.prefetch)

    @torch.no_grad()
    def _organ(
        self, fixed: torch.Tensor, images: torch.Tensor, masks: torch.Tensor, grid: Grid, net: OrganNet
    ) -> torch.Tensor:
        """Probability (h, w, d) of one organ, by anchors (S, 1, h, w, d) and their masks of it (S, K, h, w, d)."""
        result = torch.zeros(fixed.shape)
        box = label_boxes((masks[:, 0].amax(0) > 0.5).numpy().astype(np.uint8)).get(1)
        if box is None:
            return result
        reach = np.ceil(self.margin / grid.spacing).astype(int)
        where = tuple(
            slice(max(s.start - int(r), 0), min(s.stop + int(r), n))
            for s, r, n in zip(box, reach, fixed.shape, strict=True)
        )
        device = next(net.parameters()).device
        shown = [shot for shot in range(len(masks)) if bool((masks[shot, 0] > 0.5).any())]
        for shot in shown:
            pair = torch.cat([fixed[None], images[shot], masks[shot]])[(slice(None), *where)][None]
            logits = sliding_window_inference(
                pair.to(device), self.roi_size, 4, net.of_pair, overlap=self.overlap, mode="gaussian", progress=False
            )
            result[where] += torch.sigmoid(cast(torch.Tensor, logits)[0, 0].float()).cpu() / len(shown)
        return result
