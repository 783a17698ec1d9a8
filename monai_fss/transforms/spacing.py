# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Bring scans to another grid: a scan to a coarser one without aliasing, labels of any value."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Spacing, Spacingd
from scipy.ndimage import gaussian_filter

__all__ = ["LabelSpacingd", "SmoothSpacingd", "smooth_spacing"]

WHOLE = 1 << 24  # float32 has every whole number up to it
SIGMA = 0.4  # in voxels of the image, for each that the new one is larger by: half of the new voxel at a large ratio


def smooth_spacing(image: torch.Tensor, spacing: Sequence[float]) -> MetaTensor:
    """MONAI's ``Spacing`` (trilinear) after a Gaussian filter, along the axes that become coarser.

    ``Spacing`` alone picks single points: from 1 to 8 mm seven in eight voxels along an axis would count for nothing.

    Args:
        image: (C, H, W, D), a MetaTensor, whose affine says how large a voxel is.
        spacing: voxel size (H, W, D) wanted, in mm.

    Raises:
        ValueError: it is no MetaTensor.
    """
    if not isinstance(image, MetaTensor):
        raise ValueError("image: must be a MetaTensor, whose affine says how large a voxel is.")
    sizes = image.pixdim.numpy()
    sigma = SIGMA * np.maximum(np.asarray(spacing, dtype=float) / sizes - 1, 0)
    values = image.as_tensor().float()
    if sigma.any():  # beyond the border the image goes on as it ends (MONAI's filter has 0 there)
        blurred = gaussian_filter(values.cpu().numpy(), (0, *sigma), mode="nearest")
        values = torch.from_numpy(blurred).to(values.device)
    resample = Spacing(pixdim=list(spacing), mode="bilinear", padding_mode="border")
    return cast(MetaTensor, resample(MetaTensor(values, affine=image.affine)))


class SmoothSpacingd(MapTransform):
    """:func:`smooth_spacing` in a chain of MONAI. It cannot be inverted: for images that only a network sees.

    Args:
        keys: images (C, H, W, D).
        spacing: voxel size wanted, in mm.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(self, keys: KeysCollection, spacing: Sequence[float], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spacing = tuple(float(s) for s in spacing)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict:
        """Resample."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = smooth_spacing(result[key], self.spacing)
        return result


class LabelSpacingd(Spacingd):
    """MONAI's ``Spacingd``, which gives float32, for labels of any value.

    Labels of integers above 2^24, of which float32 would merge neighbours, are resampled as numbers 0, 1, 2, ... and
    have their own values afterwards, as int64; all else is as MONAI makes it. Such labels are to be resampled to the
    nearest voxel.

    What others have put into an item under a name that begins with one of ``keys`` and ``_``, such as MONAI Label's
    ``image_path``, stays as it is: MONAI takes it for meta data, and fails where it is a text.

    Args:
        as of ``monai.transforms.Spacingd``.
    """

    def __call__(self, data: Mapping[Hashable, torch.Tensor], lazy: bool | None = None) -> dict:
        """Resample."""
        numbered, values = dict(data), {}
        for key in self.key_iterator(numbered):
            label = numbered[key]
            if not torch.is_floating_point(label) and label.numel() and int(label.max()) > WHOLE:
                own, numbers = torch.unique(torch.as_tensor(label).as_subclass(torch.Tensor), return_inverse=True)
                values[key] = own.long()
                numbered[key] = MetaTensor(numbers, meta=label.meta) if isinstance(label, MetaTensor) else numbers
        foreign = {key: numbered.pop(key) for key in list(numbered) if self._foreign(key, numbered)}
        result = {**super().__call__(numbered, lazy=lazy), **foreign}
        for key, own in values.items():
            label = result[key]
            restored = own[label.as_tensor().round().long() if isinstance(label, MetaTensor) else label.long()]
            result[key] = MetaTensor(restored, meta=label.meta) if isinstance(label, MetaTensor) else restored
        return result

    def _foreign(self, key: Hashable, data: Mapping[Hashable, Any]) -> bool:
        owners = [own for own in self.keys if str(key).startswith(f"{own}_")]
        return any(isinstance(data.get(own), MetaTensor) for own in owners) and not hasattr(data[key], "update")
