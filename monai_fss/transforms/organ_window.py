# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One organ of a target and its registered anchor, cut out: an episode of OrganNet."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.transforms import Randomizable, Transform

__all__ = ["SampleOrganWindow"]


class SampleOrganWindow(Randomizable, Transform):
    """Cut a window of a registered pair, in which the anchor shows one organ.

    In use windows lie around the anchor's mask, so here one of its voxels, moved by up to a quarter of the window, is
    the middle; of the target's own mask where the anchor's is empty.

    Args:
        spatial_size: (h, w, d) of the window; a smaller pair is filled up with 0 at the far end.

    An item has ``image`` and ``anchor_image`` (1, H, W, D), ``label`` (1, H, W, D), ``anchor_mask`` (W, K, H, W, D) of
    0..255, and which organ it is to be: ``way`` and ``value``. Returned are ``image``, ``label`` (1, h, w, d),
    ``support_image`` (1, h, w, d) and ``support_label`` (K, h, w, d), 0..1, floats.
    """

    def __init__(self, spatial_size: Sequence[int]) -> None:
        self.spatial_size = tuple(int(n) for n in spatial_size)
        if len(self.spatial_size) != 3 or min(self.spatial_size) < 1:
            raise ValueError(f"spatial_size must be (H, W, D), each at least 1, got {tuple(spatial_size)}.")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[str, torch.Tensor]:
        """Cut."""
        mask = torch.as_tensor(data["anchor_mask"])[int(data["way"])]
        label = torch.as_tensor(data["label"]) == int(data["value"])
        window = self._window(mask[0] > 127 if (mask[0] > 127).any() else label[0])
        parts = {"image": data["image"], "label": label, "support_image": data["anchor_image"], "support_label": mask}
        cut = {key: torch.as_tensor(part)[(slice(None), *window)].float() for key, part in parts.items()}
        cut["support_label"] = cut["support_label"] / 255
        return {key: self._filled(part) for key, part in cut.items()}

    def _window(self, organ: torch.Tensor) -> tuple[slice, ...]:
        points = organ.nonzero()
        middle = points[self.R.randint(len(points))].tolist() if len(points) else [n // 2 for n in organ.shape]
        window = []
        for centre, size, extent in zip(middle, self.spatial_size, organ.shape, strict=True):
            start = round(centre + self.R.uniform(-0.25, 0.25) * size - size / 2)
            start = min(max(start, 0), max(extent - size, 0))
            window.append(slice(start, start + size))
        return tuple(window)

    def _filled(self, part: torch.Tensor) -> torch.Tensor:
        pad = [n for size, own in zip(self.spatial_size[::-1], part.shape[:0:-1], strict=True) for n in (0, size - own)]
        return F.pad(part, pad).contiguous()
