# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Find the points of a labelled scan in another one, and tell which were found rightly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor

from monai_fss.networks.nets import PRNet
from monai_fss.transforms import patch_around

__all__ = ["LocatedPoints", "PointLocaliser", "SupportPoints"]


@dataclass(frozen=True)
class SupportPoints:
    """What is kept of the support's points, for any number of queries.

    Attributes:
        voxels: (N, 3), in the support.
        values: (N,), label value of each.
        coarse: (N, 3), positions of the coarse network.
        fine: (N, 3), positions of the fine one.
        anatomical, pixel: f2 (N, .) and f4 (N, .) of the fine one.
    """

    voxels: np.ndarray
    values: np.ndarray
    coarse: torch.Tensor
    fine: torch.Tensor
    anatomical: torch.Tensor
    pixel: torch.Tensor


@dataclass(frozen=True)
class LocatedPoints:
    """Where the support's points lie in a query.

    Attributes:
        voxels: (N, 3), in the query.
        values: (N,), label value of each.
        similarity: (N,), cos(f2) cos(f4) of the support's point and the one found (Eq. 5), -1..1: those
            above tau count.
    """

    voxels: np.ndarray
    values: np.ndarray
    similarity: np.ndarray

    def scribbles(self, shape: Sequence[int], tau: float = 0.5) -> np.ndarray:
        """Draw the points that were found rightly (dual-level feature denoising, section 3.3).

        Args:
            shape: (H, W, D) of the query.
            tau: similarity that a point must exceed. Default 0.5, the paper's; below -1 all points are drawn.

        Returns:
            int16 (H, W, D): values of the points, 0 elsewhere. Where several points fall on a voxel, that of the
            highest similarity counts. Nothing is drawn where no point exceeds tau.
        """
        drawn = np.zeros(tuple(shape), np.int16)
        for index in np.argsort(self.similarity, kind="stable"):
            if self.similarity[index] > tau:
                drawn[tuple(self.voxels[index])] = self.values[index]
        return drawn


class PointLocaliser:
    """Propagate points from a support to a query by PRNet (section 3.2), and compare what lies there (3.3, Eq. 5).

    From a few starts in the middle of the query, whose positions are averaged, every point is reached in one coarse
    jump; the fine network, trained on pairs that lie close, makes a second jump from there. Both may be one network,
    as the paper writes; its code has two. Patches are cut in batches; jumps need the encoder alone, only the last patch
    of a point goes through the decoder.

    Args:
        coarse: network whose reach covers the body.
        fine: network of the second jump, and of the features. Default: the coarse one.
        starts: Default 5, the published code's.
        spread: how far the starts lie from the middle, in voxels along each axis. Default 10, the published code's.
        threshold: least intensity of a start. Default 1e-4: not in the air.
        batch: patches in one pass. Default 32.
        seed: of the starts.

    Raises:
        ValueError: starts, spread or batch of less than 1.
    """

    def __init__(
        self,
        coarse: PRNet,
        fine: PRNet | None = None,
        starts: int = 5,
        spread: int = 10,
        threshold: float = 1e-4,
        batch: int = 32,
        seed: int = 0,
    ) -> None:
        if min(starts, spread, batch) < 1:
            raise ValueError(f"starts {starts}, spread {spread} and batch {batch} must be at least 1.")
        self.coarse = coarse.eval()
        self.fine = (fine or coarse).eval()
        self.starts = starts
        self.spread = spread
        self.threshold = threshold
        self.batch = batch
        self.seed = seed

    def support(self, image: MetaTensor, voxels: np.ndarray, values: Sequence[int]) -> SupportPoints:
        """Look at the support's points once.

        Args:
            image: (C, H, W, D), as the networks were trained.
            voxels: (N, 3), whole numbers, at least one.
            values: label value of each.
        """
        points = np.asarray(voxels, dtype=int).reshape(-1, 3)
        if not len(points) or len(points) != len(values):
            raise ValueError(
                f"voxels: {len(points)} points for {len(values)} values. Give at least one, and one value each."
            )
        fine, anatomical, pixel = self._features(image, points)
        return SupportPoints(
            points, np.asarray(values), self._positions(self.coarse, image, points), fine, anatomical, pixel
        )

    def __call__(self, support: SupportPoints, image: MetaTensor) -> LocatedPoints:
        """Find the points in a query (C, H, W, D), a MetaTensor, whose affine says how large a voxel is."""
        spacing = np.linalg.norm(np.asarray(image.affine, dtype=float)[:3, :3], axis=0)
        starts = self._starts(image)
        start = self._positions(self.coarse, image, starts).mean(0)
        found = self._jump(self.coarse, support.coarse, start, starts.mean(0), spacing, image)
        found = self._jump(self.fine, support.fine, self._positions(self.fine, image, found), found, spacing, image)
        _, anatomical, pixel = self._features(image, found)
        similarity = F.cosine_similarity(support.anatomical, anatomical) * F.cosine_similarity(support.pixel, pixel)
        return LocatedPoints(found, support.values, similarity.numpy())

    def _jump(
        self,
        network: PRNet,
        target: torch.Tensor,
        start: torch.Tensor,
        voxels: np.ndarray,
        spacing: np.ndarray,
        image: MetaTensor,
    ) -> np.ndarray:
        """Voxels (N, 3) that lie from ``voxels`` as the positions say, within the scan."""
        device = network.reach.device
        mm = network.offset(target.to(device), start.to(device)).detach().cpu().numpy()
        return np.clip(np.rint(voxels + mm / spacing).astype(int), 0, np.array(image.shape[1:]) - 1)

    def _starts(self, image: MetaTensor) -> np.ndarray:
        """Voxels around the middle of the scan that show something; the middle itself where none does."""
        rng = np.random.default_rng(self.seed)
        middle = np.array(image.shape[1:]) // 2
        low = np.maximum(middle - self.spread, 0)
        high = np.minimum(middle + self.spread, np.array(image.shape[1:]) - 1)
        box = image.as_tensor()[0, low[0] : high[0] + 1, low[1] : high[1] + 1, low[2] : high[2] + 1]
        points = (box > self.threshold).nonzero().numpy()
        if not len(points):
            return middle[None]
        return points[rng.choice(len(points), self.starts, replace=len(points) < self.starts)] + low

    def _positions(self, network: PRNet, image: MetaTensor, voxels: np.ndarray) -> torch.Tensor:
        return self._each(lambda patches: (network.position(patches),), network, image, voxels)[0]

    def _features(self, image: MetaTensor, voxels: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Positions, f2 and f4 of the fine network."""
        return self._each(lambda patches: tuple(self.fine(patches)[:3]), self.fine, image, voxels)

    @torch.no_grad()
    def _each(
        self,
        ask: Callable[[torch.Tensor], tuple[torch.Tensor, ...]],
        network: PRNet,
        image: MetaTensor,
        voxels: np.ndarray,
    ) -> tuple[torch.Tensor, ...]:
        """Ask a network of the patch around every voxel, a batch at a time."""
        volume, device, answers = image.as_tensor().float(), network.reach.device, []
        for first in range(0, len(voxels), self.batch):
            part = voxels[first : first + self.batch]
            patches = torch.stack([patch_around(volume, voxel.tolist(), network.patch_size) for voxel in part])
            answers.append([answer.cpu() for answer in ask(patches.to(device))])
        return tuple(torch.cat(answer) for answer in zip(*answers, strict=True))
