# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Windows about voxels of classes, of which each is drawn as often as its weight says."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import RandCropByLabelClassesd

__all__ = ["DRAWN", "RandWeightedClassCropd", "class_shares", "class_weights"]

DRAWN = "drawn_class"
"""Key of an item whose class has been drawn already, with its number."""
POWER = 1 / 3


class RandWeightedClassCropd(RandCropByLabelClassesd):
    """MONAI's ``RandCropByLabelClassesd`` of one window, whose classes are drawn by weights.

    The "weighted FCN" of the two-stage paper (Valindria et al., MLMI 2018, section 2.2) is this: by its code it is not
    the loss that has weights, but the draw of the class of a window's centre; the centre is any voxel of that class,
    and a window that would reach over the edge is shifted.

    In a volume that does not show a class the others share its weight, so that over many volumes it would come up less
    often than its weight says. An item that brings the number of a class under :data:`DRAWN` has its centre in that:
    :class:`monai_fss.data.WeightedClassEpisodes` draws the class first, and then a volume that shows it.

    Args:
        keys: what is cropped, (C, H, W, D), at least as large as a window.
        label_key: whole numbers of classes (1, H, W, D); others, such as -1, are no centre.
        spatial_size: (H, W, D) of a window.
        weights: of each class, the background first; not negative, some above 0. See :func:`class_weights`.
        indices_key: where the voxels of each class are, as MONAI's ``ClassesToIndicesd`` lists them. Default: they are
            looked for.

    Raises:
        ValueError: the weights are negative, or all 0.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str,
        spatial_size: Sequence[int],
        weights: Sequence[float],
        indices_key: str | None = None,
    ) -> None:
        shares = [float(weight) for weight in weights]
        if not all(np.isfinite(shares)) or min(shares) < 0 or not sum(shares):
            raise ValueError(f"weights={shares}: must be 0 or more, and one of them more.")
        super().__init__(
            keys,
            label_key,
            spatial_size,
            ratios=list(shares),
            num_classes=len(shares),
            indices_key=indices_key,
            warn=False,
        )
        self.weights = shares

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> list[dict[Hashable, torch.Tensor]]:
        """One window, in a list as MONAI's transforms of several samples give it."""
        item = dict(data)
        drawn = item.pop(DRAWN, None)
        one_alone = [float(number == drawn) for number in range(len(self.weights))]
        self.cropper.ratios = self.weights if drawn is None else one_alone
        return super().__call__(item, lazy)


def class_shares(labels: Iterable[Any], classes: int) -> list[float]:
    """Which share of all voxels each class has.

    Args:
        labels: whole numbers of any shape; what is no class is not counted.
        classes: how many, the background among them.

    Returns:
        shares, of sum 1; all 0 where there is no voxel.
    """
    counts = np.zeros(classes, dtype=np.int64)
    for label in labels:
        values = np.asarray(label).ravel()
        values = values[(values >= 0) & (values < classes)].astype(np.int64)
        counts += np.bincount(values, minlength=classes)
    return (counts / max(int(counts.sum()), 1)).tolist()


def class_weights(shares: Sequence[float], power: float = POWER) -> list[float]:
    """Weights of classes by the share of the voxels that each has: the rarer, the more.

    Args:
        shares: see :func:`class_shares`.
        power: a weight is share ** -power. Default 1/3: near to those that the authors of the two-stage network set by
            hand (1 for the background, 3 for large organs, up to 20 for the smallest). 1 would leave little but the
            smallest organ, -1 draws every voxel with the same probability, 0 every class.

    Returns:
        weights, of sum 1; 0 for a class without voxels.
    """
    some = np.asarray(shares, dtype=float)
    weights = np.zeros_like(some)
    weights[some > 0] = some[some > 0] ** -power
    return (weights / max(weights.sum(), np.finfo(float).tiny)).tolist()
