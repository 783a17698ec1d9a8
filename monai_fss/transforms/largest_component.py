# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Keep one piece of each class."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.transforms import MapTransform
from scipy import ndimage

from .label_boxes import label_boxes

__all__ = ["LargestComponentd", "largest_component"]


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of a binary mask (of equal ones the first), neighbours by face, edge or corner.

    MONAI's ``KeepLargestConnectedComponent`` does the same by scikit-image, which is not among our dependencies.

    Args:
        mask: (*spatial), boolean.

    Returns:
        boolean array of the same shape; empty where the mask is.
    """
    pieces, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if count < 2:
        return np.asarray(mask, dtype=bool)
    return pieces == np.bincount(pieces.ravel())[1:].argmax() + 1


class LargestComponentd(MapTransform):
    """Keep of each class of a label map its largest connected piece: an organ is one piece, specks are not of it.

    Args:
        keys: label maps (1, *spatial).
    """

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict:
        """Set the voxels of smaller pieces to 0."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = result[key].clone()
            label = np.asarray(result[key][0].cpu())
            for value, box in label_boxes(label).items():
                mask = label[box] == value
                lost = torch.as_tensor(mask & ~largest_component(mask), device=result[key].device)
                result[key][(0, *box)][lost] = 0
        return result
