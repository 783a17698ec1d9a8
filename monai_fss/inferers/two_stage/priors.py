# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The multi-atlas prior of small organs: labelled scans, registered and fused by PBAF, that travel with the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import ensure_tuple_rep

from monai_fss.inferers.atlas import Atlas
from monai_fss.registration import Grid, resample
from monai_fss.transforms import smooth_spacing

__all__ = ["OrganPrior", "chosen_atlases", "packed_atlases", "unpacked_atlases"]


class OrganPrior:
    """Where organs are by labelled scans that are registered to a scan; nothing is learnt.

    Registration at the voxel size of the labelled scans, PBAF of several (:func:`monai_fss.registration.fusion.pbaf`),
    no refinement by appearance: what Valindria et al. (MLMI 2018, section 2.2) call multi-atlas.

    Args:
        scans: labelled scans, see :func:`unpacked_atlases`; none give no prior.
        values: label values of the organs; those that no scan shows are nowhere.
        registration: arguments of :func:`monai_fss.registration.register`.
        cache: a :class:`monai_fss.data.ContentCache` that keeps registrations. Default: they are not kept.
    """

    def __init__(
        self,
        scans: Sequence[Mapping[str, MetaTensor]],
        values: Sequence[int],
        registration: Mapping[str, Any] | None = None,
        cache: Any = None,
    ) -> None:
        self.values = [int(value) for value in values]
        seen = {int(value) for scan in scans for value in torch.unique(scan["label"])}
        self.shown = [value for value in self.values if value in seen]
        self.atlas: Atlas | None = None
        if self.shown:
            spacing = Grid.of(scans[0]["image"]).canonical().spacing.round(6).tolist()
            self.atlas = Atlas(
                scans,
                self.shown,
                spacing=spacing,
                fusion="pbaf",
                refinement=None,
                registration=registration,
                cache=cache,
                sides=False,
            )

    def __call__(self, image: MetaTensor, grid: Grid) -> torch.Tensor:
        """Probabilities (len(values), H, W, D) on a grid for a scan (1, H', W', D') whose intensities are 0..1.

        Warns:
            InputWarning: a scan cannot be registered, or an organ lies outside, see :class:`monai_fss.inferers.Atlas`.
        """
        result = torch.zeros(len(self.values), *grid.shape)
        if self.atlas is not None:
            found = resample(self.atlas(image), grid, antialias=False).as_tensor()
            result[[self.values.index(value) for value in self.shown]] = found
        return result


def chosen_atlases(count: int, most: int | None, without: int | None = None) -> list[int]:
    """Which of ``count`` labelled scans are atlases: all, or ``most`` of them, spread evenly over their order.

    Args:
        count: of the labelled scans.
        most: how many at most. None: all.
        without: the one that a prior is wanted for, which is never among them. Default: none.

    Returns:
        indices, rising; none where there is no other scan.
    """
    others = [index for index in range(count) if index != without]
    if most is None or most >= len(others):
        return others
    return [others[int(place)] for place in np.linspace(0, len(others) - 1, most).round()] if most else []


def packed_atlases(
    scans: Sequence[Mapping[str, Any]], pixdim: float | Sequence[float] | None
) -> dict[str, torch.Tensor]:
    """Labelled scans as tensors that go into a file of weights.

    Args:
        scans: with ``image`` (1, H, W, D), 0..1, and ``label`` (1, H, W, D), MetaTensors.
        pixdim: mm of a voxel that images are brought to, one number or three. None: they are there.

    Returns:
        ``atlas<n>_image`` (half precision), ``atlas<n>_label``, on its own grid, and an affine of each.
    """
    kept: dict[str, torch.Tensor] = {}
    for number, scan in enumerate(scans):
        image = scan["image"] if pixdim is None else smooth_spacing(scan["image"], ensure_tuple_rep(pixdim, 3))
        label = scan["label"].as_tensor()
        kept[f"atlas{number}_image"] = image.as_tensor().half()
        kept[f"atlas{number}_label"] = label.to(torch.uint8 if int(label.max()) < 256 else torch.int32)
        kept[f"atlas{number}_image_affine"] = torch.as_tensor(image.affine).double()
        kept[f"atlas{number}_label_affine"] = torch.as_tensor(scan["label"].affine).double()
    return kept


def unpacked_atlases(kept: Mapping[str, torch.Tensor]) -> list[dict[str, MetaTensor]]:
    """The scans of :func:`packed_atlases`, in their order; none where there are none."""
    scans: list[dict[str, MetaTensor]] = []
    while f"atlas{len(scans)}_image" in kept:
        number = len(scans)
        scan = {}
        for key, kind in (("image", torch.float32), ("label", torch.int32)):
            values, affine = (kept[f"atlas{number}_{key}{ending}"].cpu() for ending in ("", "_affine"))
            meta = {"filename_or_obj": f"labelled_{number + 1}", "affine": affine}
            scan[key] = MetaTensor(values.to(kind), meta=meta)
        scans.append(scan)
    return scans
