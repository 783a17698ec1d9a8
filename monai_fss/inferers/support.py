# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Support sets: which labelled slices or volumes stand for each class."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from monai_fss.networks.nets import FewShotNet

__all__ = ["SupportSet", "select_slices", "support_of", "volume_support"]


def select_slices(label: np.ndarray, slices: int | str = "middle") -> list[int]:
    """Slices (last axis) that are used as labelled examples of a binary mask.

    Args:
        label: (H, W, D), non-zero where the class is.
        slices: "middle" (EP2: the middle one of those that show the class), k (the middles of k equal parts of them,
            ADNet's rule: index floor((2 i + 1) / (2 k) * n), fewer where the class has fewer slices), or "all".

    Returns:
        indices in rising order; empty where the class is absent.
    """
    inside = np.flatnonzero(np.any(label, axis=(0, 1)))
    if slices == "all":
        return [int(i) for i in inside]
    count = 1 if slices == "middle" else slices
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"support slices must be 'middle', 'all' or a number of at least 1, got {slices!r}.")
    if inside.size == 0:
        return []
    picked = {int(inside[int((2 * i + 1) / (2 * count) * inside.size)]) for i in range(count)}
    return sorted(picked)


@dataclass(frozen=True)
class SupportSet:
    """Labelled slices (or volumes, see :func:`volume_support`) of every way, ready for ``FewShotNet.condition``.

    Attributes:
        image: (W, S, C, H, W), or (W, S, C, H, W, D).
        label: (W, S, 1, H, W), or (W, S, 1, H, W, D), binary. Ways with fewer shots than S are filled up with shots
            of an empty mask.
        values: the label value of each way.
    """

    image: torch.Tensor
    label: torch.Tensor
    values: tuple[int, ...]

    @property
    def shots(self) -> list[int]:
        """Number of labelled slices (or volumes) of each way."""
        return [int(n) for n in (self.label.flatten(2).sum(2) > 0).sum(1)]

    @classmethod
    def from_volumes(
        cls,
        volumes: Sequence[Mapping[str, torch.Tensor]],
        values: Sequence[int] | None = None,
        slices: int | str = "middle",
        without: Collection[int] | None = None,
    ) -> SupportSet:
        """Collect the slices of one or several labelled scans.

        Args:
            volumes: preprocessed items with ``image`` (C, H, W, D) and ``label`` (1, H, W, D). Slices of different
                size are padded at the far end to the largest, by repeating their border.
            values: label values wanted. Default: all that occur.
            slices: see :func:`select_slices`; the rule holds for each scan.
            without: label values that are not wanted where ``values`` is not given.

        Raises:
            ValueError: a value occurs in none of the scans, or nothing is labelled at all.
        """
        arrays = [(_plain(v["image"]).float(), _plain(v["label"])[0]) for v in volumes]
        wanted = present_values([label for _, label in arrays], values, without)
        ways = [_shots(arrays, value, slices) for value in wanted]
        shots = max(len(way) for way in ways)
        size = [max(shot[0].shape[i] for way in ways for shot in way) for i in (1, 2)]
        filled = [_fill(way, shots, size) for way in ways]
        return cls(torch.stack([f[0] for f in filled]), torch.stack([f[1] for f in filled]), tuple(wanted))


def present_values(
    labels: Sequence[torch.Tensor], values: Sequence[int] | None = None, without: Collection[int] | None = None
) -> list[int]:
    """Label values that are wanted, or all others than ``without``; a ValueError where one does not occur in any."""
    return wanted_values([{int(x) for x in torch.unique(label)} - {0, *(without or ())} for label in labels], values)


def wanted_values(shown: Sequence[Collection[int]], values: Sequence[int] | None = None) -> list[int]:
    """Label values that are wanted, or all that one of the scans shows; a ValueError where none shows one of them."""
    present = sorted({int(value) for own in shown for value in own})
    wanted = present if values is None else [int(v) for v in values]
    missing = [v for v in wanted if v not in present]
    if missing or not wanted:
        raise ValueError(
            f"label value(s) {missing or 'any'} do not occur in the {len(shown)} support scan(s); "
            f"present are {present}. Choose among them, or give another support scan."
        )
    return wanted


def _plain(array: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(
        array.as_tensor() if hasattr(array, "as_tensor") else array
    )  # labels stay what they are: float32 tells no two above 2^24 apart


def _shots(
    arrays: Sequence[tuple[torch.Tensor, torch.Tensor]], value: int, slices: int | str
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    shots = []
    for image, label in arrays:
        mask = label == value
        for z in select_slices(mask.numpy(), slices):
            shots.append((image[..., z], mask[None, ..., z].float()))
    return shots


def _fill(
    way: list[tuple[torch.Tensor, torch.Tensor]], shots: int, size: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    def fit(array: torch.Tensor, mode: str = "constant") -> torch.Tensor:
        return torch.nn.functional.pad(array, (0, size[1] - array.shape[2], 0, size[0] - array.shape[1]), mode)

    images = [fit(image, "replicate") for image, _ in way]  # a place in the body goes on as at the border
    labels = [fit(label) for _, label in way]
    empty = shots - len(way)
    images += [images[0]] * empty
    labels += [torch.zeros_like(labels[0])] * empty
    return torch.stack(images), torch.stack(labels)


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
