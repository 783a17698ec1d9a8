# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Windows of a volume that hold what is labelled in it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

__all__ = ["VOLUME_WINDOW", "label_windows"]

VOLUME_WINDOW = (256, 256, 40)
"""Largest window (H, W, slices) that a 3-D network sees at once: an abdominal scan of ADNet's paper."""


def label_windows(mask: torch.Tensor, size: Sequence[int]) -> list[tuple[tuple[slice, ...], torch.Tensor]]:
    """As few windows as hold the labelled voxels, evenly spaced around them; each voxel belongs to one of them.

    Along an axis that is not longer than the window all is taken.

    Args:
        mask: (H, W, D), non-zero where labelled.
        size: largest window (h, w, d).

    Returns:
        for each window that has a voxel of its own its three slices, and the mask within it (h, w, d) of these voxels.
        None where nothing is labelled.
    """
    if not mask.any():
        return []
    found = []
    for pieces in itertools.product(*(_pieces(mask, axis, most) for axis, most in enumerate(size))):
        own = torch.zeros_like(mask)
        place = tuple(piece for _, piece in pieces)
        own[place] = mask[place]
        if own.any():
            window = tuple(around for around, _ in pieces)
            found.append((window, own[window]))
    return found


def _pieces(mask: torch.Tensor, axis: int, most: int) -> list[tuple[slice, slice]]:
    """Along one axis the windows, and the piece of the labelled extent that each stands for."""
    extent = mask.shape[axis]
    if extent <= most:
        return [(slice(0, extent), slice(0, extent))]
    inside = mask.movedim(axis, 0).flatten(1).any(1).nonzero().flatten()
    first, end = int(inside[0]), int(inside[-1]) + 1
    count = -(-(end - first) // most)
    borders = [first + (end - first) * i // count for i in range(count + 1)]
    pieces = [slice(a, b) for a, b in itertools.pairwise(borders)]
    starts = [min(max((piece.start + piece.stop - most) // 2, 0), extent - most) for piece in pieces]
    return [(slice(start, start + most), piece) for start, piece in zip(starts, pieces, strict=True)]
