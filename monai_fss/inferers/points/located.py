# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Segment whole scans with a network that was trained on crops around the organs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer

from monai_fss.inferers.found import found_in, with_found
from monai_fss.inferers.points.localiser import PointLocaliser
from monai_fss.inferers.points.points import LocatedPoints, SupportPoints, box_of
from monai_fss.inferers.points.propagation import ScribblePropagation
from monai_fss.inferers.points.region_prior import agreement, fuse_region_mask
from monai_fss.inferers.scans import each_scan
from monai_fss.inferers.windows import against_the_others
from monai_fss.networks.nets import LocatedSegmenter

__all__ = ["LocatedInferer", "LocatedQuality"]

NOT_HERE = -20.0
"""Logit of every organ outside the crop, where the network has not looked; the background's is 0."""


class LocatedInferer(Inferer):
    """Find the labelled scan's points in a scan, and segment what lies around them (PRNet, section 3.3 and 3.4).

    Args:
        roi_size: (H, W, D) of the windows, those of the training.
        margin: mm around the points that are segmented. Default 36: an organ reaches beyond its scribbles, and the
            pseudo-masks, around which 24 mm were seen in training, do so as well.
        tau: similarity that a point must exceed to count, see :meth:`LocatedPoints.scribbles`. Default 0.5.
        background: label value of the background's points, which do not count. Default: there are none.
        values: label value of each organ, in the network's order. An organ is then looked for around its own points
            alone, by the same margin: windows are too small to tell left from right. Default: around all points.
        overlap: of the windows. Default 0.5, the published code's.
        batch: windows in one pass. Default 4.
        localiser: further arguments of :class:`PointLocaliser`. The background's points are compared only where they
            count, with ``denoise_background`` of ``propagation`` and ``grown``.
        grown: weight, 0..1, of the mask that grows from the points that were found, see :func:`fuse_region_mask`; needs
            ``values``. Default 0: the network's word alone, as in the paper.
        propagation: further arguments of :class:`ScribblePropagation`, by which it grows.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        margin: float = 36.0,
        tau: float = 0.5,
        background: int | None = None,
        values: Sequence[int] | None = None,
        overlap: float = 0.5,
        batch: int = 4,
        localiser: Mapping[str, Any] | None = None,
        grown: float = 0.0,
        propagation: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 <= grown <= 1 or (grown and not values):
            raise ValueError(f"grown must lie in 0..1 and needs the label values of the ways, got {grown}, {values}.")
        self.windows = SlidingWindowInferer(roi_size, sw_batch_size=batch, overlap=overlap, mode="gaussian")
        self.margin = margin
        self.tau = tau
        self.background = background
        self.without: Collection[int] = () if background is None else (background,)
        self.values = [int(value) for value in values or ()]
        self.localiser = dict(localiser or {})
        self.grown = grown
        self.propagation = dict(propagation or {})

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, C, H, W, D) MetaTensor -> logits (B, 1 + W, H, W, D).

        :func:`monai_fss.inferers.found_in` has ``similarity``, {value: mean similarity (Eq. 5) of its points, 0..1},
        and, where ``grown`` is not 0, ``agreed``: {value: :func:`agreement` of the network and what grew}.
        """
        if not isinstance(inputs, MetaTensor):
            raise TypeError("points are found in mm: give a MetaTensor, whose affine says how large a voxel is.")
        net = network.module if hasattr(network, "module") else network
        results, found = zip(*(self._segment(image, net) for image in each_scan(inputs)), strict=True)
        return with_found(torch.stack(results), inputs, found)

    @torch.no_grad()
    def _segment(self, image: MetaTensor, net: LocatedSegmenter) -> tuple[torch.Tensor, dict[str, Any]]:
        found = self._locate(image, net)
        notes: dict[str, Any] = {"similarity": _similarity(found)}
        spacing = image.pixdim.numpy()
        place = self._place(found, image.shape[1:], spacing, self.without)
        logits = against_the_others(self.windows(image.as_tensor()[(slice(None), *place)][None], net)[0])
        whole = logits.new_full((len(logits), *image.shape[1:]), NOT_HERE)
        whole[0] = 0
        whole[(slice(None), *place)] = logits
        for way, value in enumerate(self.values, start=1):
            others = [int(v) for v in np.unique(found.values) if v != value]
            own = self._place(found, image.shape[1:], spacing, others)
            kept = whole[way][own].clone()
            whole[way] = NOT_HERE
            whole[way][own] = kept
        if self.grown:
            mask = self._grow(image, net, found)
            notes["agreed"] = agreement(whole, mask, self.values)
            whole = fuse_region_mask(whole, mask, self.values, spacing.tolist(), self.grown)
        return whole, notes

    def _grow(self, image: MetaTensor, net: LocatedSegmenter, found: LocatedPoints) -> np.ndarray:
        points = SupportPoints.from_state(net.points())
        grower = ScribblePropagation(
            self._localiser(net), points, tau=self.tau, background=self.background, **self.propagation
        )
        return grower.grow(cast(MetaTensor, image.cpu()), found)

    def _place(
        self, found: LocatedPoints, shape: Sequence[int], spacing: np.ndarray, without: Collection[int]
    ) -> tuple[slice, ...]:
        start, stop = box_of(found, self.tau, self.margin, shape, spacing.tolist(), without)
        return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))

    def _locate(self, image: MetaTensor, net: LocatedSegmenter) -> LocatedPoints:
        points = net.points()
        if not points:
            raise ValueError(
                "the network remembers no point of a labelled scan. Load the weights of a training, or call "
                "network.remember(points)."
            )
        return self._localiser(net)(SupportPoints.from_state(points), image)

    def _localiser(self, net: LocatedSegmenter) -> PointLocaliser:
        compared = self.grown and self.propagation.get("denoise_background", False)
        return PointLocaliser(net.coarse, net.fine, unrated=() if compared else self.without, **self.localiser)


def _similarity(found: LocatedPoints) -> dict[int, float]:
    return {
        int(value): float(np.clip(found.similarity[found.values == value], 0, 1).mean())
        for value in np.unique(found.values)
    }


class LocatedQuality:
    """How much the network and what grew agree, a label-free quality; where nothing grows, how alike the points are.

    Over 30 organs of ten test scans, of both sets of the bundle's page, and 30 of ten validation scans, the rank
    correlation of the agreement with the Dice of the result is 0.80, that of the points' similarity -0.03.

    Args:
        values: label values.
    """

    def __init__(self, values: Sequence[int]) -> None:
        self.values = [int(value) for value in values]

    def __call__(self, output: Mapping[str, Any]) -> dict[int, float]:
        """Of each class in one scan, 0..1: the agreement, or without ``grown`` the mean similarity (Eq. 5) of its
        points; 0 for a class without a mask.

        Args:
            output: the label map ``working`` (1, H, W, D), with what :class:`LocatedInferer` found out.
        """
        found = found_in(output["working"])
        scores = {**found["similarity"], **found.get("agreed", {})}
        mask = np.asarray(output["working"].cpu())
        return {value: scores[str(value)] if (mask == value).any() else 0.0 for value in self.values}
