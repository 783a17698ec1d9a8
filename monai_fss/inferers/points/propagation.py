# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""From the scribbles of one scan to pseudo-masks of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from monai_fss.inferers.found import with_found
from monai_fss.inferers.points.localiser import PointLocaliser
from monai_fss.inferers.points.points import LocatedPoints, SupportPoints, box_of
from monai_fss.inferers.scans import each_scan, scan_name
from monai_fss.transforms import grow_scribbles, remove_leaks

__all__ = ["ScribblePropagation", "scribble_points"]


def scribble_points(scribbles: MetaTensor, image: MetaTensor, most: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Where in a scan its scribbles run.

    Args:
        scribbles: (1, H, W, D), on a grid of their own: thin lines would be lost on a coarser one.
        image: (C, h, w, d), the scan on the grid that is worked on.
        most: points of each class; of more, every so-many-th is taken. Default 400: neighbours hardly differ.

    Returns:
        (N, 3), voxels of ``image``, not whole numbers; and (N,), the scribbles' values.
    """
    mask = np.asarray(scribbles[0])
    marked = np.argwhere(mask != 0)
    values = mask[tuple(marked.T)].astype(int)
    kept = np.sort(np.concatenate([_spread(np.flatnonzero(values == value), most) for value in np.unique(values)]))
    to_image = np.linalg.inv(np.asarray(image.affine, dtype=float)) @ np.asarray(scribbles.affine, dtype=float)
    voxels = marked[kept] @ to_image[:3, :3].T + to_image[:3, 3]
    return voxels, values[kept]


def _spread(indices: np.ndarray, most: int) -> np.ndarray:
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).round().astype(int)]


class ScribblePropagation(Inferer):
    """Propagate scribbles to a scan, keep those that were found rightly, grow them to masks (sections 3.2 to 3.4).

    The scan with the scribbles itself keeps them as they are. Points of the background are all kept, unlike in the
    paper: nearly all of them are right, as the paper too finds (97 % on head and neck CT here), and an organ grows into
    the gaps between them (mean Dice of pseudo-masks there 34 with gaps, 47 without).

    Args:
        localiser: with the trained networks.
        support: what it knows of the scribbles' points.
        name: of the scan that they were drawn on, see :func:`monai_fss.inferers.atlas.scan_name`.
        tau: similarity that a point must exceed. Default 0.5, the paper's.
        background: label value of the background's scribbles. Default: there are none.
        margin: mm around the points beyond which nothing grows. Default 24.
        growth: further arguments of :func:`monai_fss.transforms.grow_scribbles`.
        tolerance: of :func:`monai_fss.transforms.remove_leaks`, by which masks are cleaned. Default 0.1; None leaves
            them as they grew, as in the paper.
        denoise_background: whether the background's points, too, must exceed tau, as in the paper; the localiser must
            then rate them. Default: not.

    Attributes:
        always: label values of which all points are kept: the background's, or none.
    """

    def __init__(
        self,
        localiser: PointLocaliser,
        support: SupportPoints,
        name: str = "",
        tau: float = 0.5,
        background: int | None = None,
        margin: float = 24.0,
        growth: dict[str, Any] | None = None,
        tolerance: float | None = 0.1,
        denoise_background: bool = False,
    ) -> None:
        self.localiser = localiser
        self.support = support
        self.name = name
        self.tau = tau
        self.background = background
        self.margin = margin
        self.growth = dict(growth or {})
        self.tolerance = tolerance
        self.always: tuple[int, ...] = () if background is None or denoise_background else (background,)

    @property
    def values(self) -> list[int]:
        """The organs' label values."""
        return [int(v) for v in np.unique(self.support.values) if v not in (0, self.background)]

    def __call__(self, inputs: torch.Tensor, network: Any = None, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, C, H, W, D) MetaTensor -> pseudo-masks (B, 1, H, W, D), 0 for the background.

        :func:`monai_fss.inferers.found_in` has ``located``, the points of :class:`LocatedPoints` by their attributes,
        and ``missing``: label values of which no point was kept.
        """
        if not isinstance(inputs, MetaTensor):
            raise TypeError("points are found in mm: give a MetaTensor, whose affine says how large a voxel is.")
        masks, notes = zip(
            *(self.pseudo_mask(cast(MetaTensor, image.cpu())) for image in each_scan(inputs)), strict=True
        )
        return with_found(torch.stack(masks).float(), inputs, notes)

    def pseudo_mask(self, image: MetaTensor) -> tuple[torch.Tensor, dict[str, Any]]:
        """The pseudo-mask (1, H, W, D), int16, of one scan (C, H, W, D), and what was found out about it."""
        found = self.locate(image)
        shown = self._scribbles(image, found)
        missing = [value for value in self.values if not (shown == value).any()]
        return torch.from_numpy(self.grow(image, found))[None], {"located": found.state(), "missing": missing}

    def _scribbles(self, image: MetaTensor, found: LocatedPoints) -> np.ndarray:
        return found.scribbles(image.shape[1:], self.tau, self.always)

    def grow(self, image: MetaTensor, found: LocatedPoints) -> np.ndarray:
        """The mask (H, W, D), int16, that grows in a scan (C, H, W, D) from points found in it; empty where none is
        kept."""
        scribbles = self._scribbles(image, found)
        mask = np.zeros(scribbles.shape, np.int16)
        if np.isin(scribbles, self.values).any():
            self._grow(image, found, scribbles, mask)
        return mask

    def locate(self, image: MetaTensor) -> LocatedPoints:
        """The points in a scan; in their own one they are where they were drawn."""
        if self.name and scan_name(image) == self.name:
            return self._own(image)
        return self.localiser(self.support, image)

    def _own(self, image: MetaTensor) -> LocatedPoints:
        voxels = np.clip(np.rint(self.support.voxels).astype(int), 0, np.array(image.shape[1:]) - 1)
        return LocatedPoints(voxels, self.support.mm, self.support.values, np.ones(len(voxels), np.float32))

    def _grow(self, image: MetaTensor, found: LocatedPoints, scribbles: np.ndarray, mask: np.ndarray) -> None:
        """Into ``mask``, within a box around the organs' points: growth elsewhere would only take time."""
        spacing = image.pixdim.numpy()
        without: Sequence[int] = () if self.background is None else (self.background,)
        start, stop = box_of(found, self.tau, self.margin, image.shape[1:], spacing, without)
        box = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        intensities = np.asarray(image.as_tensor()[0])[box]
        grown, _ = grow_scribbles(intensities, scribbles[box], spacing.tolist(), self.background, **self.growth)
        if self.tolerance is not None:
            grown = remove_leaks(grown, intensities, scribbles[box], self.tolerance)
        mask[box] = grown
