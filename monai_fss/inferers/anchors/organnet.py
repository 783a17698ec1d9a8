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
from monai_fss.inferers.labelled import seen
from monai_fss.inferers.prior import log_odds
from monai_fss.networks.nets import OrganNet
from monai_fss.registration.body import body_grid
from monai_fss.registration.grid import Grid
from monai_fss.registration.refinement import AppearanceRefinement
from monai_fss.registration.resample import resample
from monai_fss.transforms import label_boxes

from .registered import ANCHOR_MASKS, anchors_on_grid

__all__ = ["OrganNetInferer"]


class OrganNetInferer(AtlasInferer):
    """Register the labelled scans to the query, and let :class:`monai_fss.networks.nets.OrganNet` find their organs.

    Each organ is looked for in windows that cover the moved masks of all anchors and ``margin`` around them. Of several
    anchors the probabilities are averaged; then the organs compete. With ``prior`` they are no result yet: their
    log-odds join the refinement of the atlas, whose grid and registration may be finer than the network's.

    Args:
        atlas: the labelled scans. It registers them, on the grid that the result has; its refinement is used with
            ``prior`` alone, where its ``evidence_weight`` is the weight of the network.
        roi_size: (h, w, d) of a window, voxels: as in training.
        margin: mm around the moved masks. Default 20: what registration leaves between organ and mask.
        anchor_mask: one of :data:`.registered.ANCHOR_MASKS`, as in training. Default "registered".
        refinement: used for "refined".
        overlap: of neighbouring windows. Default 0.5.
        prefetch: see :class:`AtlasInferer`.
        spacing: mm of the grid that the network was trained on. Default: that of the atlas.
        prior: whether the network's answer is combined with the atlas's. Default: it stands alone, as in the paper.

    Raises:
        ValueError: ``anchor_mask`` is not known; ``prior`` without a refinement in the atlas, which does the combining.
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
        spacing: Sequence[float] | None = None,
        prior: bool = False,
    ) -> None:
        super().__init__(atlas, prefetch)
        if anchor_mask not in ANCHOR_MASKS:
            raise ValueError(f"anchor_mask must be one of {', '.join(ANCHOR_MASKS)}, got '{anchor_mask}'.")
        if prior and atlas.refinement is None:
            raise ValueError("prior needs an atlas with a refinement: network and atlas are combined there.")
        self.roi_size = tuple(int(n) for n in roi_size)
        self.margin = margin
        self.refinement = (refinement or AppearanceRefinement()) if anchor_mask == "refined" else None
        self.overlap = overlap
        self.spacing = spacing
        self.prior = prior

    def grid(self, query: MetaTensor) -> Grid:
        """The grid that the network works on for a scan (1, H, W, D)."""
        return self.atlas.grid(query) if self.spacing is None else body_grid(query).working(self.spacing)

    def result(self, image: MetaTensor, evidence: MetaTensor | None, network: Any) -> MetaTensor:
        """Probabilities (W, h, w, d) of one scan, see :meth:`Atlas.__call__`."""
        net = cast(OrganNet, network.module if hasattr(network, "module") else network)
        query = seen(image)

        def decide(fixed: np.ndarray, grid: Grid, placed: list[Placed]) -> tuple[np.ndarray, np.ndarray]:
            own = self.grid(query)
            shown = resample(query, own).as_tensor()[0]
            images, masks = anchors_on_grid(shown.numpy(), own, placed, self.atlas.values, self.refinement)
            unseen = masks[:, :, 0].amax((0, 2, 3, 4)) < 0.5
            found = torch.stack([self._organ(shown, images, masks[:, way], own, net) for way in range(masks.shape[1])])
            if not self.prior:
                return self._on_grid(found, own, grid), unseen.numpy()
            odds = log_odds(torch.logit(found, eps=1e-6))
            odds[unseen] = 0  # too small for this grid: the network was not asked
            return self.atlas.decide(fixed, grid, placed, MetaTensor(odds, affine=torch.from_numpy(own.affine)))

        return self.atlas.segment(image, decide, self.prefetch)

    @staticmethod
    def _on_grid(found: torch.Tensor, own: Grid, grid: Grid) -> np.ndarray:
        """Probabilities on the network's grid, looked up on the atlas's, if it is another."""
        if own.shape == grid.shape and np.array_equal(own.affine, grid.affine):
            return found.numpy()
        return resample(MetaTensor(found, affine=torch.from_numpy(own.affine)), grid).as_tensor().numpy()

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
