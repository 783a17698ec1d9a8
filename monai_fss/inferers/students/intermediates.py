# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Labels that reach a scan by way of others of the folder, which look more like it than the labelled one does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from monai_fss.data import InputWarning
from monai_fss.inferers.atlas import Atlas, Placed
from monai_fss.inferers.labelled import LabelledScan
from monai_fss.inferers.scans import scan_name
from monai_fss.registration.body import RegistrationError, body_grid
from monai_fss.registration.register import quick_registration
from monai_fss.registration.resample import resample

__all__ = ["Intermediates", "most_alike"]

THUMBNAIL = 8.0
"""Millimetres of the voxels in which scans are compared."""


class Intermediates:
    """
    Segment a scan by the labelled one and by others of the folder, each with the mask that the labelled one gave it.

    Between scans that look alike registration errs less; what each intermediate's own mask got wrong is outvoted by the
    others (Wolz et al. 2010, LEAP: labels travel along chains of similar scans). Small organs lose by it, as each
    registration blurs them: they stay with the direct registration.

    Args:
        atlas: of one labelled scan.
        count: intermediates of each scan. Default 4.
        least_ml: millilitres in the labelled scan from which on an organ is taken this way. Default 100.
        registration: arguments of :func:`monai_fss.registration.register` between scans of the folder. Default:
            :func:`monai_fss.registration.quick_registration`, as there are ``count`` of them for each scan.
    """

    def __init__(
        self, atlas: Atlas, count: int = 4, least_ml: float = 100.0, registration: Mapping[str, Any] | None = None
    ) -> None:
        if count < 1:
            raise ValueError(f"count={count}: give at least one intermediate.")
        self.atlas, self.count, self.least_ml = atlas, count, least_ml
        self.registration = quick_registration(atlas.registration) if registration is None else dict(registration)
        self.large = [atlas.scans[0].mm3(value) >= 1000 * least_ml for value in atlas.values]

    def thumbnail(self, query: MetaTensor) -> torch.Tensor:
        """A scan (1, H, W, D) in the labelled one's world, by the affine part of its registration, (h, w, d)."""
        scan = self.atlas.scans[0]
        grid, field = body_grid(scan.image).working([THUMBNAIL] * 3), self.atlas.field(query, scan.image)
        return resample(query, grid, np.linalg.inv(field.affine_part())).as_tensor()[0]

    def __call__(
        self, query: MetaTensor, placed: Sequence[Placed], others: Sequence[Mapping[str, MetaTensor]]
    ) -> np.ndarray:
        """
        Probabilities of a scan, (W, h, w, d) on the atlas's grid.

        Args:
            query: (1, H, W, D), scaled to 0..1.
            placed: the labelled scan and its registration to the query.
            others: intermediates: ``image`` (1, H, W, D), 0..1, and ``label`` (1, h, w, d), a mask of the same world.

        Warns:
            InputWarning: one cannot be registered to the query, and is left out.
        """
        grid = self.atlas.grid(query)
        fixed = resample(query, grid).as_tensor()[0].numpy()
        direct = self.atlas.decide(fixed, grid, list(placed))[0]
        chain = [*placed]
        for other in others if any(self.large) else ():
            scan = LabelledScan.of(other)
            try:
                chain.append((scan, self.atlas.field(query, scan.image, self.registration)))
            except RegistrationError as error:
                text = f"{scan_name(query)}: {scan_name(scan.image)} is no intermediate of it: {error}"
                warnings.warn(text, InputWarning, stacklevel=2)
        if len(chain) > len(placed):
            direct[self.large] = self.atlas.decide(fixed, grid, chain)[0][self.large]
        return direct


def most_alike(thumbnails: Mapping[str, torch.Tensor], count: int) -> dict[str, list[str]]:
    """
    The scans that differ least from each, by the mean absolute difference of their voxels, the most alike first.

    Args:
        thumbnails: of each name one image, all of one shape.
        count: names for each, fewer where there are not so many others.
    """
    return {
        name: sorted((one for one in thumbnails if one != name), key=lambda one: _apart(image, thumbnails[one]))[:count]
        for name, image in thumbnails.items()
    }


def _apart(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first - second).abs().mean())
