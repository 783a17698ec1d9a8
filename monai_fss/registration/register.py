# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Registration of two scans in one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.data import MetaTensor

from .affine import affine
from .body import body_grid, prepared
from .deformable import deformable
from .field import DisplacementField
from .grid import default_spacing

__all__ = ["register"]


def register(
    fixed: MetaTensor,
    moving: MetaTensor,
    method: str = "deformable",
    *,
    spacing: Sequence[float] | None = None,
    starts: int | Sequence[np.ndarray] = 3,
    device: torch.device | str = "cpu",
    **options: float,
) -> DisplacementField:
    """Find where each point of a fixed scan lies in a moving scan.

    Args:
        fixed, moving: (1, H, W, D), scaled to 0..1 with air at 0; any orientation, spacing and field of view.
        method: ``"affine"``, or ``"deformable"``: affine first, then deformable.
        spacing: of the field's grid, mm along the canonical axes. Default: 2.5 mm or half the voxel size where that
            is more, and coarser where the body would need more than 1.3 million voxels.
        starts: see :func:`monai_fss.registration.affine`.
        device: see :func:`monai_fss.registration.deformable`; only that part uses it.
        options: further arguments of :func:`monai_fss.registration.deformable`.

    Returns:
        the field, on a grid around the fixed scan's body. Give it to :func:`monai_fss.registration.resample`.

    Raises:
        RegistrationError: if a scan shows no body, or no start makes the two overlap.
        ValueError, TypeError: if an argument is not as described.

    Example:
        >>> field = register(query, support)
        >>> label = resample(support_label, Grid.of(query), field, mode="nearest")
    """
    if method not in ("affine", "deformable"):
        raise ValueError(f"method={method!r}: unknown. Give 'affine' or 'deformable'.")
    matrix = affine(fixed, moving, starts=starts)
    if method == "deformable":
        return deformable(fixed, moving, matrix, spacing=spacing, device=device, **options)  # type: ignore[arg-type]
    box = body_grid(prepared(fixed, "fixed"))
    return DisplacementField.from_affine(matrix, box.working(default_spacing(box) if spacing is None else spacing))
