# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Of each class the largest connected pieces, as many as the labelled scan shows."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage

from .label_boxes import label_boxes

__all__ = ["LargestComponentd", "count_pieces", "largest_component", "usual_pieces"]

LEAST = 0.1
"""Share of the largest piece that a further one must have: less is a speck. The smaller of two kidneys has more."""


def largest_component(mask: np.ndarray, pieces: int = 1) -> np.ndarray:
    """The largest connected pieces of a binary mask (of equal ones the first), neighbours by face, edge or corner.

    MONAI's ``KeepLargestConnectedComponent`` does the same by scikit-image, which is not among our dependencies.

    Args:
        mask: (*spatial), boolean.
        pieces: how many are kept, those with less than a tenth of the largest aside. Default 1: an organ is one.

    Returns:
        boolean array of the same shape; empty where the mask is.
    """
    numbers, sizes = _pieces(mask)
    if len(sizes) < 2:
        return np.asarray(mask, dtype=bool)
    order = np.argsort(-sizes, kind="stable")[:pieces]
    kept = order[sizes[order] >= LEAST * sizes.max()] + 1
    return numbers == kept[0] if len(kept) == 1 else np.isin(numbers, kept)


def count_pieces(labels: Iterable[torch.Tensor | np.ndarray]) -> dict[int, int]:
    """In how many pieces labelled scans show each value: both kidneys under one label are two.

    Args:
        labels: whole numbers (1, H, W, D) each.

    Returns:
        value to the largest number of pieces in one of the scans; those with less than a tenth of the largest do not
        count.
    """
    found: dict[int, int] = {}
    for label in labels:
        whole = np.asarray(torch.as_tensor(label)[0].cpu())
        whole = whole if whole.dtype.kind in "iu" else whole.astype(np.int64)
        for value, box in label_boxes(whole).items():
            _, sizes = _pieces(whole[box] == value)
            found[value] = max(found.get(value, 1), int((sizes >= LEAST * sizes.max()).sum()))
    return found


def usual_pieces(labels: Iterable[torch.Tensor | np.ndarray], ways: int) -> list[int]:
    """In how many pieces each class is usually shown: the median over the labels that show it.

    Of many labels, or of pseudo-labels, one may be in pieces by mistake; of few, see :func:`count_pieces`.

    Args:
        labels: class numbers (1, H, W, D) each; others than 1 to ``ways`` do not count.
        ways: how many classes there are.

    Returns:
        for each class from 1 on, 1 where none shows it; of an even number of labels the smaller middle one.
    """
    counts = [count_pieces([torch.as_tensor(label).clamp(min=0)]) for label in labels]
    found = [sorted(count[way] for count in counts if way in count) for way in range(1, ways + 1)]
    return [own[(len(own) - 1) // 2] if own else 1 for own in found]


class LargestComponentd(MapTransform):
    """Keep of each class of a label map its largest connected pieces: what else there is are specks.

    Args:
        keys: label maps (1, *spatial).
        pieces: label value to how many, see :func:`count_pieces`. Default, and for other values: one.
    """

    def __init__(
        self, keys: KeysCollection, pieces: Mapping[int, int] | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.pieces = dict(pieces or {})

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict:
        """Set the voxels of smaller pieces to 0."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = result[key].clone()
            label = np.asarray(result[key][0].cpu())
            for value, box in label_boxes(label).items():
                mask = label[box] == value
                kept = largest_component(mask, self.pieces.get(value, 1))
                lost = torch.as_tensor(mask & ~kept, device=result[key].device)
                result[key][(0, *box)][lost] = 0
        return result


def _pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A number for each voxel, 0 outside, and the voxels of each number from 1."""
    numbers, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if count < 2:
        return numbers, np.full(count, np.count_nonzero(mask))
    return numbers, np.bincount(numbers[mask])[1:]  # of the mask alone: it is counted in 8 bytes a voxel
