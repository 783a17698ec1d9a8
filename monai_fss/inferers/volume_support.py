# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Support sets of whole volumes, for networks that segment volumes."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

import torch

from monai_fss.networks.nets import FewShotNet

from .support import SupportSet, _plain, present_values, select_slices

__all__ = ["WINDOW", "support_of", "volume_support"]

WINDOW = (256, 256, 40)
"""Largest window (H, W, slices) that a 3-D network sees at once: an abdominal scan of ADNet's paper."""


def volume_support(
    volumes: Sequence[Mapping[str, torch.Tensor]],
    values: Sequence[int] | None = None,
    slices: int | str = "middle",
    single_slices: bool = False,
    roi_size: Sequence[int] = WINDOW,
    without: Collection[int] | None = None,
) -> SupportSet:
    """Labelled scans as shots of a 3-D network: each scan whole, some or all of its slices labelled.

    ADNet's paper (section 5.4) labels the middle slice of a class (k = one) or all of them and makes one prototype of
    the volume. Here the whole scan is encoded for both, so that a slice has its neighbours; the published code feeds a
    single labelled slice alone to the 3-D network (``single_slices``).

    Args:
        volumes: preprocessed items with ``image`` (C, H, W, D) and ``label`` (1, H, W, D).
        values: label values wanted. Default: all that occur.
        slices: the labelled ones of each scan and class, see :func:`select_slices`: "middle" is the paper's k = one.
        single_slices: make each labelled slice a shot of its own, without its neighbours, as the published code does.
        roi_size: largest window (H, W, slices), as of :class:`FewShotVolumeInferer`, so that a network with instance
            norm sees support and query alike. Of a larger scan each class has windows of this size as shots, as few as
            hold its labelled voxels, evenly spaced around them.
        without: label values that are not wanted where ``values`` is not given.

    Returns:
        ``image`` (W, S, C, H, W, D) and ``label`` (W, S, 1, H, W, D), a shot being a scan, a window of one, or with
        ``single_slices`` a slice (D = 1). Scans of different size are filled up at the far end to the largest: the
        image with nan, which a 3-D network cuts off. The ways share the memory of the image where no scan is cut.

    Raises:
        ValueError: a value occurs in none of the scans, or nothing is labelled at all.
    """
    if single_slices:
        flat = SupportSet.from_volumes(volumes, values, slices, without)
        return SupportSet(flat.image[..., None], flat.label[..., None], flat.values)
    images, labels = [_plain(v["image"]) for v in volumes], [_plain(v["label"]) for v in volumes]
    wanted = tuple(present_values(labels, values, without))
    masks = [[_labelled(label == value, slices) for label in labels] for value in wanted]
    if all(n <= most for image in images for n, most in zip(image.shape[1:], roi_size, strict=True)):
        image = _stacked(images, [len(images), *_largest(images)], torch.nan)
        own = [_stacked(way, [len(images), *_largest(images)], 0.0) for way in masks]
        return SupportSet(image[None].expand(len(wanted), *image.shape), torch.stack(own), wanted)
    ways = [_windows(images, way, roi_size) for way in masks]
    size = [max(len(shots) for shots, _ in ways), *_largest([image for shots, _ in ways for image in shots])]
    image = torch.stack([_stacked(shots, size, torch.nan) for shots, _ in ways])
    return SupportSet(image, torch.stack([_stacked(parts, size, 0.0) for _, parts in ways]), wanted)


def support_of(
    network: FewShotNet,
    volumes: Sequence[Mapping[str, torch.Tensor]],
    values: Sequence[int] | None = None,
    slices: int | str = "middle",
    roi_size: Sequence[int] = WINDOW,
) -> SupportSet:
    """The support set that a network takes: slices for one that segments slices, else volumes."""
    if getattr(network, "spatial_dims", 2) == 3:
        return volume_support(volumes, values, slices, roi_size=roi_size)
    return SupportSet.from_volumes(volumes, values, slices)


def _labelled(mask: torch.Tensor, slices: int | str) -> torch.Tensor:
    """(1, H, W, D), float, of which the chosen slices alone are kept."""
    kept = torch.zeros(mask.shape)
    chosen = select_slices(mask[0].numpy(), slices)
    kept[..., chosen] = mask[..., chosen].float()
    return kept


def _windows(
    images: Sequence[torch.Tensor], masks: Sequence[torch.Tensor], roi_size: Sequence[int]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Windows of each scan that hold its labelled voxels, and their masks; those without a voxel are left out."""
    shots, parts = [], []
    for image, mask in zip(images, masks, strict=True):
        if not mask.any():
            continue
        ranges = [_ranges(mask[0], axis, most) for axis, most in enumerate(roi_size)]
        for window in itertools.product([slice(None)], *ranges):
            if mask[window].any():
                shots.append(image[window])
                parts.append(mask[window])
    return shots, parts


def _ranges(mask: torch.Tensor, axis: int, most: int) -> list[slice]:
    """Along one axis: all of it where it is not longer than ``most``, else as few ranges as cover the mask."""
    extent = mask.shape[axis]
    if extent <= most:
        return [slice(0, extent)]
    inside = mask.movedim(axis, 0).flatten(1).any(1).nonzero().flatten()
    first, length = int(inside[0]), int(inside[-1] - inside[0]) + 1
    count = -(-length // most)
    middles = [first + length * (2 * i + 1) / (2 * count) for i in range(count)]
    starts = [min(max(round(middle - most / 2), 0), extent - most) for middle in middles]
    return [slice(start, start + most) for start in starts]


def _largest(images: Sequence[torch.Tensor]) -> list[int]:
    return [max(image.shape[axis] for image in images) for axis in (1, 2, 3)]


def _stacked(shots: Sequence[torch.Tensor], size: Sequence[int], fill: float) -> torch.Tensor:
    """(C, h, w, d) each -> (S, C, H, W, D) of ``size`` (S, H, W, D), filled up at the far end of every axis."""
    result = torch.full((size[0], shots[0].shape[0], *size[1:]), fill)
    for place, shot in zip(result, shots, strict=False):
        place[:, : shot.shape[1], : shot.shape[2], : shot.shape[3]] = shot
    return result
