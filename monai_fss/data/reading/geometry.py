# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Judging affines: usable at all, plausible, equal to another's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from monai_fss.data.problems import Findings

__all__ = ["affine_text", "check_affine", "corner_distance", "is_sheared", "spacing_of", "turned_to"]

_PLAUSIBLE_MM = (0.1, 20.0)
_SINGULAR = 1e-6
_SHEARED = 1e-3


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """Return the voxel spacing in mm: the lengths of the three columns of a 4 x 4 affine."""
    x, y, z = voxel_sizes(affine)
    return float(x), float(y), float(z)


def affine_text(affine: np.ndarray) -> str:
    """Return the three rows of an affine that matter on one line."""
    return "[" + ", ".join("[" + ", ".join(f"{v:.5g}" for v in row) + "]" for row in affine[:3]) + "]"


def check_affine(affine: np.ndarray, found: Findings) -> bool:
    """
    Refuse an affine that maps no volume; doubt one that is sheared or whose spacing is outside 0.1-20 mm.

    Args:
        affine: 4 x 4, voxel index to mm.
        found: gets what is wrong.

    Returns:
        True where positions can be computed with it.
    """
    if not np.isfinite(affine).all():
        found.refuse(f"affine has NaN or infinite entries: {affine_text(affine)}", "Export it with its geometry")
        return False
    spacing = spacing_of(affine)
    rounded = tuple(round(s, 4) for s in spacing)
    if min(spacing) == 0:
        found.refuse(f"voxel spacing is {rounded} mm: the affine has a zero column", "Export it with its geometry")
        return False
    directions = affine[:3, :3] / np.asarray(spacing)
    if abs(np.linalg.det(directions)) < _SINGULAR:
        found.refuse(f"affine is singular (two axes agree): {affine_text(affine)}", "Export it with its geometry")
        return False
    if min(spacing) < _PLAUSIBLE_MM[0] or max(spacing) > _PLAUSIBLE_MM[1]:
        found.warn(f"voxel spacing is {rounded} mm", "Is the unit mm? Correct the header if not")
    cosine = _cosine(affine)
    if cosine > _SHEARED:
        degrees = np.degrees(np.arccos(min(cosine, 1.0)))
        found.warn(f"affine is sheared (two axes meet at {degrees:.1f} degrees)", "Distances are approximate")
    return True


def is_sheared(affine: np.ndarray) -> bool:
    """Tell whether two axes of a 4 x 4 affine are not perpendicular."""
    return _cosine(affine) > _SHEARED


def _cosine(affine: np.ndarray) -> float:
    """Of the angle between the two axes that are least perpendicular."""
    directions = affine[:3, :3] / np.asarray(spacing_of(affine))
    return float(np.abs(directions.T @ directions - np.eye(3)).max())


def corner_distance(affine: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> float:
    """
    Measure how far two affines put the corners of one volume apart.

    Args:
        affine: 4 x 4, of the volume whose voxels are the unit.
        other: 4 x 4, the one compared.
        shape: (H, W, D) of the volume.

    Returns:
        the largest shift along one axis over the eight corners, in voxels of ``affine``. An axis of one voxel counts
        with its far side, so that its direction and spacing are compared as well.
    """
    corners = np.array([(*c, 1.0) for c in product(*((0, max(n - 1, 1)) for n in shape))])
    shift = corners @ (np.linalg.inv(affine) @ other).T - corners
    return float(np.abs(shift).max())


def turned_to(grid: np.ndarray, array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Put the axes of a volume into the order and direction of another grid's; every voxel stays where it is.

    Args:
        grid: 4 x 4, voxel index to mm, whose axes are wanted.
        array: (H, W, D).
        affine: 4 x 4, of ``array``.

    Returns:
        the array with its axes permuted and flipped, and its affine.
    """
    order = nib.orientations.io_orientation(np.linalg.inv(grid) @ affine)
    turned = nib.orientations.apply_orientation(array, order)
    return turned, affine @ nib.orientations.inv_ornt_aff(order, array.shape)
