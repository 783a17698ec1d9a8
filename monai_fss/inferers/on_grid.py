# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What an inferer found on the grid that it works on, on another one: class by class, and there slab by slab.

Probabilities of 13 organs on the grid of a CT of 512 x 512 x 400 would take 5.5 GB. An organ's mask needs them where
they exceed one half, and one slab of the scan at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from monai.data import MetaTensor
from scipy.ndimage import find_objects

from monai_fss.registration import Grid, resample

__all__ = ["WaysOnGrid", "native_grid", "slabs_on_grid", "without_padding"]

SLAB = 1 << 22
"""Voxels of a slab: 17 MB of float32."""


def native_grid(image: MetaTensor) -> Grid:
    """The grid of the file that a scan was read from, whatever has happened to it since.

    Args:
        image: preprocessed, with ``original_affine`` and ``spatial_shape`` in its meta data, as readers leave them.
    """
    shape = [int(n) for n in torch.as_tensor(image.meta["spatial_shape"]).flatten()[:3]]
    affine = torch.as_tensor(image.meta["original_affine"]).double().cpu().numpy()
    return Grid((shape[0], shape[1], shape[2]), affine)


def without_padding(found: torch.Tensor, image: MetaTensor) -> tuple[torch.Tensor, Grid]:
    """What was found in a scan itself, not in what it was filled up with for a network.

    Args:
        found: (C, h, w, d), on the grid of the preprocessed image, or a MetaTensor on a grid of its own.
        image: preprocessed; padding is looked for among its last transforms.

    Returns:
        (C, h', w', d') and its grid.
    """
    grid = Grid.of(found if isinstance(found, MetaTensor) else image)
    plain = found.as_tensor() if isinstance(found, MetaTensor) else found
    if not grid.same(Grid.of(image), 1e-6):
        return plain, grid
    for operation in reversed(image.applied_operations):
        padded = operation.get("extra_info", {}).get("padded") if isinstance(operation, dict) else None
        if padded is None:
            break
        pads = [(int(before), int(after)) for before, after in padded[-3:]]
        low = [before for before, _ in pads]
        high = [n - after for n, (_, after) in zip(plain.shape[1:], pads, strict=True)]
        plain = plain[(slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))]
        grid = grid.crop(low, high)
    return plain, grid


@dataclass(frozen=True, eq=False)
class _Piece:
    """The part of a grid in which one way may exceed the threshold: probabilities, and the box in the target."""

    way: int
    values: MetaTensor
    lower: np.ndarray
    upper: np.ndarray


