# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which voxels of its anchor OrganNet looks at when it decides about a voxel (the paper's Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from monai.data import MetaTensor

from monai_fss.data import ScanError
from monai_fss.inferers.labelled import seen
from monai_fss.networks.blocks import neighbourhood_weights
from monai_fss.networks.nets import OrganNet
from monai_fss.registration.body import RegistrationError
from monai_fss.registration.field import DisplacementField
from monai_fss.registration.grid import Grid
from monai_fss.registration.resample import resample

from .organnet import OrganNetInferer
from .registered import anchors_on_grid

__all__ = ["Explanation", "Related", "explain_voxel"]


@dataclass(frozen=True, eq=False)
class Related:
    """The anchor's voxels that a voxel is related to on one level of the network.

    Args:
        level: from 1, the shallowest.
        size: edge of the neighbourhood, voxels of this level.
        spacing: mm between these, (3,), along the axes of the grid that the network works on.
        target: mm (3,) in the query, of the level's voxel that lies nearest to the one that was asked for.
        middle: mm (3,) in the anchor: where the registration moves ``target``.
        places: mm (N, 3) in the anchor, of the related voxels, moved there by the registration.
        weights: (N,) of Eq. 3, falling.
        beyond: weight of what lies beyond the window, where features are 0; with ``weights`` it sums to 1.
    """

    level: int
    size: int
    spacing: np.ndarray
    target: np.ndarray
    middle: np.ndarray
    places: np.ndarray
    weights: np.ndarray
    beyond: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where a voxel looks.

    Args:
        value: label value of the organ that was asked about.
        shown: the anchor's moved mask of it at the voxel, 0..1.
        probability: of the organ at the voxel, by the window around it.
        levels: one for each level that has a pyramid reasoning module, from shallow to deep.
    """

    value: int
    shown: float
    probability: float
    levels: list[Related]


class _Relation(NamedTuple):
    """Where a voxel looks on one level: the level's voxel j lies on the network's voxel ``stride * j``."""

    stride: int
    voxel: list[int]  # of the level, the nearest to the one that is asked about
    weights: torch.Tensor  # (s, s, s) of Eq. 3, see neighbourhood_weights


def explain_voxel(
    inferer: OrganNetInferer, image: MetaTensor, point: Sequence[float], network: Any, value: int | None = None
) -> Explanation:
    """Register the anchor to a scan, and ask the network about one voxel in the middle of a window.

    Args:
        inferer: with one labelled scan.
        image: the query (C, H, W, D), as for the inferer.
        point: mm (3,) in the world of the query.
        network: the :class:`monai_fss.networks.nets.OrganNet`.
        value: label value of the organ. Default: the one whose moved mask is greatest there.

    Raises:
        ScanError: the anchor cannot be registered; the point lies outside the grid around the body that is worked on;
            the anchor does not show the organ, or, of several, puts none there.
    """
    net = cast(OrganNet, network.module if hasattr(network, "module") else network)
    atlas, query = inferer.atlas, seen(image)
    placed, failures = atlas.placed(query)
    if not placed:
        raise ScanError(f"the labelled scan cannot be registered: {'; '.join(failures)}")
    try:
        grid = inferer.grid(query)
    except RegistrationError as error:
        raise ScanError(str(error)) from error
    voxel = _voxel(point, grid)
    fixed = resample(query, grid).as_tensor()
    images, masks = anchors_on_grid(fixed[0].numpy(), grid, placed[:1], atlas.values, inferer.refinement)
    way = _way(masks[0, :, 0, voxel[0], voxel[1], voxel[2]], atlas.values, value)
    first, window = _window(voxel, grid, inferer.roi_size)
    pair = torch.cat([fixed, images[0], masks[0, way]])[(slice(None), *window)][None]
    own = [v - start for v, start in zip(voxel, first, strict=True)]
    pair = pair.to(next(net.parameters()).device)
    odds, relations = _relations(net, pair, own)
    levels = []
    for level, relation in enumerate(relations, 1):
        levels.append(_related(level, relation, first, pair.shape[2:], grid, placed[0][1]))
    shown = float(masks[0, way, 0, voxel[0], voxel[1], voxel[2]])
    return Explanation(atlas.values[way], shown, float(torch.sigmoid(odds[0, 0, own[0], own[1], own[2]])), levels)


def _voxel(point: Sequence[float], grid: Grid) -> list[int]:
    """Nearest voxel of the grid."""
    index = np.linalg.solve(grid.affine, [*point, 1.0])[:3]
    if (index < -0.5).any() or (index > np.asarray(grid.shape) - 0.5).any():
        corners = [grid.affine[:3, :3] @ c + grid.affine[:3, 3] for c in ((0, 0, 0), np.asarray(grid.shape) - 1)]
        box = ", ".join(f"{a:.0f} to {b:.0f}" for a, b in np.sort(corners, axis=0).T)
        raise ScanError(
            f"the point at {', '.join(f'{mm:.1f}' for mm in point)} mm lies outside the box around the body that the "
            f"network works on ({box} mm). Name a point in the body."
        )
    return [min(max(int(np.floor(i + 0.5)), 0), n - 1) for i, n in zip(index, grid.shape, strict=True)]


def _way(there: torch.Tensor, values: Sequence[int], value: int | None) -> int:
    """Which of the organs is asked about."""
    if value is not None:
        return list(values).index(value)
    if len(values) > 1 and not bool(there.max() > 0):
        known = ", ".join(map(str, values))
        raise ScanError(f"none of the anchor's organs is moved to this voxel. Say which one is meant: {known}.")
    return int(there.argmax())


def _window(voxel: Sequence[int], grid: Grid, size: Sequence[int]) -> tuple[list[int], tuple[slice, ...]]:
    """First voxel and window of that size, the voxel in its middle as far as the grid goes."""
    first = [min(max(v - edge // 2, 0), max(n - edge, 0)) for v, edge, n in zip(voxel, size, grid.shape, strict=True)]
    return first, tuple(slice(f, min(f + edge, n)) for f, edge, n in zip(first, size, grid.shape, strict=True))


@torch.no_grad()
def _relations(net: OrganNet, pair: torch.Tensor, voxel: Sequence[int]) -> tuple[torch.Tensor, list[_Relation]]:
    """Log-odds (1, 1, h, w, d) of a pair, see :meth:`OrganNet.of_pair`, and what its modules compared at a voxel."""
    compared: list[torch.Tensor] = []

    def keep(module: Any, given: tuple[torch.Tensor, ...], _: Any) -> None:
        compared.append(torch.cat([module.target(given[0]), module.anchor(given[1])]))

    handles = [module.register_forward_hook(keep) for module in net.reasoning]
    try:
        odds = net.of_pair(pair)
    finally:
        for handle in handles:
            handle.remove()
    found = []
    for level, (both, module) in enumerate(zip(compared, net.reasoning, strict=True)):
        nearest = [min(int(v / 2**level + 0.5), n - 1) for v, n in zip(voxel, both.shape[2:], strict=True)]
        found.append(
            _Relation(2**level, nearest, neighbourhood_weights(both[0], both[1], cast(Any, module).size, nearest))
        )
    return odds, found


def _related(
    level: int, relation: _Relation, first: Sequence[int], shape: Sequence[int], grid: Grid, field: DisplacementField
) -> Related:
    size, stride = relation.weights.shape[0], relation.stride
    offsets = np.stack(np.meshgrid(*[np.arange(size) - size // 2] * 3, indexing="ij"), -1).reshape(-1, 3)
    in_window = (np.asarray(relation.voxel) + offsets) * stride
    weights = relation.weights.detach().cpu().double().numpy().ravel()
    inside = ((in_window >= 0) & (in_window < np.asarray(shape))).all(1)
    order = np.flatnonzero(inside)[np.argsort(-weights[inside], kind="stable")]

    def world(index: np.ndarray) -> np.ndarray:
        return (index + np.asarray(first)) @ grid.affine[:3, :3].T + grid.affine[:3, 3]

    def moved(points: np.ndarray) -> np.ndarray:
        return field.map(torch.from_numpy(points)).numpy()

    target = world(np.asarray(relation.voxel)[None] * stride)
    places, beyond = moved(world(in_window[order])), float(weights[~inside].sum())
    return Related(level, size, grid.spacing * stride, target[0], moved(target)[0], places, weights[order], beyond)
