# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Random transforms of one side of an episode: of the query or of the support."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import Compose, OneOf, RandAdjustContrastd, Randomizable, RandShiftIntensityd, Transform

from .contrast import RandMaskContrastd
from .isotropic_zoom import RandIsotropicZoomd

__all__ = ["AugmentSides", "OneSided"]


class OneSided(OneOf):
    """Change one side of an episode and leave the other, by which a network learns to see through the change.

    The few-shot papers transform either the support or the query (Ouyang et al., ECCV 2020: the query of a superpixel;
    Hansen et al. 2022: one of the two slices of a supervoxel). Which it is is drawn anew for each episode, as by
    MONAI's ``OneOf`` of the transform and of its copy for the keys ``support_...``: with the same random state both
    draw the same.

    Args:
        transform: random, of a dictionary; it names the keys of the query, such as ``image`` and ``label``.
        weights: odds of query and support. Default (1, 1); (1, 0): always the query.
        prefix: of the support's keys. Default "support_".

    Raises:
        ValueError: when made: there are not two weights, one is negative, or both are 0.

    Example:
        >>> OneSided(RandAdjustContrastd("image", prob=1, gamma=(0.5, 1.5)))  # changes image, or support_image
    """

    def __init__(
        self,
        transform: Callable[[Any], Any],
        weights: Sequence[float] = (1.0, 1.0),
        prefix: str = "support_",
    ) -> None:
        super().__init__([transform, _OnSupport(copy.deepcopy(transform), prefix)], list(weights))


class _OnSupport(Randomizable, Transform):
    """A transform of ``image``, ... that is given ``support_image``, ... under these names."""

    def __init__(self, transform: Callable[[Any], Any], prefix: str) -> None:
        self.transform = transform
        self.prefix = prefix

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> _OnSupport:
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        whole = dict(data)
        keys = [key for key in whole if isinstance(key, str) and key.startswith(self.prefix)]
        side = self.transform({key.removeprefix(self.prefix): whole[key] for key in keys})
        return {**whole, **{f"{self.prefix}{key}": value for key, value in side.items()}}


class AugmentSides(Compose):
    """Set the two sides of an episode apart, so that a network does not learn what they share by chance.

    One after the other, each on a side of its own: the pseudo-organ alone becomes brighter or darker
    (:class:`monai_fss.transforms.RandMaskContrastd`, not in the papers); the image gets another gamma (Ouyang et al.,
    ECCV 2020, and Hansen et al. 2022: 0.5 to 1.5); the side is warped. Then the position in the body is shifted, of
    both sides, as two patients agree in it about so far.

    Args:
        warp: random transform of the query's ``image``, ``position`` and ``label``, such as MONAI's ``Rand2DElasticd``.
            Default None: a side comes warped, see :class:`monai_fss.transforms.SampleVolumeEpisode`.
        weights: odds of query and support, see :class:`OneSided`. Default (1, 1).
        contrast_prob, contrast_factor, contrast_sigma: of the pseudo-organ's brightness. Defaults 0.5, 3 and 1 pixel.
        gamma: range of the gamma. Default (0.5, 1.5).
        position_jitter: largest shift of the position, each axis by itself, where 2 is the body's width. Default None:
            there is no position.
        bounded: whether images are in 0..1 and stay so; not where a z-score has been taken of them. Default: they are.
        zoom: (least, most) of one factor by which all that the side shows becomes larger, before ``warp``, see
            :class:`monai_fss.transforms.RandIsotropicZoomd`. Default None: none.
    """

    def __init__(
        self,
        warp: Callable[[Any], Any] | None = None,
        weights: Sequence[float] = (1.0, 1.0),
        contrast_prob: float = 0.5,
        contrast_factor: float = 3.0,
        contrast_sigma: float | Sequence[float] = 1.0,
        gamma: tuple[float, float] = (0.5, 1.5),
        position_jitter: float | None = None,
        bounded: bool = True,
        zoom: Sequence[float] | None = None,
    ) -> None:
        contrast = RandMaskContrastd("image", "label", contrast_factor, contrast_sigma, contrast_prob, bounded=bounded)
        bent = RandAdjustContrastd("image", prob=1, gamma=(gamma[0], gamma[1]))
        changes: list[Callable[[Any], Any]] = [contrast, bent, *([] if warp is None else [warp])]
        if zoom is not None:  # of the side that is warped
            keys, modes = ["image", "position", "label"], ["bilinear", "bilinear", "nearest"]
            larger = RandIsotropicZoomd(keys, zoom, modes, ["zeros", "border", "zeros"])
            changes[2:] = [Compose([larger, *changes[2:]])]
        moved = [] if position_jitter is None else ["position", "support_position"]
        jitter = position_jitter or 0.0
        super().__init__(
            [
                *(OneSided(transform, weights) for transform in changes),
                *(RandShiftIntensityd(key, jitter, prob=1, channel_wise=True) for key in moved),
            ]
        )
