# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whether left and right may be exchanged in one of two scans."""

from __future__ import annotations

import torch
from monai.data import MetaTensor

from .affine import affine
from .body import RegistrationError, difference, prepared

__all__ = ["EXCHANGED", "mirrored", "side_ratio"]

LEVELS = ((10.0, 2, 4), (6.0, 2, 2))
"""Of the affine registrations: coarse ones, since whole organs change sides. Some seconds for both."""
EXCHANGED = 0.95
"""Below this ratio sides are doubted. Of 24 ordered pairs of abdominal scans (MR and CT) in the right orientation it
was 0.985 to 1.174; a scan that is mirrored has about the inverse."""


def mirrored(image: MetaTensor) -> MetaTensor:
    """A scan as it would be with left and right exchanged: the same voxels, the first world axis reversed."""
    mirror = torch.diag(torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64))
    meta = {key: value for key, value in image.meta.items() if key != "affine"}
    return MetaTensor(image.as_tensor(), affine=mirror @ torch.as_tensor(image.affine).double(), meta=meta)


def side_ratio(fixed: MetaTensor, moving: MetaTensor) -> float:
    """How much worse a scan fits another one when it is mirrored.

    Each way the moving scan is laid over the fixed one by an affine map, coarsely. Bodies are nearly symmetric, but
    liver, spleen, stomach and heart are not.

    Args:
        fixed, moving: (1, H, W, D), scaled to 0..1 with air at 0.

    Returns:
        mean absolute difference over the overlap of the bodies with the fixed scan mirrored, divided by that of the
        scans as they are: above 1 where sides agree, below 1 where they may be exchanged, about 1 where the region
        has no sides. 1 where one of the two cannot be told.
    """
    try:
        found = [_difference(scan, moving) for scan in (mirrored(fixed), fixed)]
    except RegistrationError:
        return 1.0
    return float(found[0] / found[1]) if found[0] and found[1] else 1.0


def _difference(fixed: MetaTensor, moving: MetaTensor) -> float | None:
    matrix = affine(fixed, moving, starts=1, levels=LEVELS)
    return difference(prepared(fixed, "fixed"), prepared(moving, "moving"), matrix)