class WaysOnGrid:
    """Where each of several ways is on a grid.

    Trilinear interpolation exceeds a threshold only beside a voxel that does: each way is looked at in the box of
    those, with the result of resampling all of it. Further than half a voxel beyond the source there is nothing.

    Args:
        ways: probability of each way (h, w, d), one after the other.
        source: grid that these are given on.
        target: grid that is asked for.
        threshold: a voxel is a way's where its probability is greater. Default 0.5.
        allowed: for each way, in which slices of the target, along its last axis, it may be (bool (D,)). Default: all.
    """

    def __init__(
        self,
        ways: Iterable[torch.Tensor],
        source: Grid,
        target: Grid,
        threshold: float = 0.5,
        allowed: Sequence[np.ndarray] | None = None,
    ) -> None:
        self.target = target
        self.threshold = threshold
        self.allowed = allowed
        self.same = source.same(target, 1e-6)
        pieces = (_piece(way, values, source, target, threshold) for way, values in enumerate(ways))
        self.pieces = {piece.way: piece for piece in pieces if piece is not None}

    def mask(self, way: int) -> np.ndarray:
        """One way by itself: bool, of the target's shape."""
        result = np.zeros(self.target.shape, dtype=bool)
        if way in self.pieces:
            for slab in self._slabs():
                for box, values in self._values(self.pieces[way], slab):
                    result[box] = values > self.threshold
        return result

    def label(self, values: Sequence[int]) -> np.ndarray:
        """All ways against each other: a voxel is that of the greatest probability, the first of equal ones.

        Args:
            values: label value of each way.

        Returns:
            int16, or int32 where a value needs it, of the target's shape; 0 where no way exceeds the threshold.
        """
        result = np.zeros(self.target.shape, dtype=np.int16 if max(values) <= np.iinfo(np.int16).max else np.int32)
        for slab in self._slabs():
            best = np.full(result[slab].shape, self.threshold, np.float32)
            for way, piece in self.pieces.items():
                for box, probabilities in self._values(piece, slab):
                    own = best[(slice(box[0].start - slab.start, box[0].stop - slab.start), *box[1:])]
                    ahead = probabilities > own
                    own[ahead] = probabilities[ahead]
                    result[box][ahead] = values[way]
        return result

    def _slabs(self) -> Iterator[slice]:
        rows = max(1, SLAB // (self.target.shape[1] * self.target.shape[2]))
        for start in range(0, self.target.shape[0], rows):
            yield slice(start, min(start + rows, self.target.shape[0]))

    def _values(self, piece: _Piece, slab: slice) -> Iterator[tuple[tuple[slice, slice, slice], np.ndarray]]:
        """The box of a way within a slab, and its probabilities there; nothing where it does not reach there."""
        lower, upper = piece.lower.copy(), piece.upper.copy()
        lower[0], upper[0] = max(lower[0], slab.start), min(upper[0], slab.stop)
        if lower[0] >= upper[0]:
            return
        if self.same:
            inner = tuple(slice(a, b) for a, b in zip(lower - piece.lower, upper - piece.lower, strict=True))
            values = piece.values.as_tensor()[0][inner].numpy()
        else:
            box = self.target.crop(lower.tolist(), upper.tolist())
            values = resample(piece.values, box, antialias=False).as_tensor()[0].numpy()
        if self.allowed is not None:
            values = values * self.allowed[piece.way][lower[2] : upper[2]]
        h, w, d = (slice(int(a), int(b)) for a, b in zip(lower, upper, strict=True))
        yield (h, w, d), values


def slabs_on_grid(values: torch.Tensor, source: Grid, target: Grid) -> Iterator[np.ndarray]:
    """A volume on another grid, in slabs along its last axis, from the first to the last: float32 (H, W, n) each.

    Args:
        values: (h, w, d).
        source, target: its grid, and the one that is asked for.
    """
    volume = _meta(values, source)
    depth = max(1, SLAB // (target.shape[0] * target.shape[1]))
    for start in range(0, target.shape[2], depth):
        part = target.crop((0, 0, start), (target.shape[0], target.shape[1], start + depth))
        yield resample(volume, part, antialias=False).as_tensor()[0].numpy()


def _piece(way: int, values: torch.Tensor, source: Grid, target: Grid, threshold: float) -> _Piece | None:
    inside = values > threshold
    box = find_objects(inside.cpu().numpy().view(np.uint8), max_label=1)[0]
    if box is None:
        return None
    first, last = np.array([s.start for s in box]), np.array([s.stop - 1 for s in box])
    if source.same(target, 1e-6):
        low, high = first, last + 1
        reach = low, high
    else:
        low, high = np.maximum(first - 1, 0), np.minimum(last + 2, source.shape)
        reach = _reach(first - 1, last + 1, source, target)
    part = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return _Piece(way, _meta(values[part].clone(), source.crop(low.tolist(), high.tolist())), *reach)


def _reach(first: np.ndarray, last: np.ndarray, source: Grid, target: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Box of target voxels between two corners of source voxels."""
    corners = np.array(list(product(*zip(first, last, strict=True))), dtype=float)
    to_target = np.linalg.solve(target.affine, source.affine)
    there = corners @ to_target[:3, :3].T + to_target[:3, 3]
    low, high = np.floor(there.min(0) - 1e-3).astype(int), np.ceil(there.max(0) + 1e-3).astype(int) + 1
    return np.clip(low, 0, target.shape), np.clip(high, 0, target.shape)


def _meta(values: torch.Tensor, grid: Grid) -> MetaTensor:
    return MetaTensor(values[None].float().cpu(), affine=torch.from_numpy(grid.affine))
