# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A query and its anchors on one grid: what OrganNet is trained on, and what it segments by."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from monai_fss.data import ContentCache
from monai_fss.inferers.atlas import Atlas, Placed
from monai_fss.inferers.labelled import LabelledScan
from monai_fss.registration.grid import Grid, scale_of
from monai_fss.registration.refinement import AppearanceRefinement
from monai_fss.registration.resample import resample

__all__ = ["ANCHOR_MASKS", "AnchorPair", "anchors_on_grid"]

ANCHOR_MASKS = ("registered", "refined")
"""What the mask encoder is shown: the anchor's registered mask, or beside it the same refined by the query."""


def anchors_on_grid(
    fixed: np.ndarray,
    grid: Grid,
    placed: Sequence[Placed],
    values: Sequence[int],
    refinement: AppearanceRefinement | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Labelled scans, moved to a query by their registrations.

    Args:
        fixed: the query on the grid, (h, w, d), scaled to 0..1.
        grid: where.
        placed: the labelled scans with their registrations, see :meth:`monai_fss.inferers.Atlas.placed`.
        values: whose masks are wanted.
        refinement: makes a second channel of the masks: the moved masks, refined by the query's appearance. Default:
            there is none.

    Returns:
        their images (S, 1, h, w, d), and of each value its masks (S, W, K, h, w, d), 0..1, K = 1 or 2.
    """
    images, masks = [], []
    for scan, moved in placed:
        images.append(resample(scan.image, grid, moved).as_tensor())
        own = scan.masks(values, grid, moved)
        both = [own] if refinement is None else [own, refinement(fixed, own, (grid.spacing / scale_of(grid)).tolist())]
        masks.append(torch.from_numpy(np.stack(both, 1)))
    return torch.stack(images), torch.stack(masks)


class AnchorPair(Transform):
    """From two labelled scans to a pair on the grid that they were registered on: a target and its anchor.

    Args:
        prepare: from an item with the files ``image`` and ``label`` to both on their own grids, the image scaled to
            0..1, such as :class:`monai_fss.data.PrepareVolumes`.
        values: label values whose masks are wanted.
        spacing: of the grid, mm along the canonical axes.
        registration: arguments of :func:`monai_fss.registration.register`.
        anchor_mask: one of :data:`ANCHOR_MASKS`. Default "registered".
        refinement: used for "refined".
        cache_dir: folder in which registrations are kept, by content. Default: none are kept.

    An item has the files ``image``, ``label``, ``anchor_image`` and ``anchor_label``. Returned is a dict of plain
    tensors: ``image`` and ``anchor_image`` (1, h, w, d), ``label`` (1, h, w, d) of whole numbers, and ``anchor_mask``
    (W, K, h, w, d), uint8, of 255. Where the two cannot be registered, which is warned of, the mask is 0 everywhere.
    """

    def __init__(
        self,
        prepare: Callable[[Any], Any],
        values: Sequence[int],
        spacing: Sequence[float],
        registration: Mapping[str, Any] | None = None,
        anchor_mask: str = "registered",
        refinement: AppearanceRefinement | None = None,
        cache_dir: str | None = None,
    ) -> None:
        if anchor_mask not in ANCHOR_MASKS:
            raise ValueError(f"anchor_mask must be one of {', '.join(ANCHOR_MASKS)}, got '{anchor_mask}'.")
        self.prepare = prepare
        self.values = [int(value) for value in values]
        self.spacing = [float(mm) for mm in spacing]
        self.registration = dict(registration or {})
        self.refinement = (refinement or AppearanceRefinement()) if anchor_mask == "refined" else None
        self.cache_dir = cache_dir

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, torch.Tensor]:
        """Make the pair."""
        target = LabelledScan.of(self.prepare({"image": data["image"], "label": data["label"]}))
        anchor = self.prepare({"image": data["anchor_image"], "label": data["anchor_label"]})
        atlas = Atlas(
            [anchor],
            self._shown(anchor["label"]),
            self.spacing,
            refinement=None,
            registration=self.registration,
            cache=ContentCache(self.cache_dir) if self.cache_dir else None,
        )
        grid = atlas.grid(target.image)
        image = resample(target.image, grid).as_tensor()
        placed, _ = atlas.placed(target.image)
        anchor_image, masks = image, torch.zeros(len(self.values), 1 + (self.refinement is not None), *grid.shape)
        if placed:
            images, moved = anchors_on_grid(image[0].numpy(), grid, placed, atlas.values, self.refinement)
            anchor_image = images[0]
            masks[[self.values.index(value) for value in atlas.values]] = moved[0]
        return {
            "image": image,
            "anchor_image": anchor_image,
            "label": torch.from_numpy(_label(target.masks(self.values, grid), self.values))[None],
            "anchor_mask": (masks * 255).round().to(torch.uint8),
        }

    def _shown(self, label: MetaTensor) -> list[int]:
        """Those of the values that the anchor shows."""
        plain = torch.as_tensor(label.as_tensor() if isinstance(label, MetaTensor) else label)
        return [value for value in self.values if bool((plain == value).any())]


def _label(masks: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Label map (h, w, d) of masks (W, h, w, d): the greatest one above one half."""
    best = masks.argmax(0)
    return np.where(masks.max(0) > 0.5, np.asarray(values)[best], 0).astype(np.int32)
