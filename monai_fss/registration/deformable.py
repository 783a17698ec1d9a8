# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Deformable registration by ConvexAdam, after an affine map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor

from .body import RegistrationError, body_grid, prepared
from .field import DisplacementField
from .grid import Grid, default_spacing
from .matching import FEWEST_CELLS, convex_adam, quiet
from .resample import inside, resample

__all__ = ["deformable"]

# Both of convexAdam's strides divide shapes that are multiples of this; others it stretches.
_ADAM_STRIDE = 2


def deformable(
    fixed: MetaTensor,
    moving: MetaTensor,
    initial: np.ndarray | DisplacementField | None = None,
    *,
    spacing: Sequence[float] | None = None,
    coarser: float = 1.0,
    cell: int = 4,
    reach: int = 3,
    smoothness: float = 0.6,
    iterations: int = 80,
    device: torch.device | str = "cpu",
) -> DisplacementField:
    """Lay a moving scan over a fixed one by a dense displacement field.

    Args:
        fixed, moving: (1, H, W, D), scaled to 0..1 with air at 0.
        initial: what is known of the map: (4, 4), fixed mm to moving mm, as :func:`monai_fss.registration.affine`
            returns it, or the field of a coarser registration. Default: identity.
        spacing: of the grid that is worked on, mm along the canonical axes; it covers the fixed scan's body. Default:
            see ``default_spacing``.
        coarser: no edge of a voxel of that grid is shorter than this times the shortest one.
        cell: edge of a cell of the discrete search, in voxels of that grid.
        reach: of that search, in cells: 3 x 4 voxels of 2.5 mm are 30 mm.
        smoothness: weight of the squared differences of displacements in the continuous refinement.
        iterations: of the continuous refinement by Adam. Default: convexAdam's. With fewer of them masks hardly change,
            but a scan registered with itself is moved: by 1.8 mm on average after 20, 0.2 mm after 60 (5 mm voxels).
        device: where it is computed. The default gives the same field every time.

    Returns:
        the field, ``initial`` included: on the working grid.

    Raises:
        RegistrationError: if a scan shows no body, or they do not overlap after ``initial``.
        ValueError, TypeError: if an image is not as described.

    Source: H. Siebert, L. Hansen and M. P. Heinrich, Fast 3D registration with accurate optimisation and little
    learning for Learn2Reg 2021, 2022 (ConvexAdam).
    """
    fixed, moving = prepared(fixed, "fixed"), prepared(moving, "moving")
    start = initial if isinstance(initial, DisplacementField) else np.eye(4) if initial is None else np.asarray(initial)
    box = body_grid(fixed)
    finest = np.asarray(default_spacing(box) if spacing is None else spacing, dtype=float)
    grid = box.working(np.maximum(finest, coarser * finest.min()).tolist())
    if not bool(inside(moving, grid, start).any()):
        raise RegistrationError(
            "no overlap: the initial map takes nothing of the fixed scan's body into the moving scan's field of view. "
            "Register affinely first, or check that both show the same part of the body."
        )
    here, there = resample(fixed, grid), resample(moving, grid, start)
    # A caller's inference mode must not mark the field, which is kept, as unfit for anything but inference.
    with torch.inference_mode(False):
        shift = _convex_adam(here, there, cell, reach, smoothness, iterations, torch.device(device))
        return _composed(start, grid, shift)


def _composed(initial: np.ndarray | DisplacementField, grid: Grid, shift: torch.Tensor) -> DisplacementField:
    """``initial`` after displacements v in voxels of a grid: x + u(x) = initial(x + v(x))."""
    voxels = torch.as_tensor(grid.affine[:3, :3], dtype=torch.float32)
    if isinstance(initial, DisplacementField):
        moved = torch.tensordot(voxels, shift, 1)
        total = moved + initial.at(grid.points() + moved.movedim(0, -1)).movedim(-1, 0)
    else:
        # u = (A x - x) + L v with L the linear part of A: exact beyond any grid.
        linear = torch.as_tensor(initial[:3, :3], dtype=torch.float32) @ voxels
        total = DisplacementField.from_affine(initial, grid).data + torch.tensordot(linear, shift, 1)
    return DisplacementField(total, torch.from_numpy(grid.affine))


def _convex_adam(
    fixed: MetaTensor,
    moving: MetaTensor,
    cell: int,
    reach: int,
    smoothness: float,
    iterations: int,
    device: torch.device,
) -> torch.Tensor:
    """Displacements in voxels, (3, h, w, d), on the CPU."""
    shape = tuple(fixed.shape[1:])
    one, other = (_padded(image.as_tensor().cpu(), cell) for image in (fixed, moving))
    register = convex_adam("convex_adam_MIND").convex_adam_pt
    # Adam needs gradients even where a caller has switched them off, and a layer's initial weights, never used,
    # must not advance the caller's random numbers.
    with quiet(), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        shift = register(
            one.clone(),
            other.clone(),
            grid_sp=cell,
            disp_hw=reach,
            lambda_weight=smoothness,
            selected_niter=iterations,
            dtype=torch.float32,
            device=device,
        )
    field = torch.from_numpy(shift.astype(np.float32)).movedim(-1, 0)
    return field[:, : shape[0], : shape[1], : shape[2]].contiguous()


def _padded(image: torch.Tensor, cell: int) -> torch.Tensor:
    """(1, h, w, d) with the edge repeated at the far ends, without its channel axis."""
    multiple = int(np.lcm(cell, _ADAM_STRIDE))
    least = max(cell, _ADAM_STRIDE) * FEWEST_CELLS
    pad = [n for size in reversed(image.shape[1:]) for n in (0, -(-max(size, least) // multiple) * multiple - size)]
    return F.pad(image[None], pad, mode="replicate")[0, 0]
