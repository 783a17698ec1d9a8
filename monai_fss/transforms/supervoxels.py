# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Supervoxels and superpixels as pseudo-labels for self-supervised few-shot training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.data.utils import affine_to_spacing
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_numpy, convert_to_tensor, ensure_tuple

from .felzenszwalb import felzenszwalb
from .foreground import foreground_mask

__all__ = ["SELF_SUPERVISIONS", "Supervoxels", "Supervoxelsd", "by_superpixels"]

SELF_SUPERVISIONS = ("supervoxels", "superpixels")
"""What a training configuration may ask for, see :func:`by_superpixels`."""

Unit = Literal["voxels", "ml", "mm2"]


class Supervoxels(Transform):
    """Split a scan into supervoxels, the pseudo-labels that ADNet and its kin train on without any manual label.

    The voxel spacing is that of the image's affine (1 on every axis for an array without one). The whole image is split
    by :func:`monai_fss.transforms.felzenszwalb`, then everything outside the body
    (:func:`monai_fss.transforms.foreground_mask`) is set to 0. As in the published code, what is left of a supervoxel
    at the border of the body is kept, even where it is smaller than ``min_size`` or falls apart.

    Args:
        min_size: the smallest supervoxel allowed, in ``unit``; the one parameter that matters. It sets the scale of
            the pseudo-organs, so it has no default. The papers' 5000 voxels (abdominal MR of 1.25 x 1.25 x 7.7 mm) are
            60 ml, their 1000 voxels (cardiac MR, 1.25 x 1.25 x 8 mm) 12.5 ml.
        unit: ``"ml"``, the default, gives the same supervoxels at every resolution, ``"mm2"`` the same superpixels;
            both need an affine. ``"voxels"`` is what the papers' code counts (pixels if ``dims`` is 2).
        scale: preference for larger segments, see :func:`~monai_fss.transforms.felzenszwalb`.
        sigma: smoothing, in voxels. 0 as for ADNet's supervoxels; take 1 for ALPNet's superpixels.
        dims: 3 for supervoxels, 2 for superpixels: each slice along the last axis by itself, over its own intensity
            range, with ids that are unique in the volume. ALPNet: ``min_size=400, unit="voxels", sigma=1, dims=2`` of
            pixels of 1.25 mm, that is ``min_size=625, unit="mm2", sigma=1.25 / pixel size, dims=2``.
        foreground: whether to remove what lies outside the body. The papers' codes do.

    Raises:
        TypeError: if the voxels are not real numbers.
        ValueError: if a parameter is out of range or unknown; for ``unit="ml"`` with ``dims=2`` (a slice has no
            volume), ``"mm2"`` with ``dims=3``, or either with an image that has no affine; if ``min_size`` is less than
            one voxel or more than the image; if the image has more than one channel or NaN or infinite voxels.

    Source: S. Hansen et al., Anomaly detection-inspired few-shot medical image segmentation through self-supervision
    with supervoxels, Medical Image Analysis 78, 2022, section 3 (rho is ``min_size``); C. Ouyang et al.,
    Self-supervision with superpixels: training few-shot medical image segmentation without annotation, ECCV 2020.

    Example:
        >>> from monai.transforms import Compose, LoadImage
        >>> supervoxels = Compose([LoadImage(ensure_channel_first=True), Supervoxels(min_size=60)])("case_01.nii.gz")
    """

    backend = [TransformBackends.NUMPY]

    def __init__(
        self,
        min_size: float,
        unit: Unit = "ml",
        scale: float = 1.0,
        sigma: float = 0.0,
        dims: Literal[2, 3] = 3,
        foreground: bool = True,
    ) -> None:
        if not (np.isfinite(min_size) and min_size > 0):
            raise ValueError(f"min_size: {min_size} is not a positive number. Pass the smallest size in {unit}.")
        if unit not in ("voxels", "ml", "mm2"):
            raise ValueError(f"unit: {unit!r} is unknown. Pass 'voxels', 'ml' or, for superpixels, 'mm2'.")
        if dims not in (2, 3):
            raise ValueError(f"dims: {dims!r}. Pass 3 for supervoxels or 2 for superpixels on each slice.")
        if dims == 2 and unit == "ml":
            raise ValueError(
                "unit: 'ml' with dims=2, but a slice has no volume. Pass unit='mm2', unit='voxels' (pixels) or dims=3."
            )
        if dims == 3 and unit == "mm2":
            raise ValueError("unit: 'mm2' with dims=3, but a supervoxel has no area. Pass unit='ml' or dims=2.")
        if unit == "voxels" and min_size != int(min_size):
            raise ValueError(f"min_size: {min_size} is no whole number of voxels. Round it or pass a physical unit.")
        self.min_size = min_size
        self.unit = unit
        self.scale = scale
        self.sigma = sigma
        self.dims = dims
        self.foreground = foreground

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Split one image.

        Args:
            img: (1, H, W, D), or (1, H, W) if ``dims`` is 2; channel first, the slice axis last.

        Returns:
            int32 MetaTensor of the same shape, affine and metadata: 0 outside the body, supervoxels 1..n inside. (A
            plain tensor for a plain tensor, and wherever MONAI's ``set_track_meta(False)`` holds.)
        """
        name = _name(img)
        if img.ndim not in (3, 4) or img.shape[0] != 1 or img.ndim - 1 < self.dims:
            wanted = "(1, H, W, D)" if self.dims == 3 else "(1, H, W) or (1, H, W, D)"
            raise ValueError(
                f"{name}: shape {tuple(img.shape)}. Pass {wanted} for dims={self.dims}: one channel, channel first."
            )
        volume = convert_to_numpy(img)[0]
        spacing = _spacing(img)
        if self.unit != "voxels" and not isinstance(img, MetaTensor):
            raise ValueError(
                f"{name}: no affine, so unit {self.unit!r} has no meaning. Pass a MetaTensor or unit='voxels'."
            )
        try:
            labels = self._split(volume, spacing, self._voxels(spacing))
        except (TypeError, ValueError) as error:
            message = str(error).removeprefix("image: ")
            raise type(error)(f"{name}: {message}") from error
        if isinstance(img, torch.Tensor):
            return convert_to_dst_type(labels[None], img, dtype=torch.int32)[0]
        return convert_to_tensor(labels[None], track_meta=get_track_meta())

    def _voxels(self, spacing: Sequence[float]) -> int:
        """The smallest size in voxels."""
        if self.unit == "voxels":
            return int(self.min_size)
        voxel = float(np.prod(spacing)) / 1000 if self.unit == "ml" else float(np.prod(spacing[:2]))
        voxels = round(self.min_size / voxel) if voxel > 0 else 0
        if voxels < 1:
            raise ValueError(
                f"min_size: {self.min_size} {self.unit}, less than one voxel of {voxel:.3g} {self.unit} "
                f"(spacing {tuple(spacing)} mm). Pass a larger one."
            )
        return voxels

    def _split(self, volume: np.ndarray, spacing: Sequence[float], min_size: int) -> np.ndarray:
        """Labels 1..n inside the body, 0 outside."""
        if self.dims == 3:
            labels = felzenszwalb(volume, scale=self.scale, sigma=self.sigma, min_size=min_size, spacing=spacing)
        else:
            labels = self._split_slices(volume, spacing, min_size)
        if not self.foreground:
            return labels + 1
        inside = foreground_mask(volume)
        result = np.zeros(volume.shape, np.int32)
        result[inside] = 1 + np.unique(labels[inside], return_inverse=True)[1]
        return result

    def _split_slices(self, volume: np.ndarray, spacing: Sequence[float], min_size: int) -> np.ndarray:
        """Labels 0..n-1 of superpixels that no two slices share."""
        slices = volume[..., None] if volume.ndim == 2 else volume
        labels = np.empty(slices.shape, np.int32)
        count = 0
        for z in range(slices.shape[-1]):
            found = felzenszwalb(
                slices[..., z], scale=self.scale, sigma=self.sigma, min_size=min_size, spacing=spacing[:2]
            )
            labels[..., z] = found + count
            count += int(found.max()) + 1
        return labels.reshape(volume.shape)


class Supervoxelsd(MapTransform):
    """Dictionary version of :class:`Supervoxels`: adds the supervoxels of an image to the item.

    Args:
        keys: the image or images to split.
        min_size: the smallest supervoxel allowed, in ``unit``.
        unit: ``"ml"``, ``"mm2"`` or ``"voxels"``.
        scale: preference for larger segments.
        sigma: smoothing, in voxels.
        dims: 3 for supervoxels, 2 for superpixels.
        foreground: whether to remove what lies outside the body.
        new_key: where the supervoxels go: one name for each of ``keys``. Names that begin with ``image_``, ``label_``
            or ``<key>_`` are refused, because MONAI's ``Spacingd`` takes them for metadata of that key.
        allow_missing_keys: whether to pass items without the image on as they are.

    Raises:
        ValueError: if the new keys are not one for each key, all different; if one of them has such a name; and as
            :class:`Supervoxels` does.

    Example:
        >>> item = Supervoxelsd("image", min_size=60)({"image": image})
        >>> item["supervoxels"].max()  # how many there are
    """

    backend = Supervoxels.backend

    def __init__(
        self,
        keys: KeysCollection,
        min_size: float,
        unit: Unit = "ml",
        scale: float = 1.0,
        sigma: float = 0.0,
        dims: Literal[2, 3] = 3,
        foreground: bool = True,
        new_key: KeysCollection = "supervoxels",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.new_keys = ensure_tuple(new_key)
        if len(self.new_keys) != len(self.keys) or len(set(self.new_keys)) != len(self.new_keys):
            raise ValueError(f"new_key: {self.new_keys} for keys {self.keys}. Pass one name for each, all different.")
        for new in self.new_keys:
            if str(new).startswith(tuple(f"{key}_" for key in (*self.keys, "image", "label"))):
                raise ValueError(f"new_key: {new!r} looks like metadata of another key to MONAI. Pass another name.")
        self.supervoxels = Supervoxels(min_size, unit, scale, sigma, dims, foreground)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Add the supervoxels, (1, H, W[, D]) int32, of every key to a copy of the item."""
        item = dict(data)
        for key, new in self.key_iterator(item, self.new_keys):
            item[new] = self.supervoxels(item[key])
        return item


def by_superpixels(self_supervision: str) -> bool:
    """Whether a training configuration asks for superpixels.

    Args:
        self_supervision: "supervoxels" (vSSL: support and query are two slices of one) or "superpixels" (pSSL: they are
            the same slice, altered). Hansen et al. 2022 compare them, section 5.3.5.

    Raises:
        ValueError: it is another word.
    """
    if self_supervision not in SELF_SUPERVISIONS:
        raise ValueError(f"self_supervision: {self_supervision!r} is unknown. Set supervoxels or superpixels.")
    return self_supervision == "superpixels"


def _name(img: NdarrayOrTensor) -> str:
    """The file that an image was read from, for messages."""
    return str(img.meta.get("filename_or_obj", "image")) if isinstance(img, MetaTensor) else "image"


def _spacing(img: NdarrayOrTensor) -> tuple[float, ...]:
    """Voxel size in mm along the spatial axes; 1 for an array without an affine."""
    rank = img.ndim - 1
    if not isinstance(img, MetaTensor):
        return (1.0,) * rank
    # A slice can lie obliquely in space: all rows of the affine count, and the columns of the image's own axes.
    spacing = affine_to_spacing(img.affine, r=len(img.affine) - 1, suppress_zeros=False)
    return tuple(float(s) for s in spacing[:rank])
