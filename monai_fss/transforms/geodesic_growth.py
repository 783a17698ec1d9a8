# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Grow scribbles to masks: a voxel belongs to the class whose scribble is geodesically nearest."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from .geodesic import geodesic_distance

__all__ = ["GeodesicGrowthd", "grow_scribbles"]


def grow_scribbles(
    image: np.ndarray,
    scribbles: np.ndarray,
    spacing: Sequence[float] | None = None,
    background: int | None = None,
    limit: float = 1.0,
    intensity_weight: float = 1.0,
    iterations: int | None = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Pseudo-masks of several classes from scribbles (GeoS; Criminisi et al., ECCV 2008; PRNet, section 3.4).

    A class's score at a voxel is 1 - min(d, limit) / limit, d its geodesic distance to the class's scribble. The class
    of the highest score wins, the background where it is equal, as where no scribble is near.

    Args:
        image: (H, W, D) or (H, W), finite; of PRNet 0..1.
        scribbles: whole numbers of the same shape, 0 where nothing is marked.
        spacing: see :func:`geodesic_distance`.
        background: the value that marks the background. Default: it is not marked, and scores 0 everywhere.
        limit: distance beyond which a scribble says nothing, in mm times intensity. Default 1, the published code's.
        intensity_weight, iterations: see :func:`geodesic_distance`.

    Returns:
        the mask, of the scribbles' type, 0 for the background; and the confidence, float32 0..1: how far the winner's
        score is above the next one's, of the background's too.

    Raises:
        ValueError: nothing but background is marked; a limit that is not positive; those of
            :func:`geodesic_distance`.
    """
    scribbles = np.asarray(scribbles)
    classes = [int(value) for value in np.unique(scribbles) if value not in (0, background)]
    if not classes or limit <= 0:
        raise ValueError(
            f"scribbles: mark {classes or 'no class'}, limit {limit}. Mark at least one class, and "
            "give a positive limit."
        )
    winner = np.zeros(scribbles.shape, scribbles.dtype)
    best = _score(image, scribbles, background, spacing, limit, intensity_weight, iterations)
    second = np.zeros_like(best)
    for value in classes:
        score = _score(image, scribbles, value, spacing, limit, intensity_weight, iterations)
        second = np.maximum(second, np.minimum(score, best))
        winner = np.where(score > best, np.asarray(value, winner.dtype), winner)
        best = np.maximum(best, score)
    return winner, best - second


def _score(
    image: np.ndarray,
    scribbles: np.ndarray,
    value: int | None,
    spacing: Sequence[float] | None,
    limit: float,
    intensity_weight: float,
    iterations: int | None,
) -> np.ndarray:
    if value is None:
        return np.zeros(scribbles.shape, np.float32)
    distance = geodesic_distance(image, scribbles == value, spacing, intensity_weight, iterations)
    return (1 - np.minimum(distance, limit) / limit).astype(np.float32)


class GeodesicGrowthd(MapTransform):
    """:func:`grow_scribbles` in a chain of MONAI: scribbles become a pseudo-mask.

    Args:
        keys: scribbles (1, H, W, D), replaced by the mask.
        image_key: the image (1, H, W, D), whose affine says how large a voxel is.
        confidence_key: where the confidence (1, H, W, D) goes. Default: "confidence".
        background, limit, intensity_weight, iterations: see :func:`grow_scribbles`.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_key: str = "image",
        confidence_key: str = "confidence",
        background: int | None = None,
        limit: float = 1.0,
        intensity_weight: float = 1.0,
        iterations: int | None = 2,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.confidence_key = confidence_key
        self.settings: dict[str, Any] = {
            "background": background,
            "limit": limit,
            "intensity_weight": intensity_weight,
            "iterations": iterations,
        }

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict:
        """Grow."""
        result = dict(data)
        image = result[self.image_key]
        if not isinstance(image, MetaTensor):
            raise ValueError(f"{self.image_key}: must be a MetaTensor, whose affine says how large a voxel is.")
        sizes = image.pixdim.numpy()
        for key in self.key_iterator(result):
            scribbles = result[key]
            mask, confidence = grow_scribbles(
                np.asarray(image[0]), np.asarray(scribbles[0]), sizes[: scribbles.ndim - 1], **self.settings
            )
            result[key] = MetaTensor(torch.as_tensor(mask)[None], affine=image.affine)
            result[self.confidence_key] = MetaTensor(torch.as_tensor(confidence)[None], affine=image.affine)
        return result
