# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Deformable registration by ConvexAdam, after an affine map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from skimage.exposure import match_histograms

from .body import BODY, RegistrationError, body_grid, prepared
from .field import DisplacementField
from .grid import Grid, default_spacing
from .matching import ADAM_STRIDE, FEWEST_CELLS, descriptors, match_features, optimised
from .resample import inside, resample

__all__ = ["CT_WEIGHT", "deformable", "intensity_weight"]

CT_WEIGHT = 1.4
"""Weight of the intensities of CT, see :func:`intensity_weight`."""


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
    intensity_weight: float = 0.0,
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
        intensity_weight: of the difference of intensities beside that of the MIND descriptors, which are blind to them:
            MIND takes the stomach, filled with contrast, for the spleen. For scans whose intensities mean the same,
            see :func:`intensity_weight`. Default 0: none.
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
    shown = inside(moving, grid, start)
    if not bool(shown.any()):
        raise RegistrationError(
            "no overlap: the initial map takes nothing of the fixed scan's body into the moving scan's field of view. "
            "Register affinely first, or check that both show the same part of the body."
        )
    here, there = (resample(fixed, grid).as_tensor()[0].cpu(), resample(moving, grid, start).as_tensor()[0].cpu())
    matched = _matched(here, there, shown.cpu()) if intensity_weight else there
    # A caller's inference mode must not mark the field, which is kept, as unfit for anything but inference.
    with torch.inference_mode(False):
        pairs = [(here, here), (there, matched)]
        found = [_described(_padded(a, cell), _padded(b, cell), intensity_weight, device) for a, b in pairs]
        shift = _convex_adam(found[0], found[1], cell, reach, smoothness, iterations)
        shift = shift[:, : grid.shape[0], : grid.shape[1], : grid.shape[2]].contiguous().cpu()
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


def intensity_weight(window: Sequence[float] | None, weight: float | None = None) -> float:
    """
    The weight of intensities in a registration.

    CT has them in HU everywhere. Those of MR differ from scan to scan, and an organ may be dark in one and bright in
    the other (iron in the liver and the spleen: on CHAOS, a spleen of 72 % Dice becomes one of 41 %).

    Args:
        window: in HU, of CT; None: other scans.
        weight: that the user wants. Default: :data:`CT_WEIGHT` with a window, else 0.
    """
    if weight is not None:
        return weight
    return 0.0 if window is None else CT_WEIGHT


def _matched(fixed: torch.Tensor, moving: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """A moving image (h, w, d) with the histogram of the fixed one, over the bodies and where it shows something."""
    own, other = shown & (moving > BODY), shown & (fixed > BODY)
    if not (bool(own.any()) and bool(other.any())):
        return moving
    result = moving.clone()
    result[own] = torch.from_numpy(match_histograms(moving[own].numpy(), fixed[other].numpy())).to(result)
    return result


def _described(
    image: torch.Tensor, intensities: torch.Tensor, weight: float, device: torch.device | str
) -> torch.Tensor:
    """(1, 12 or 13, h, w, d): MIND-SSC, and the means of intensities over 3 x 3 x 3 voxels times a weight."""
    found = descriptors(image.to(device))
    if not weight:
        return found
    around = F.pad(intensities.to(device)[None, None], [1] * 6, mode="replicate")
    return torch.cat([found, weight * F.avg_pool3d(around, 3, stride=1)], 1)


def _convex_adam(
    fixed: torch.Tensor, moving: torch.Tensor, cell: int, reach: int, smoothness: float, iterations: int
) -> torch.Tensor:
    """Displacements in voxels, (3, h, w, d), by descriptors (1, C, h, w, d)."""
    cells = [F.avg_pool3d(one, cell, stride=cell) for one in (fixed, moving)]
    first = match_features(cells[0], cells[1], cell, reach)
    with torch.enable_grad():  # Adam needs gradients even where a caller has switched them off
        return optimised(fixed, moving, first, smoothness, iterations)


def _padded(image: torch.Tensor, cell: int) -> torch.Tensor:
    """(h, w, d) with the edge repeated at the far ends, so that the strides of both stages divide it."""
    multiple = int(np.lcm(cell, ADAM_STRIDE))
    least = max(cell, ADAM_STRIDE) * FEWEST_CELLS
    pad = [n for size in reversed(image.shape) for n in (0, -(-max(size, least) // multiple) * multiple - size)]
    return F.pad(image[None, None], pad, mode="replicate")[0, 0]
