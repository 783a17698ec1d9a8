# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Registration of two scans in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from .affine import LEVELS, affine
from .body import body_grid, prepared
from .deformable import deformable
from .field import DisplacementField
from .grid import Grid, default_spacing, scale_of

__all__ = ["PRESETS", "Preset", "quick_registration", "register"]


@dataclass(frozen=True)
class Preset:
    """How much work a registration is.

    Args:
        levels: of :func:`monai_fss.registration.affine`.
        stages: arguments of :func:`monai_fss.registration.deformable`, which starts from the affine map at first, and
            then from the field of the stage before.
        starts: of :func:`monai_fss.registration.affine`, where the caller gives none.
    """

    levels: Sequence[tuple[float, int, int]]
    stages: Sequence[Mapping[str, Any]]
    starts: int = 3


PRESETS = {
    "accurate": Preset(
        LEVELS,
        ({"cell": 4, "reach": 3, "iterations": 30}, {"cell": 3, "reach": 1, "iterations": 40}),
    ),
    "fast": Preset(
        ((10.0, 2, 4), (10.0, 2, 2), (6.0, 2, 2), (6.0, 1, 1)),
        (
            {"coarser": 1.6, "cell": 3, "reach": 3, "iterations": 40},
            {"coarser": 1.6, "cell": 2, "reach": 1, "iterations": 60},
        ),
        starts=2,
    ),
}
"""What :func:`register` offers. The first stage looks 30 mm around and more, the second corrects what it leaves, up to
7.5 mm. On abdominal MR two stages gave better masks than one of as many iterations."""


def quick_registration(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of :func:`register` for a second look at scans that are registered with ``settings``: the fast preset,
    intensities as there."""
    return {"preset": "fast", **{key: settings[key] for key in ("intensity_weight",) if key in settings}}


def _sized(affine: torch.Tensor, factor: float) -> torch.Tensor:
    """The affine of a grid in a world whose lengths are multiplied."""
    return torch.diag(torch.tensor([factor] * 3 + [1.0], dtype=torch.float64)) @ affine.to(torch.float64)


def _scaled(image: MetaTensor, factor: float) -> MetaTensor:
    return MetaTensor(image.as_tensor(), affine=_sized(image.affine, factor))


def _moved(matrix: np.ndarray, factor: float) -> np.ndarray:
    """A map of mm to mm in that world."""
    result = np.array(matrix, dtype=np.float64)
    result[:3, 3] *= factor
    return result


def register(
    fixed: MetaTensor,
    moving: MetaTensor,
    method: str = "deformable",
    *,
    preset: str = "accurate",
    spacing: Sequence[float] | None = None,
    starts: int | Sequence[np.ndarray] | None = None,
    intensity_weight: float = 0.0,
    device: torch.device | str = "cpu",
    workers: int = 1,
) -> DisplacementField:
    """Find where each point of a fixed scan lies in a moving scan.

    All lengths are made for human scans. Where both scans are smaller than 100 mm (:data:`.grid.SMALL`), as of a mouse,
    the world is registered as if it were larger by that factor.

    Args:
        fixed, moving: (1, H, W, D), scaled to 0..1 with air at 0; any orientation, spacing and field of view.
        method: ``"affine"``, or ``"deformable"``: affine first, then deformable.
        preset: ``"accurate"``, or ``"fast"``: see :data:`PRESETS`.
        spacing: of the field's grid, mm along the canonical axes. Default: 2.5 mm or half the voxel size where that
            is more, and coarser where the body would need more than 1.3 million voxels.
        starts: see :func:`monai_fss.registration.affine`. Default: that of the preset.
        intensity_weight: see :func:`monai_fss.registration.deformable`; only that part uses it. Default 0; of CT see
            :func:`monai_fss.registration.intensity_weight`.
        device: see :func:`monai_fss.registration.deformable`; only that part uses it.
        workers: see :func:`monai_fss.registration.affine`; only that part uses them. They change the time alone.

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
    if preset not in PRESETS:
        raise ValueError(f"preset={preset!r}: unknown. Give one of {', '.join(PRESETS)}.")
    chosen = PRESETS[preset]
    scale = scale_of(Grid.of(fixed), Grid.of(moving))
    if scale < 1:
        grown = [_scaled(image, 1 / scale) for image in (fixed, moving)]
        steps = None if spacing is None else [step / scale for step in spacing]
        first = starts if starts is None or isinstance(starts, int) else [_moved(start, 1 / scale) for start in starts]
        large = register(
            grown[0],
            grown[1],
            method,
            preset=preset,
            spacing=steps,
            starts=first,
            intensity_weight=intensity_weight,
            device=device,
            workers=workers,
        )
        return DisplacementField(large.data * scale, _sized(large.affine, scale))
    found: np.ndarray | DisplacementField = affine(
        fixed, moving, starts=chosen.starts if starts is None else starts, levels=chosen.levels, workers=workers
    )
    for stage in chosen.stages if method == "deformable" else ():
        found = deformable(
            fixed, moving, found, spacing=spacing, intensity_weight=intensity_weight, device=device, **stage
        )
    if isinstance(found, DisplacementField):
        return found
    box = body_grid(prepared(fixed, "fixed"))
    return DisplacementField.from_affine(found, box.working(default_spacing(box) if spacing is None else spacing))
