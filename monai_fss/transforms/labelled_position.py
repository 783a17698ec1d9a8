# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where in the labelled scan a voxel of another one lies: coordinates by an affine map."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable

__all__ = ["LabelledPositiond", "labelled_position"]


def labelled_position(image: MetaTensor, to_labelled: Any) -> torch.Tensor:
    """
    Coordinates of each voxel in a labelled scan.

    Args:
        image: (C, H, W, D), whose grid is taken.
        to_labelled: (4, 4), from the image's world to coordinates of the labelled scan, such as
            :meth:`monai_fss.inferers.labelled.LabelledScan.frame` after an affine registration.

    Returns:
        (3, H, W, D), float32.
    """
    matrix = np.asarray(torch.as_tensor(to_labelled).cpu(), np.float64) @ np.asarray(image.affine.cpu(), np.float64)
    lines = [torch.arange(size, dtype=torch.float64) for size in image.shape[1:]]
    index, affine = torch.stack(torch.meshgrid(*lines, indexing="ij")), torch.from_numpy(matrix)
    return (torch.tensordot(affine[:3, :3], index, 1) + affine[:3, 3].reshape(3, 1, 1, 1)).float()


class LabelledPositiond(Randomizable, MapTransform):
    """
    Append :func:`labelled_position` to an image, as three more channels; a window that was cut or turned, and knows it
    by its affine, has those of the places it shows. MONAI's ``RandAffined`` must be applied always (``prob=1``) before:
    where it cuts without turning, it notes the affine of the image before.

    Args:
        keys: the image, (C, H, W, D).
        matrix: key of ``to_labelled``. Default "to_labelled".
        jitter: standard deviation of a shift of all coordinates of an image, each axis by itself, in their unit: an
            affine registration is not exact, and a network must not take it to be. Default 0.
    """

    def __init__(
        self,
        keys: KeysCollection,
        matrix: Hashable = "to_labelled",
        jitter: float = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        if jitter < 0:
            raise ValueError(f"jitter must be at least 0, got {jitter}.")
        super().__init__(keys, allow_missing_keys)
        self.matrix, self.jitter = matrix, jitter

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """As described."""
        result = dict(data)
        matrix = np.array(torch.as_tensor(result[self.matrix]).cpu(), np.float64)
        if self.jitter:
            matrix[:3, 3] += self.R.normal(0, self.jitter, 3)
        for key in self.key_iterator(result):
            image = result[key]
            joined = torch.cat([image.as_tensor(), labelled_position(image, matrix).to(image.device)])
            result[key] = MetaTensor(joined, affine=image.affine)
        return result
