# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Labels as whole numbers on the voxels of their image, however their own file stores them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monai_fss.data.problems import Findings
from monai_fss.data.reading.geometry import affine_text, corner_distance, turned_to
from monai_fss.data.reading.nifti import Volume, other_form
from monai_fss.data.reading.segmentations.dicom_object import is_segmentation_object, read_dicom_segments
from monai_fss.data.reading.segmentations.layers import is_slicers, read_layers
from monai_fss.data.reading.volume import read_volume
from monai_fss.data.reading.voxels import check_finite, whole_numbers

__all__ = ["Grid", "read_label"]

_SAME_VOXELS = 1e-3
_SAME_VOXELS_OTHER_FORM = 0.05  # a qform is of single precision: large oblique scans are off by some thousandths


class Grid(NamedTuple):
    """
    The voxels of an image.

    Args:
        path: file of the image, for the texts and for the second form of a NIfTI header.
        affine: 4 x 4, voxel index to mm in RAS+.
        shape: (H, W, D) in voxels.
    """

    path: Path
    affine: np.ndarray
    shape: tuple[int, int, int]


def read_label(path: Path, like: Grid | None, found: Findings) -> Volume | None:
    """
    Read a label; every problem goes to ``found``.

    A label on the very voxels of its image is brought to the image's own order, whichever way its axes run. One that
    covers a box of them, as 3D Slicer saves it, is filled up with 0.

    Args:
        path: the label: a file that a scan may be too, a segmentation of 3D Slicer or a DICOM Segmentation object.
        like: its image. None: the label stays on its own grid.
        found: gets what is wrong, or in doubt.

    Returns:
        the label, its array of whole numbers (rounded within 1e-3); without an array, or None, where it is refused.
    """
    volume = _read(path, found)
    if volume is None or volume.array is None:
        return volume
    values = whole_numbers(volume.array, found) if check_finite(volume.array, found) else None
    if values is not None:
        _doubt_merged(volume.dtype, values, found)
    if like is not None and volume.affine is not None:
        placed = _on_voxels(path, volume, volume.array if values is None else values, like, found)
        if placed is None:
            return replace(volume, array=None)
        values, affine = (None if values is None else placed[0]), placed[1]
        return replace(volume, array=values, shape=like.shape, affine=affine)
    return replace(volume, array=values)


def _read(path: Path, found: Findings) -> Volume | None:
    if is_segmentation_object(path):
        return read_dicom_segments(path, found)
    return read_layers(path, found) if is_slicers(path) else read_volume(path, found)


def _doubt_merged(dtype: np.dtype, values: np.ndarray, found: Findings) -> None:
    if dtype == np.float32 and values.size and values.max() > 1 << 24:
        found.warn(
            f"label values up to {int(values.max())} are stored as float32, which merges some above 16777216",
            "Store them as integers of 32 bits",
        )


def _on_voxels(
    path: Path, volume: Volume, values: np.ndarray, like: Grid, found: Findings
) -> tuple[np.ndarray, np.ndarray] | None:
    """The values in the image's voxel order and their affine; None after a refusal."""
    assert volume.affine is not None
    for own, grid, forms in _forms(path, volume.affine, like):
        tolerance = _SAME_VOXELS_OTHER_FORM if forms else _SAME_VOXELS
        turned, affine, first = _turned(values, own, grid, tolerance)
        if first is None or not _allowed(path, volume, turned.shape, first, like, found):
            continue
        if forms:
            found.warn(
                f"label lies on its image {like.path} by {forms} alone; the two forms differ",
                "It is taken voxel by voxel, as the program that drew it shows it. Do not resample it",
            )
        if turned.shape == like.shape:
            return turned, affine if not forms else like.affine
        whole = np.zeros(like.shape, values.dtype, order="F")
        whole[tuple(slice(a, a + n) for a, n in zip(first, turned.shape, strict=True))] = turned
        return whole, like.affine
    _refuse(volume, values, like, found)
    return None


def _forms(path: Path, affine: np.ndarray, like: Grid) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Affines of label and image to compare: those that count, then with the second form of a NIfTI header."""
    yield affine, like.affine, ""
    others = other_form(like.path), other_form(path)
    for image in others[:1]:
        if image is not None:
            yield affine, image[1], f"the {image[0]} of the image"
    if others[1] is not None:
        yield others[1][1], like.affine, f"its {others[1][0]}"
        if others[0] is not None:
            yield others[1][1], others[0][1], f"the {others[0][0]} of both"


def _turned(
    values: np.ndarray, own: np.ndarray, grid: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int] | None]:
    """Values along the grid's axes, their affine, and where in the grid they begin; None: not on its voxels."""
    turned, affine = turned_to(grid, values, own)
    first = np.round((np.linalg.inv(grid) @ affine)[:3, 3])
    expected = grid.copy()
    expected[:3, 3] += grid[:3, :3] @ first
    if corner_distance(expected, affine, turned.shape) > tolerance:
        return turned, affine, None
    return turned, affine, (int(first[0]), int(first[1]), int(first[2]))


def _allowed(
    path: Path, volume: Volume, shape: Sequence[int], first: Sequence[int], like: Grid, found: Findings
) -> bool:
    """Whether a label is all of its image, or a box of it that says so itself."""
    if tuple(shape) == like.shape:
        return not any(first)
    inside = all(a >= 0 and a + n <= whole for a, n, whole in zip(first, shape, like.shape, strict=True))
    if not inside or not volume.placed:
        return False
    if is_slicers(path) or is_segmentation_object(path):
        return True
    if not any(first):  # cropped from the far end, or cropped anyhow under the header of the whole
        return False
    found.warn(
        f"label covers {tuple(shape)} voxels of its image's {like.shape}, from {tuple(first)} on",
        "All others are taken for background",
    )
    return True


def _refuse(volume: Volume, values: np.ndarray, like: Grid, found: Findings) -> None:
    assert volume.affine is not None
    turned, affine = turned_to(like.affine, values, volume.affine)
    if turned.shape != like.shape:
        found.refuse(f"label has shape {values.shape}, its image {like.path} has {like.shape}", "Draw it on that image")
        return
    shift = corner_distance(like.affine, affine, like.shape)
    axes = " after its axes have been put in the image's order" if not np.array_equal(affine, volume.affine) else ""
    found.refuse(
        f"label has affine {affine_text(volume.affine)}, its image {like.path} has {affine_text(like.affine)}"
        f" (corners up to {shift:.3g} voxels apart{axes})",
        "Resample the label to the image, or correct its header",
    )
