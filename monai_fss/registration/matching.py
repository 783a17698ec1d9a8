# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Dense matching of two volumes: the stages of ConvexAdam, composed of its package's functions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

import torch
import torch.nn.functional as F

__all__ = ["convex_adam", "descriptors", "features", "match", "match_features", "optimised", "quiet"]

# Along each axis: convexAdam averages over three cells.
FEWEST_CELLS = 3

ADAM_STRIDE = 2
"""Voxels between the control points of :func:`optimised`."""


@cache
def convex_adam(module: str) -> ModuleType:
    """Import a module of convexAdam, late since it takes seconds, and without its switching off all warnings.

    Args:
        module: ``"convex_adam_utils"`` or ``"convex_adam_MIND"``.

    Raises:
        ImportError: if the package is not installed.
    """
    from importlib import import_module

    with warnings.catch_warnings():
        try:
            return import_module(f"convexAdam.{module}")
        except ImportError as error:
            raise ImportError(f"convexAdam: {error}. Registration needs it: pip install convexAdam.") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back torch's remark on a default that convexAdam's code relies on knowingly."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*align_corners.*")
        yield


def features(image: torch.Tensor, cell: int) -> torch.Tensor:
    """Averages of MIND-SSC descriptors over cells.

    Args:
        image: (h, w, d), float32, not constant.
        cell: edge of a cell in voxels.

    Returns:
        (1, 12, h', w', d') with h' = h // cell, but 3 at least (the edge is repeated), which the smoothing of
        :func:`match_features` needs. What is left over at the far edges belongs to no cell.

    Source: M. P. Heinrich et al., Towards realtime multimodal fusion for image-guided interventions using
    self-similarities, MICCAI 2013.
    """
    pad = [n for size in reversed(image.shape) for n in (0, max(0, FEWEST_CELLS * cell - size))]
    volume = F.pad(image[None, None], pad, mode="replicate")[0, 0]
    return F.avg_pool3d(descriptors(volume), cell, stride=cell)


@torch.no_grad()
def descriptors(image: torch.Tensor) -> torch.Tensor:
    """MIND-SSC of each voxel of an image (h, w, d), not constant: (1, 12, h, w, d), 0..1."""
    found: torch.Tensor = convex_adam("convex_adam_utils").MINDSSC(image[None, None], 1, 2, device=image.device)
    return found


def match(fixed: torch.Tensor, moving: torch.Tensor, cell: int, reach: int) -> torch.Tensor:
    """Where each cell of a volume lies in another of the same shape.

    Args:
        fixed: (h, w, d), float32.
        moving: (h, w, d), float32.
        cell: edge of a cell in voxels.
        reach: largest displacement that is looked for, in cells; time and memory grow with its cube.

    Returns:
        (3, h', w', d') displacements in voxels, for the cells of :func:`features`: cell ``i`` has its middle at the
        voxel index ``i * cell + (cell - 1) / 2``.
    """
    return match_features(features(fixed, cell), features(moving, cell), cell, reach)


def match_features(
    fixed: torch.Tensor, moving: torch.Tensor, cell: int, reach: int, run: Callable[..., Iterable] = map
) -> torch.Tensor:
    """:func:`match` for descriptors (1, C, h', w', d') that are there already.

    ``run`` does both ways, one after another by default; the ``map`` of a thread pool does them side by side.

    A cost volume of all displacements, two coupled convex problems (data term, smoothness), solved both ways and made
    inverse consistent.

    Source: H. Siebert, L. Hansen and M. P. Heinrich, Fast 3D registration with accurate optimisation and little
    learning for Learn2Reg 2021, 2022 (ConvexAdam).
    """
    tools = convex_adam("convex_adam_utils")
    cells = tuple(fixed.shape[2:])
    shape = tuple(n * cell for n in cells)
    window = [1, 1, *[2 * reach + 1] * 3]
    mesh = F.affine_grid(reach * torch.eye(3, 4)[None], window, align_corners=True)
    mesh = mesh.permute(0, 4, 1, 2, 3).reshape(3, -1, 1).to(fixed.device)

    @torch.no_grad()  # for each thread
    def one_way(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return tools.coupled_convex(*tools.correlate(one, other, reach, cell, shape, one.shape[1]), mesh, cell, shape)

    with quiet(), torch.no_grad():
        there, back = run(one_way, (fixed, moving), (moving, fixed))
        scale = torch.tensor(cells, device=fixed.device).sub(1).view(1, 3, 1, 1, 1) / 2
        both, _ = tools.inverse_consistency((there / scale).flip(1), (back / scale).flip(1), iter=15)
        return (both.flip(1) * scale * cell)[0]


def optimised(
    fixed: torch.Tensor, moving: torch.Tensor, start: torch.Tensor, smoothness: float, iterations: int
) -> torch.Tensor:
    """Displacements made better by Adam, so that descriptors agree and neighbours move alike.

    Args:
        fixed, moving: descriptors (1, C, h, w, d), h, w and d even. Squared differences are summed over the channels.
        start: displacements in voxels to begin with, (3, h', w', d') on any coarser grid of the same extent, such as
            :func:`match_features` gives them.
        smoothness: weight of the squared differences between control points, which are two voxels apart.
        iterations: of Adam, whose steps are of a control point's distance.

    Returns:
        (3, h, w, d) displacements in voxels.

    Source: Siebert, Hansen and Heinrich, as above; the second stage of their ``convex_adam_pt``, for any descriptors.
    """
    size = tuple(fixed.shape[2:])
    fewer = [n // ADAM_STRIDE for n in size]
    here, there = (F.avg_pool3d(one, ADAM_STRIDE, stride=ADAM_STRIDE) for one in (fixed, moving))
    whole = F.interpolate(start[None], size=size, mode="trilinear", align_corners=False)
    first = F.interpolate(whole, size=fewer, mode="trilinear", align_corners=False) / ADAM_STRIDE
    points = first.detach().clone().requires_grad_()
    adam = torch.optim.Adam([points], lr=1)
    with quiet():
        identity = F.affine_grid(torch.eye(3, 4, device=here.device)[None], [1, 1, *fewer], align_corners=False)
    half = (torch.tensor(fewer, device=here.device) - 1) / 2
    smooth = points
    for _ in range(iterations):
        adam.zero_grad()
        smooth = points
        for _ in range(3):
            smooth = F.avg_pool3d(smooth, 3, stride=1, padding=1)
        steps = [(smooth.narrow(axis, 1, n - 1) - smooth.narrow(axis, 0, n - 1)) for axis, n in enumerate(fewer, 2)]
        rough = sum((step**2).mean() for step in steps)
        places = identity + (smooth.movedim(1, -1) / half).flip(-1)
        moved = F.grid_sample(there, places, mode="bilinear", align_corners=False)
        ((moved - here).pow(2).sum(1).mean() + smoothness * rough).backward()
        adam.step()
    return F.interpolate(smooth.detach() * ADAM_STRIDE, size=size, mode="trilinear", align_corners=False)[0]
