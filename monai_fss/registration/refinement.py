# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Refine propagated labels by the query's own appearance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

__all__ = ["AppearanceRefinement", "signed_distance"]

NEVER = np.float32(-50)  # log-odds of what cannot be
BINS = 48


@dataclass(frozen=True)
class AppearanceRefinement:
    """Propagated labels are noisy labels of the query: learn from them what each organ looks like, and correct them.

    For each organ, log-odds of a voxel x with intensity I(x):

        log p(I | inside) - log p(I | around) + d(x) / tau

    d is the signed distance in mm to the boundary that was propagated, positive inside, the histograms are of the
    query itself: inside the present result, and around it up to ``zone``. The organs compete for each voxel, each
    keeps its largest piece with its holes filled, and the histograms are learnt anew, ``rounds`` times. The distance
    stays that of the propagated boundary, so that the result cannot drift away round by round.

    Args:
        rounds: how often. Default 4; more changes little.
        tau: mm of distance that weigh as much as one unit of log-likelihood ratio. Default 5.
        zone: mm around an organ in which it may be, and where its surroundings are learnt. Default 15.
        limit: mm that a boundary may move. Default: bounded by ``tau`` and ``cap`` alone, 10 mm with the defaults.
        smooth: Gaussian smoothing of the log-likelihood ratio, mm. Default 2.
        cap: largest absolute log-likelihood ratio. Default 2.
        evidence_weight: weight of further log-odds that are given in the call, such as a network's. Default 1.
    """

    rounds: int = 4
    tau: float = 5.0
    zone: float = 15.0
    limit: float | None = None
    smooth: float = 2.0
    cap: float = 2.0
    evidence_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.rounds < 0 or min(self.tau, self.zone, self.cap) <= 0 or self.smooth < 0:
            raise ValueError(
                f"rounds {self.rounds} and smooth {self.smooth} must be at least 0, tau {self.tau}, zone {self.zone} "
                f"and cap {self.cap} positive."
            )

    def __call__(
        self,
        image: np.ndarray,
        probabilities: np.ndarray,
        spacing: Sequence[float],
        evidence: np.ndarray | None = None,
    ) -> np.ndarray:
        """Refine.

        Args:
            image: the query (H, W, D), scaled to 0..1.
            probabilities: propagated labels (W, H, W, D), 0..1. An organ that has no voxel above 0.5 stays as it is.
            spacing: mm of a voxel along each axis.
            evidence: further log-odds (W, H, W, D).

        Returns:
            probabilities (W, H, W, D), float32; a voxel is an organ's where its probability is the largest and above
            0.5.
        """
        if probabilities.ndim != 4 or probabilities.shape[1:] != image.shape:
            raise ValueError(
                f"image {image.shape} and probabilities {probabilities.shape} do not match. "
                "Give (H, W, D) and (W, H, W, D) on one grid."
            )
        step = np.asarray(spacing, dtype=float)
        result = winners(probabilities)
        organs = [self._organ(image, result == way, way, step, evidence) for way in range(len(probabilities))]
        found = [organ for organ in organs if organ is not None]
        scores: list[np.ndarray] = []
        for _ in range(self.rounds):
            scores = [organ.score(self, result) for organ in found]
            result = self._compete(found, scores, image.shape)
        refined = np.array(probabilities, dtype=np.float32)
        for organ, score in zip(found, scores, strict=False):
            refined[organ.way] = 0
            refined[organ.way][organ.box] = 1 / (1 + np.exp(-score))
        return refined

    def _organ(
        self, image: np.ndarray, mask: np.ndarray, way: int, step: np.ndarray, evidence: np.ndarray | None
    ) -> _Organ | None:
        if not mask.any():
            return None
        margin = np.ceil((self.zone + 3 * self.smooth) / step).astype(int) + 1
        tight = ndimage.find_objects(mask.astype(np.uint8))[0]
        box = tuple(
            slice(max(0, s.start - m), min(n, s.stop + m)) for s, m, n in zip(tight, margin, mask.shape, strict=True)
        )
        distance = signed_distance(mask[box], step)
        bins = np.clip((image[box] * BINS).astype(np.int16), 0, BINS - 1)
        prior = distance / np.float32(self.tau)
        if evidence is not None:
            prior = prior + np.float32(self.evidence_weight) * evidence[way][box]
        if self.limit is not None:
            prior = np.where(distance > self.limit, -NEVER, prior)
        reach = self.zone if self.limit is None else min(self.zone, self.limit)
        return _Organ(way, box, bins, prior, distance > -self.zone, distance > -reach, step)

    @staticmethod
    def _compete(organs: Sequence[_Organ], scores: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        best = np.zeros(shape, np.float32)
        winner = np.full(shape, -1, np.int16)
        for organ, score in zip(organs, scores, strict=True):
            ahead = score > best[organ.box]
            best[organ.box][ahead] = score[ahead]
            winner[organ.box][ahead] = organ.way
        for organ in organs:
            mine = winner[organ.box] == organ.way
            winner[organ.box][mine] = -1
            kept = ndimage.binary_fill_holes(_largest(mine))
            winner[organ.box][kept & (winner[organ.box] < 0)] = organ.way
        return winner


@dataclass(frozen=True, eq=False)
class _Organ:
    """One organ in its box: prior log-odds, the zone that is learnt from, and where it may be."""

    way: int
    box: tuple[slice, ...]
    bins: np.ndarray
    prior: np.ndarray
    zone: np.ndarray
    allowed: np.ndarray
    step: np.ndarray

    def score(self, settings: AppearanceRefinement, result: np.ndarray) -> np.ndarray:
        """Log-odds by what the organ looks like in the present result."""
        mine = result[self.box] == self.way
        if not mine.any():
            return np.full(mine.shape, NEVER)
        ratio = np.log(self._histogram(mine)) - np.log(self._histogram(self.zone & ~mine))
        map_ = np.clip(ratio, -settings.cap, settings.cap).astype(np.float32)[self.bins]
        if settings.smooth:
            map_ = ndimage.gaussian_filter(map_, settings.smooth / self.step)
        return np.where(self.allowed, map_ + self.prior, NEVER)

    def _histogram(self, mask: np.ndarray) -> np.ndarray:
        """Smoothed histogram, with a little of a uniform one so that nothing is impossible."""
        counts = np.bincount(self.bins[mask], minlength=BINS).astype(float)
        smooth = ndimage.gaussian_filter1d(counts, 1.5)
        return (smooth / max(smooth.sum(), 1e-9) + 0.02 / BINS) / 1.02


def winners(probabilities: np.ndarray) -> np.ndarray:
    """The most probable way of each voxel, -1 where none is above 0.5."""
    return np.where(probabilities.max(0) > 0.5, probabilities.argmax(0), -1).astype(np.int16)


def signed_distance(mask: np.ndarray, spacing: Sequence[float] | np.ndarray) -> np.ndarray:
    """Distance in mm to the boundary of a mask (H, W, D), positive inside, float32; -inf for an empty mask."""
    if not mask.any():
        return np.full(mask.shape, -np.inf, np.float32)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing)
    if mask.all():
        return np.full(mask.shape, np.inf, np.float32)
    return (ndimage.distance_transform_edt(mask, sampling=spacing) - outside).astype(np.float32)


def _largest(mask: np.ndarray) -> np.ndarray:
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    return pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
