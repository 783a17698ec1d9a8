# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Windows of labelled volumes whose classes come up as often as their weights say, whatever each volume shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.transforms import Compose

from monai_fss.data.episodes.series import EpisodeDataset
from monai_fss.transforms import DRAWN

__all__ = ["WeightedClassEpisodes"]


class WeightedClassEpisodes(EpisodeDataset):
    """Draw a class by its weight, a volume that shows it, and a window about a voxel of it.

    Args:
        volumes: items with ``indices_key``, the voxels of each class, as MONAI's ``ClassesToIndicesd`` lists them.
        weights: of each class, the background first. A class that no volume shows is left out.
        transform: random transforms, the first :class:`monai_fss.transforms.RandWeightedClassCropd`.
        length: windows in an epoch.
        seed: of the series.
        indices_key: Default "label_cls_indices", the one of ``ClassesToIndicesd`` for ``label``.
        data: what the volumes are made of, where a configuration names it here; not looked at. Default: not said.

    Raises:
        ValueError: there are not as many weights as classes, or no volume shows a class whose weight is above 0.

    Attributes:
        shown: for each class the indices of the volumes that show it.
        shares: probability of each class.
    """

    def __init__(
        self,
        volumes: Sequence[Any],
        weights: Sequence[float],
        transform: Compose,
        length: int,
        seed: int = 0,
        indices_key: str = "label_cls_indices",
        data: Any = None,
    ) -> None:
        super().__init__(volumes, transform, length, seed, data)
        voxels = [[len(indices) for indices in volume[indices_key]] for volume in volumes]
        if len(weights) != len(voxels[0]):
            raise ValueError(
                f"weights={list(weights)}: are {len(weights)} for {len(voxels[0])} classes. Give one for the "
                "background and one for each class."
            )
        self.shown = [[i for i, own in enumerate(voxels) if own[number]] for number in range(len(weights))]
        shares = np.array([weight if shown else 0.0 for weight, shown in zip(weights, self.shown, strict=True)])
        if not shares.sum() > 0:
            raise ValueError(f"weights={list(weights)}: no volume shows a class whose weight is above 0.")
        self.shares = shares / shares.sum()

    def __getitem__(self, index: int) -> Any:
        """Window ``index`` of the series."""
        state = np.random.RandomState(np.random.SeedSequence([self.seed, index]).generate_state(4))
        number = int(state.choice(len(self.shares), p=self.shares))
        shown = self.shown[number]
        volume = self.volumes[shown[state.randint(len(shown))]]
        self.transform.set_random_state(state=state)
        return self.transform({**volume, DRAWN: number})
