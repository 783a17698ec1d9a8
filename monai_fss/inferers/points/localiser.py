# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Find the points of a labelled scan in another one, and tell which were found rightly."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing

from monai_fss.inferers.points.neighbours import gaussian_average
from monai_fss.inferers.points.patches import PatchGrid
from monai_fss.inferers.points.point_matching import MATCH_LEVELS, MatchLevel, PointMatcher
from monai_fss.inferers.points.points import LocatedPoints, SupportPoints
from monai_fss.networks.nets import PRNet

__all__ = ["PointLocaliser"]


class PointLocaliser:
    """Propagate points from a support to a query by PRNet (section 3.2), and compare what lies there (3.3, Eq. 5).

    From a few starts in the middle of the query, whose positions are averaged, every point is reached in one coarse
    jump; the fine network, trained on pairs that lie close, jumps on from there, every time from where it came to. The
    paper has one network and one jump from one start anywhere (Eq. 4: ``starts=1, spread=1000, jumps=0, smooth=0,
    matching=False``); its code has two networks. Then the way that each point went is averaged with those of the
    points near it, which is not in the paper: errors of neighbouring points are largely independent, while neighbouring
    anatomy moves alike. What is left is mostly common to neighbours, a few mm by which a network errs in a scan; so
    every point is moved to where the scan looks most like the support around it (normalised cross-correlation of
    intensities, nothing learnt; not in the paper), again averaged with its neighbours, those counting most that fit
    best.

    Scans may have any voxel size: each network sees them on a grid of its own one, ``network.spacing``. Patches lie at
    whole voxels of that grid; what is left between them and the points, in mm, is added to the jumps. Jumps need the
    encoder alone, only the last patch of a point goes through the decoder.

    Args:
        coarse: network whose reach covers the body.
        fine: network of the later jumps, and of the features. Default: the coarse one.
        starts: Default 8; the paper has 1 and its code 5, but one pass takes many more.
        spread: how far the starts lie from the middle at most, in mm along each axis. Default 40; the published code
            has 10 voxels, the paper any place.
        threshold: least intensity of a start. Default 1e-4: not in the air.
        jumps: after the coarse one. Default 1, as in the published code: a second one, from where the first came to,
            takes a quarter longer and found organs no better (head and neck CT).
        smooth: sigma in mm of a Gaussian over the distances of the support's points, by which their ways are averaged,
            those of all labels together. Default 25, the size of what moves alike; 0 or None leaves them as they are.
        match_levels: how points are moved to where they fit best, see :class:`PointMatcher`; () leaves them where the
            networks found them. Default :data:`MATCH_LEVELS`: with them, on six scans of head and neck CT, the centres
            of brain stem and parotids were found to 4.5 mm (median), without to 13; on four of the abdomen those of
            liver, spleen and kidney to 9 instead of 38.
        matching: False stands for ``match_levels=()``, in a configuration. Default: they count.
        unrated: label values of points that are not compared; their similarity is 1. Default: none. Comparing takes
            most of the time, and points of the background are kept however alike they are.
        batch: patches in one pass. Default 8: on a processor faster than more, whose memory is mapped anew every time.
        seed: of the starts.

    Raises:
        ValueError: starts or batch of less than 1, negative jumps, spread or smooth, or levels that do not go.
    """

    def __init__(
        self,
        coarse: PRNet,
        fine: PRNet | None = None,
        starts: int = 8,
        spread: float = 40.0,
        threshold: float = 1e-4,
        jumps: int = 1,
        smooth: float | None = 25.0,
        match_levels: Sequence[MatchLevel | Sequence[float]] = MATCH_LEVELS,
        matching: bool = True,
        unrated: Collection[int] = (),
        batch: int = 8,
        seed: int = 0,
    ) -> None:
        if min(starts, jumps + 1, batch) < 1:
            raise ValueError(f"starts {starts} and batch {batch} must be at least 1, jumps {jumps} at least 0.")
        if min(spread, smooth or 0) < 0:
            raise ValueError(f"spread {spread} and smooth {smooth} must be at least 0 mm.")
        # On a processor convolutions of few channels are a sixth faster with the channels last.
        self.coarse = _channels_last(coarse.eval())
        self.fine = self.coarse if fine is None else _channels_last(fine.eval())
        self.starts = starts
        self.spread = spread
        self.threshold = threshold
        self.jumps = jumps
        self.smooth = smooth
        self.matcher = PointMatcher(match_levels if matching else ())
        self.unrated = tuple(unrated)
        self.batch = batch
        self.seed = seed

    def support(self, image: MetaTensor, voxels: np.ndarray, values: Sequence[int]) -> SupportPoints:
        """Look at the support's points once.

        Args:
            image: (C, H, W, D), a MetaTensor of any voxel size, intensities as the networks were trained.
            voxels: (N, 3), in the image, at least one; they need not be whole numbers.
            values: label value of each.

        Raises:
            ValueError: no point, another number of values, or no MetaTensor.
        """
        points = np.asarray(voxels, dtype=float).reshape(-1, 3)
        if not len(points) or len(points) != len(values):
            raise ValueError(
                f"voxels: {len(points)} points for {len(values)} values. Give at least one, and one value each."
            )
        coarse_grid, fine_grid = self._grids(image)
        mm = points * image.pixdim.numpy()
        centres, fine_rest = fine_grid.nearest(mm)
        fine, anatomical, pixel = self._features(fine_grid, centres)
        coarse, coarse_rest = fine, fine_rest
        if self.coarse is not self.fine:
            centres, coarse_rest = coarse_grid.nearest(mm)
            coarse = self._positions(self.coarse, coarse_grid, centres)
        template, template_rest = self.matcher.templates(image, mm)
        places, first, second, third = (a.astype(np.float32) for a in (mm, coarse_rest, fine_rest, template_rest))
        labels = np.asarray(values, dtype=np.int64)
        seen = coarse, fine, anatomical, pixel
        return SupportPoints(points.astype(np.float32), places, labels, *seen, first, second, template, third)

    def __call__(self, support: SupportPoints, image: MetaTensor) -> LocatedPoints:
        """Find the points in a query.

        Args:
            support: by :meth:`support`.
            image: (C, H, W, D), a MetaTensor of any voxel size, its axes in the support's order and directions.

        Returns:
            The points, those that lie beyond the query at its border.

        Raises:
            ValueError: no MetaTensor.
        """
        coarse, fine = self._grids(image)
        starts = self._starts(coarse)
        position = self._positions(self.coarse, coarse, starts).mean(0)
        mm = coarse.places(starts).mean(0) + _jump(self.coarse, support.coarse, position) + support.coarse_rest
        for _ in range(self.jumps):
            centres, _ = fine.nearest(mm)
            position = self._positions(self.fine, fine, centres)
            mm = fine.places(centres) + _jump(self.fine, support.fine, position) + support.fine_rest
        if self.smooth:
            mm = support.mm + gaussian_average(mm - support.mm, support.mm, self.smooth)
        mm = self.matcher(support, image, mm)
        sizes, last = image.pixdim.numpy(), np.array(image.shape[1:]) - 1
        mm = np.clip(mm, 0, last * sizes)
        return LocatedPoints(np.rint(mm / sizes).astype(int), mm, support.values, self._similarity(support, fine, mm))

    def compare(self, support: SupportPoints, image: MetaTensor, mm: np.ndarray) -> np.ndarray:
        """How alike a query is, at places that anything has found, to the support at its points (Eq. 5).

        Args:
            support: by :meth:`support`.
            image: the query, as for a call.
            mm: (N, 3), a place for each point, in mm along the axes of the query's array from the centre of voxel 0.
                Of a place beyond the query, the nearest one within is looked at.

        Returns:
            float32 (N,), as :attr:`LocatedPoints.similarity`; 1 for points of ``unrated`` labels.

        Raises:
            ValueError: another number of places than of points, or no MetaTensor.
        """
        places = np.asarray(mm, dtype=float)
        if places.shape != support.mm.shape:
            raise ValueError(f"mm: has shape {places.shape}, the support's points {support.mm.shape}. Give one each.")
        return self._similarity(support, PatchGrid.of(image, self.fine.spacing.tolist(), self.fine.patch_size), places)

    def _similarity(self, support: SupportPoints, grid: PatchGrid, mm: np.ndarray) -> np.ndarray:
        """(N,), of Eq. 5; 1 for points that are not compared."""
        similarity = np.ones(len(mm), np.float32)
        rated = np.flatnonzero(~np.isin(support.values, list(self.unrated)))
        if len(rated):
            _, anatomical, pixel = self._features(grid, grid.nearest(mm[rated])[0])
            first = F.cosine_similarity(support.anatomical[rated], anatomical)
            similarity[rated] = _both(first, F.cosine_similarity(support.pixel[rated], pixel)).numpy()
        return similarity

    def _grids(self, image: MetaTensor) -> tuple[PatchGrid, PatchGrid]:
        """The scan on the grids of the coarse and the fine network; one grid where they have the same voxel size."""
        first, second = self.coarse.spacing.tolist(), self.fine.spacing.tolist()
        if first == second:
            largest = np.maximum(self.coarse.patch_size, self.fine.patch_size).tolist()
            grid = PatchGrid.of(image, first, largest)
            return grid, grid
        return PatchGrid.of(image, first, self.coarse.patch_size), PatchGrid.of(image, second, self.fine.patch_size)

    def _starts(self, grid: PatchGrid) -> np.ndarray:
        """Voxels around the middle of the grid that show something; the middle itself where none does."""
        rng = np.random.default_rng(self.seed)
        middle = grid.shape // 2
        reach = np.floor(self.spread / affine_to_spacing(grid.to_mm)).astype(int)
        low, high = np.maximum(middle - reach, 0), np.minimum(middle + reach, grid.shape - 1)
        box = grid.inside[0, low[0] : high[0] + 1, low[1] : high[1] + 1, low[2] : high[2] + 1]
        points = (box > self.threshold).nonzero().cpu().numpy()
        if not len(points):
            return middle[None]
        return points[rng.choice(len(points), self.starts, replace=len(points) < self.starts)] + low

    def _positions(self, network: PRNet, grid: PatchGrid, centres: np.ndarray) -> torch.Tensor:
        return self._each(lambda patches: (network.position(patches),), network, grid, centres)[0]

    def _features(self, grid: PatchGrid, centres: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Positions, f2 and f4 of the fine network."""
        return self._each(lambda patches: tuple(self.fine(patches)[:3]), self.fine, grid, centres)

    @torch.no_grad()
    def _each(
        self,
        ask: Callable[[torch.Tensor], tuple[torch.Tensor, ...]],
        network: PRNet,
        grid: PatchGrid,
        centres: np.ndarray,
    ) -> tuple[torch.Tensor, ...]:
        """Ask a network of the patch around every voxel of its grid, a batch at a time."""
        answers = []
        for first in range(0, len(centres), self.batch):
            patches = grid.patches(centres[first : first + self.batch], network.patch_size)
            answers.append([answer.cpu() for answer in ask(patches.to(network.reach.device))])
        return tuple(torch.cat(answer) for answer in zip(*answers, strict=True))


def _both(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The product of two cosines (Eq. 5), negative where one of them is: unlike in both ways is not alike.

    The published code's features are those after a ReLU, whose cosines are never negative.
    """
    product = (first * second).abs()
    return torch.where(torch.minimum(first, second) < 0, -product, product)


def _channels_last(network: PRNet) -> PRNet:
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch declares none of it


def _jump(network: PRNet, target: torch.Tensor, start: torch.Tensor) -> np.ndarray:
    """(N, 3), mm from where patches have the positions ``start`` to where they have ``target``."""
    device = network.reach.device
    return network.offset(target.to(device), start.to(device)).detach().cpu().numpy().astype(float)
