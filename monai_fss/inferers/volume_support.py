# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Support sets of whole volumes, for networks that segment volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from monai_fss.networks.nets import FewShotNet

from .support import SupportSet, _plain, present_values, select_slices

__all__ = ["support_of", "volume_support"]


def volume_support(
    volumes: Sequence[Mapping[str, torch.Tensor]],
    values: Sequence[int] | None = None,
    slices: int | str = "middle",
    single_slices: bool = False,
) -> SupportSet:
    """Labelled scans as shots of a 3-D network: each scan whole, some or all of its slices labelled.

    ADNet's paper (section 5.4) labels the middle slice of a class (k = one) or all of them and makes one prototype of
    the volume. Here the whole scan is encoded for both, so that a slice has its neighbours; the published code feeds a
    single labelled slice alone to the 3-D network (``single_slices``).

    Args:
        volumes: preprocessed items with ``image`` (C, H, W, D) and ``label`` (1, H, W, D). Scans of different size are
            padded at the far end to the largest.
        values: label values wanted. Default: all that occur.
        slices: the labelled ones of each scan and class, see :func:`select_slices`: "middle" is the paper's k = one.
        single_slices: make each labelled slice a shot of its own, without its neighbours, as the published code does.

    Returns:
        ``image`` (W, S, C, H, W, D) and ``label`` (W, S, 1, H, W, D), a shot being a scan (or, with ``single_slices``,
        a slice, D = 1). The ways share the memory of the image.

    Raises:
        ValueError: a value occurs in none of the scans, or nothing is labelled at all.
    """
    if single_slices:
        flat = SupportSet.from_volumes(volumes, values, slices)
        return SupportSet(flat.image[..., None], flat.label[..., None], flat.values)
    images, labels = [_plain(v["image"]) for v in volumes], [_plain(v["label"]) for v in volumes]
    wanted = present_values(labels, values)
    size = [max(image.shape[axis] for image in images) for axis in (1, 2, 3)]
    image = torch.stack([_fit(one, size) for one in images])
    label = torch.stack([torch.stack([_fit(_labelled(one == v, slices), size) for one in labels]) for v in wanted])
    return SupportSet(image[None].expand(len(wanted), *image.shape), label, tuple(wanted))


def support_of(
    network: FewShotNet,
    volumes: Sequence[Mapping[str, torch.Tensor]],
    values: Sequence[int] | None = None,
    slices: int | str = "middle",
) -> SupportSet:
    """The support set that a network takes: slices for one that segments slices, else volumes."""
    if getattr(network, "spatial_dims", 2) == 3:
        return volume_support(volumes, values, slices)
    return SupportSet.from_volumes(volumes, values, slices)


def _labelled(mask: torch.Tensor, slices: int | str) -> torch.Tensor:
    """(1, H, W, D), float, of which the chosen slices alone are kept."""
    kept = torch.zeros(mask.shape)
    chosen = select_slices(mask[0].numpy(), slices)
    kept[..., chosen] = mask[..., chosen].float()
    return kept


def _fit(array: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    missing = [n - have for n, have in zip(size, array.shape[1:], strict=True)]
    return F.pad(array, (0, missing[2], 0, missing[1], 0, missing[0]))
