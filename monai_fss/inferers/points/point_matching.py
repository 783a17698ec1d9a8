# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Points are moved to where a scan looks most like the labelled one around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor

from monai_fss.inferers.points.correlation import best_matches
from monai_fss.inferers.points.neighbours import gaussian_average
from monai_fss.inferers.points.patches import PatchGrid
from monai_fss.inferers.points.points import SupportPoints

__all__ = ["MATCH_LEVELS", "MatchLevel", "PointMatcher"]

BEYOND = float("nan")  # what a scan does not show is not compared
FIT = 4  # power of a correlation that says how much a move counts: 0.9 nearly three times as much as 0.7


class MatchLevel(NamedTuple):
    """How points are compared once.

    Attributes:
        radius: half side in mm of the cube around a point that is compared.
        search: how far it is moved at most, in mm along each axis.
        spacing: voxel size in mm of the grid on which is compared.
        smooth: sigma in mm of the Gaussian over the distances of the points by which their moves are averaged.
    """

    radius: float
    search: float
    spacing: float
    smooth: float

    @property
    def cube(self) -> tuple[int, float]:
        """Voxels of a cube's side, and their size in mm."""
        return 2 * round(self.radius / self.spacing) + 1, float(self.spacing)

    @property
    def region(self) -> int:
        """Voxels of the side of what it is compared with."""
        return self.cube[0] + 2 * round(self.search / self.spacing)


MATCH_LEVELS = (
    *[MatchLevel(36, 24, 6, 100)] * 3,
    MatchLevel(36, 24, 6, 40),
    *[MatchLevel(24, 12, 3, 10)] * 2,
)
"""From the whole, moved nearly as one, to single organs. On four scans of the abdomen, of very different build, the
worst kidney was 87 mm off with one move of the whole, 20 with two, 17 with three."""


class PointMatcher:
    """Normalised cross-correlation of the intensities around points, level by level, each from where the last ended.

    Not in PRNet's paper, and nothing learnt. A move is averaged with those of the points near it, those counting most
    that fit best: neighbouring anatomy moves alike.

    Args:
        levels: one after another. Default :data:`MATCH_LEVELS`.

    Raises:
        ValueError: a radius, search or smooth below the spacing of its level, or a spacing that is not positive.
    """

    def __init__(self, levels: Sequence[MatchLevel | Sequence[float]] = MATCH_LEVELS) -> None:
        self.levels = [MatchLevel(*level) for level in levels]
        self.cubes = list(dict.fromkeys(level.cube for level in self.levels))
        for level in self.levels:
            if level.spacing <= 0 or min(level.radius, level.search, level.smooth) < level.spacing:
                raise ValueError(
                    f"match_levels: {tuple(level)} is (radius, search, spacing, smooth) in mm. Give a spacing above "
                    "0, and others of at least that."
                )

    def templates(self, image: MetaTensor, mm: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
        """What lies around the support's points.

        Args:
            image: (C, H, W, D), the support, intensities 0..1; the first channel is looked at.
            mm: (N, 3), places.

        Returns:
            uint8 (N, T), 1 to 255 for 0..1, 0 beyond the scan: the different cubes of the levels, flattened, one after
            another; and (N, cubes, 3), mm from the middle voxel of each to the point.
        """
        made, rests = [torch.zeros(len(mm), 0, dtype=torch.uint8)], [np.zeros((len(mm), 0, 3))]
        for size, spacing in self.cubes:
            grid = PatchGrid.of(image, [spacing] * 3, [size] * 3, BEYOND)
            centres, rest = grid.nearest(mm)
            cube = grid.patches(centres, [size] * 3)[:, 0].flatten(1)
            made.append((1 + 254 * cube.clamp(0, 1)).nan_to_num(0.0).round().to(torch.uint8).cpu())
            rests.append(rest[:, None])
        return torch.cat(made, 1), np.concatenate(rests, 1)

    def __call__(self, support: SupportPoints, image: MetaTensor, mm: np.ndarray) -> np.ndarray:
        """Places (N, 3) in mm in a query, moved to where it looks like the support around the points.

        Raises:
            ValueError: the support was looked at with other levels.
        """
        sizes = [size**3 for size, _ in self.cubes]
        if support.shown.shape[1] != sum(sizes) or support.shown_rest.shape[1] != len(sizes):
            raise ValueError(
                f"support: its points were looked at with other match_levels; {sum(sizes)} voxels in {len(sizes)} "
                f"cubes are compared, and it has {support.shown.shape[1]} in {support.shown_rest.shape[1]}. "
                "Make it by a localiser like this one."
            )
        for level in self.levels:
            index, side = self.cubes.index(level.cube), (level.cube[0],) * 3
            kept = support.shown.split(sizes, 1)[index].unflatten(1, side)
            cubes = ((kept.float() - 1) / 254).masked_fill(kept == 0, BEYOND)
            mm = self._moved(level, support.mm, cubes, support.shown_rest[:, index], image, mm)
        return mm

    @staticmethod
    def _moved(
        level: MatchLevel, own: np.ndarray, cubes: torch.Tensor, rest: np.ndarray, image: MetaTensor, mm: np.ndarray
    ) -> np.ndarray:
        side = [level.region] * 3
        grid = PatchGrid.of(image, [level.spacing] * 3, side, BEYOND)
        centres, _ = grid.nearest(mm)
        shifts, fits = best_matches(cubes, grid.patches(centres, side)[:, 0].cpu())
        if not fits.any():
            return mm
        moved = np.where(fits[:, None] > 0, grid.places(centres + shifts) + rest, mm)
        return own + gaussian_average(moved - own, own, level.smooth, fits**FIT)
