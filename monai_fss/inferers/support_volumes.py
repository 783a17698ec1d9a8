# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Support sets of whole volumes, for networks that segment volumes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from monai_fss.networks.nets import FewShotNet

from .support import SupportSet, _plain, present_values, select_slices

__all__ = ["support_of", "volume_support"]


def volume_support(
    volumes: Sequence[Mapping[str, torch.Tensor]],
    values: Sequence[int] | None = None,
    slices: int | str = "middle",
    without: Collection[int] | None = None,
) -> SupportSet:
    """Labelled scans as shots of a 3-D network: each scan whole, some or all of its slices labelled.

    ADNet's paper (section 5.4) labels the middle slice of a class (k = one) or all of them and makes one prototype of
    the volume. How much of a scan the network encodes at once is its own affair, see ``support_window`` of
    :class:`monai_fss.networks.nets.ADNet`.

    Args:
        volumes: preprocessed items with ``image`` (C, H, W, D) and ``label`` (1, H, W, D).
        values: label values wanted. Default: all that occur.
        slices: the labelled ones of each scan and class, see :func:`select_slices`: "middle" is the paper's k = one.
        without: label values that are not wanted where ``values`` is not given.

    Returns:
        ``image`` (W, S, C, H, W, D) and ``label`` (W, S, 1, H, W, D), a shot being a scan. Scans of different size are
        filled up at the far end to the largest, the image with nan, which a 3-D network cuts off. The ways share the
        memory of the image.

    Raises:
        ValueError: a value occurs in none of the scans, or nothing is labelled at all.
    """
    images, labels = [_plain(v["image"]).float() for v in volumes], [_plain(v["label"]) for v in volumes]
    wanted = tuple(present_values(labels, values, without))
    size = [len(images), *(max(image.shape[axis] for image in images) for axis in (1, 2, 3))]
    image = _stacked(images, size, torch.nan)
    ways = [_stacked([_labelled(label == value, slices) for label in labels], size, 0.0) for value in wanted]
    return SupportSet(image[None].expand(len(wanted), *image.shape), torch.stack(ways), wanted)


def support_of(
    network: FewShotNet,
    volumes: Sequence[Mapping[str, torch.Tensor]],
    values: Sequence[int] | None = None,
    slices: int | str = "middle",
    without: Collection[int] | None = None,
) -> SupportSet:
    """The support set that a network takes: slices for one that segments slices, else volumes."""
    if getattr(network, "spatial_dims", 2) == 3:
        return volume_support(volumes, values, slices, without)
    return SupportSet.from_volumes(volumes, values, slices, without)


def _labelled(mask: torch.Tensor, slices: int | str) -> torch.Tensor:
    """(1, H, W, D), float, of which the chosen slices alone are kept."""
    kept = torch.zeros(mask.shape)
    chosen = select_slices(mask[0].numpy(), slices)
    kept[..., chosen] = mask[..., chosen].float()
    return kept


def _stacked(shots: Sequence[torch.Tensor], size: Sequence[int], fill: float) -> torch.Tensor:
    """(C, h, w, d) each -> (S, C, H, W, D) of ``size`` (S, H, W, D), filled up at the far end of every axis."""
    result = torch.full((size[0], shots[0].shape[0], *size[1:]), fill)
    for place, shot in zip(result, shots, strict=True):
        place[:, : shot.shape[1], : shot.shape[2], : shot.shape[3]] = shot
    return result
