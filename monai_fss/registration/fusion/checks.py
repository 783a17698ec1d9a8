# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What every label fusion accepts, and labels as class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np

__all__ = ["check_images", "check_labels", "check_odd", "check_positive", "to_classes"]


def check_labels(labels: np.ndarray, values: Sequence[int]) -> None:
    """Refuse labels that are no whole numbers (N, H, W, D) from -1, and values that name no class."""
    if labels.ndim != 4:
        raise ValueError(f"labels: {labels.ndim} axes, shape {labels.shape}. Pass (N, H, W, D), one volume per atlas.")
    if 0 in labels.shape:
        what = "no atlas" if not len(labels) else "no voxel"
        raise ValueError(f"labels: {what}, shape {labels.shape}. Pass at least one atlas of at least one voxel.")
    if not (np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool):
        raise TypeError(f"labels: voxels of type {labels.dtype}. Pass whole numbers; round interpolated labels before.")
    if labels.min() < -1:
        raise ValueError(f"labels: the value {labels.min()}. Pass 0 and above, and -1 outside an atlas' field of view.")
    if not len(values):
        raise ValueError("values: empty. Pass the label values of the classes to fuse, such as [1, 2].")
    if len(set(values)) < len(values) or any(not isinstance(v, Integral) or v < 0 for v in values):
        raise ValueError(f"values: {list(values)}. Pass each label value once, as a whole number from 0.")


def check_images(image: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
    """Refuse images whose shapes do not fit the labels, or that are not real and finite."""
    if image.shape != labels.shape[1:]:
        raise ValueError(
            f"image: shape {image.shape}, but the labels are on a grid of {labels.shape[1:]}. "
            "Warp the atlases onto the query's grid before."
        )
    if images.shape != labels.shape:
        raise ValueError(
            f"images: shape {images.shape}, but the labels have {labels.shape}. Pass one warped image for each atlas."
        )
    for name, array in (("image", image), ("images", images)):
        if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
            raise TypeError(f"{name}: voxels of type {array.dtype}. Pass real numbers.")
        bad = 0 if np.issubdtype(array.dtype, np.integer) else array.size - np.count_nonzero(np.isfinite(array))
        if bad:
            raise ValueError(f"{name}: {bad} of {array.size} voxels are NaN or infinite. Replace them before.")


def check_odd(name: str, sizes: Sequence[int]) -> None:
    """Refuse window sizes that are not three odd whole numbers from 1."""
    if len(sizes) != 3 or any(not isinstance(s, Integral) or s < 1 or s % 2 == 0 for s in sizes):
        raise ValueError(f"{name}: {tuple(sizes)} voxels. Pass three odd whole numbers, so that there is a centre.")


def check_positive(name: str, value: float) -> None:
    """Refuse what is no positive finite number."""
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name}: {value} is not a positive number. Pass one above 0.")


def to_classes(labels: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Labels (N, H, W, D) as class numbers: w + 1 for ``values[w]``, 0 for any other value, -1 for no vote; int16."""
    classes = np.zeros(labels.shape, np.int16)
    for atlas, out in zip(labels, classes, strict=True):
        for number, value in enumerate(values, start=1):
            out[atlas == value] = number
        out[atlas < 0] = -1
    return classes
