# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where in the body a voxel lies: coordinates relative to the body's bounding box."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from scipy.ndimage import find_objects

from .foreground import foreground_mask

__all__ = ["BodyPosition", "BodyPositiond"]


class BodyPosition(Transform):
    """Coordinates in the box of the body: -1 and 1 at its faces, one channel for each axis, linear beyond.

    Texture alone cannot tell the left kidney from the right one; two scans of the same region agree on where in the
    body they lie. Relative to the body rather than to the field of view, so that table position and padding do not
    matter.

    Args:
        axes: spatial axes that get a channel. Default (0, 1), in plane: scans often differ in how far they reach
            along the body.
    """

    def __init__(self, axes: Sequence[int] = (0, 1)) -> None:
        self.axes = tuple(axes)

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(1, *spatial) -> (len(axes), *spatial), float32; a MetaTensor with the image's meta data if it is one."""
        mask = foreground_mask(np.asarray(image[0], dtype=np.float32))
        box = find_objects(mask.astype(np.uint8), max_label=1)[0]
        channels = [self._axis(mask.shape, axis, box[axis] if box else None) for axis in self.axes]
        position = torch.stack(channels) if channels else torch.zeros(0, *mask.shape)
        return MetaTensor(position, meta=image.meta) if isinstance(image, MetaTensor) else position

    @staticmethod
    def _axis(shape: Sequence[int], axis: int, inside: slice | None) -> torch.Tensor:
        low, high = 0, shape[axis] - 1
        if inside is not None and inside.stop - inside.start > 1:
            low, high = inside.start, inside.stop - 1
        line = torch.arange(shape[axis], dtype=torch.float32)
        line = 2 * (line - float(low)) / max(float(high - low), 1.0) - 1
        return line.reshape([-1 if a == axis else 1 for a in range(len(shape))]).expand(*shape)


class BodyPositiond(MapTransform):
    """Dictionary version of :class:`BodyPosition`.

    Args:
        keys: the image, one key.
        new_key: where the coordinates go.
        axes: as in :class:`BodyPosition`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        new_key: str = "position",
        axes: Sequence[int] = (0, 1),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.new_key = new_key
        self.position = BodyPosition(axes)

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict:
        """Add the coordinates of the image under ``new_key``."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[self.new_key] = self.position(result[key])
        return result
