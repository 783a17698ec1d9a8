# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Registration as a transform of a MONAI pipeline."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from .field import DisplacementField
from .grid import Grid
from .register import register
from .resample import resample

__all__ = ["Registerd"]


class Registerd(MapTransform):
    """Register a moving image and put it, its labels and its probabilities on the fixed image's grid.

    Args:
        keys: the moving image, (1, H, W, D), scaled to 0..1; further keys are other images or probabilities (C, H, W,
            D) of the same subject, which follow the first. Interpolated linearly.
        fixed_key: the fixed image, (1, H, W, D), scaled to 0..1. Left as it is.
        label_keys: labels of the moving image, (C, H, W, D). Interpolated by the nearest voxel.
        method, preset, spacing, starts, intensity_weight: as in :func:`monai_fss.registration.register`.
        field_key: where to put the :class:`DisplacementField`. Default: nowhere.
        allow_missing_keys: whether all keys but the first may be missing.

    Raises:
        RegistrationError: if the two images cannot be registered.
    """

    def __init__(
        self,
        keys: KeysCollection,
        fixed_key: str,
        label_keys: KeysCollection | None = None,
        *,
        method: str = "deformable",
        preset: str = "accurate",
        spacing: Sequence[float] | None = None,
        starts: int | None = None,
        intensity_weight: float = 0.0,
        field_key: str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.fixed_key = fixed_key
        self.label_keys: tuple[Hashable, ...] = ensure_tuple(label_keys) if label_keys is not None else ()
        self.method = method
        self.preset = preset
        self.spacing = spacing
        self.starts = starts
        self.intensity_weight = intensity_weight
        self.field_key = field_key

    def __call__(self, data: Mapping[Hashable, MetaTensor]) -> dict:
        """Register and resample."""
        result: dict[Hashable, MetaTensor | DisplacementField] = dict(data)
        for key in (self.fixed_key, self.keys[0]):
            if key not in data:
                raise KeyError(f"{key!r}: is not in the data, which has {sorted(map(str, data))}. Load it first.")
        fixed, moving = data[self.fixed_key], data[self.keys[0]]
        field = register(
            fixed,
            moving,
            self.method,
            preset=self.preset,
            spacing=self.spacing,
            starts=self.starts,
            intensity_weight=self.intensity_weight,
        )
        for keys, mode in ((self.keys, "bilinear"), (self.label_keys, "nearest")):
            for key in keys:
                if key in data or not self.allow_missing_keys:
                    result[key] = resample(data[key], Grid.of(fixed), field, mode=mode)
        if self.field_key is not None:
            result[self.field_key] = field
        return result
