# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The one place that decides which scans and labels are acceptable."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from monai_fss.data.problems import Findings
from monai_fss.data.reading.geometry import spacing_of
from monai_fss.data.reading.labels import Grid, read_label
from monai_fss.data.reading.once import file_key, judged_once
from monai_fss.data.reading.volume import read_volume
from monai_fss.data.reading.voxels import check_finite, count_values, looks_like_labels

__all__ = ["Label", "Scan", "check_label", "check_scan", "check_support"]

_SAMPLE = 100_000


@dataclass(frozen=True, eq=False)
class Scan:
    """
    What is known of an acceptable image; the voxels themselves are not kept.

    Args:
        path: the file or DICOM folder.
        shape: (H, W, D) in voxels.
        affine: 4 x 4, voxel index to mm in RAS+.
        spacing: mm along H, W, D.
        dtype: name of the voxel type, on disk for NIfTI and as read for other formats.
        minimum: least voxel value (HU for CT).
        maximum: greatest voxel value.
        low: 1st percentile of an even sample of at most 100,000 voxels.
        high: 99th percentile of the same.
        digest: hash of shape and voxel values, the same for every encoding of the same volume.
        label_like: whether its voxels look like labels, see :func:`.voxels.looks_like_labels`. Default: not.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: np.ndarray
    spacing: tuple[float, float, float]
    dtype: str
    minimum: float
    maximum: float
    low: float
    high: float
    digest: str
    label_like: bool = False

    @property
    def grid(self) -> Grid:
        """Its voxels."""
        return Grid(self.path, self.affine, self.shape)


@dataclass(frozen=True, eq=False)
class Label:
    """
    What is known of an acceptable label.

    Args:
        path: the file.
        shape: (H, W, D) in voxels: its image's, where that is known.
        affine: 4 x 4, voxel index to mm in RAS+, of axes in its image's order.
        counts: value to number of voxels, background 0 left out, in rising order.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: np.ndarray
    counts: dict[int, int]


def check_scan(path: str | Path) -> Scan:
    """
    Decide whether an image can be worked with.

    NIfTI is read through nibabel; NRRD, MHA and DICOM series folders through MONAI's ITK reader.

    Args:
        path: one image.

    Returns:
        what is known of it.

    Raises:
        ScanError: with every problem: missing, unreadable, truncated or empty file, header against bytes on disk, not
            one 3-D volume, not one real number per voxel, NaN or infinite voxels, constant voxels, unusable affine.

    Warns:
        InputWarning: spacing outside 0.1-20 mm, a sheared affine, a header without orientation.

    Example::

        check_scan("images/case_07.nii.gz").spacing  # (1.25, 1.25, 7.7)
    """
    found = Findings(Path(path))
    scan = _scan(Path(path), found)
    found.raise_if_any()
    assert scan is not None  # raise_if_any() raises whenever _scan gives None
    return scan


def check_label(path: str | Path, like: Scan | None) -> Label:
    """
    Decide whether a label belongs to its image.

    Args:
        path: the label; integers, 0 is background.
        like: its image. The label must be on its voxels, the corners within 1e-3 voxel: its axes may be in another
            order or direction, and it may cover a box of the image (see :func:`read_label`). None, where the image is
            bad itself: only the label is looked at.

    Returns:
        which values it has and how often. A label of zeros is acceptable here: the image may show no organ.

    Raises:
        ScanError: with every problem: those of reading (see :func:`check_scan`), another geometry than the image's
            (both are printed), fractional, negative or NaN values (the first one is printed).

    Warns:
        InputWarning: those of reading; a label that fits by the second form of a NIfTI header alone, or covers a part
            of its image.
    """
    found = Findings(Path(path))
    label = _label(Path(path), like, found)
    found.raise_if_any()
    assert label is not None  # raise_if_any() raises whenever _label gives None
    return label


def check_support(
    image: str | Path,
    label: str | Path,
    wanted: Sequence[int] | None = None,
    names: Mapping[str, int] | None = None,
) -> tuple[Scan, Label]:
    """
    Decide whether an image and its label can be the support.

    Args:
        image: the labelled scan.
        label: its label.
        wanted: the values to segment; ``None`` takes all that are present.
        names: organ name to value, for the texts.

    Returns:
        image and label.

    Raises:
        ScanError: with every problem of both files; a label of zeros; a wanted value without a voxel.
    """
    about_image, about_label = Findings(Path(image)), Findings(Path(label))
    scan = _scan(Path(image), about_image)
    known = _label(Path(label), scan, about_label)
    if known is not None:
        _check_wanted(known, wanted, names or {}, about_label)
    both = Findings(image, about_image.problems + about_label.problems, about_image.doubts + about_label.doubts)
    both.raise_if_any()
    assert scan is not None and known is not None  # raise_if_any() raises otherwise
    return scan, known


def _check_wanted(label: Label, wanted: Sequence[int] | None, names: Mapping[str, int], found: Findings) -> None:
    if not label.counts:
        found.refuse("support label has no labelled voxel (all are 0)", "Label at least one organ in it")
        return
    text = {value: f"{value} ({name})" for name, value in names.items()}
    present = ", ".join(text.get(v, str(v)) for v in label.counts)
    for value in wanted or ():
        if value < 1:
            found.refuse(f"label {value} cannot be asked for", f"Ask for positive values; present are {present}")
        elif value not in label.counts:
            found.refuse(
                f"label {text.get(value, value)} has no voxel; present are {present}",
                "Ask for one of these or label it in the support",
            )


def _scan(path: Path, found: Findings) -> Scan | None:
    key = ("scan", str(path), file_key(path))
    return cast("Scan | None", judged_once(key, found, lambda: _judged_scan(path, found)))


def _judged_scan(path: Path, found: Findings) -> Scan | None:
    volume = read_volume(path, found)
    if volume is None or volume.array is None:
        return None
    array = volume.array
    if not check_finite(array, found):
        return None
    minimum, maximum = float(array.min()), float(array.max())
    if minimum == maximum:
        found.refuse(f"image is constant (all voxels are {minimum:g})", "Export it again or leave it out")
    if found.problems or volume.affine is None:
        return None
    flat = array.ravel(order="K")
    low, high = np.percentile(flat[:: -(-flat.size // _SAMPLE)], (1, 99))
    shape = (array.shape[0], array.shape[1], array.shape[2])
    digest = hashlib.blake2b(repr(shape).encode(), digest_size=16)
    for last in range(shape[2]):  # a slice at a time: a copy of a whole scan is large
        digest.update(np.asarray(array[..., last], dtype=np.float32, order="F").T.data)
    return Scan(
        path=path,
        shape=shape,
        affine=volume.affine,
        spacing=spacing_of(volume.affine),
        dtype=str(volume.dtype.name),
        minimum=minimum,
        maximum=maximum,
        low=float(low),
        high=float(high),
        digest=digest.hexdigest(),
        label_like=looks_like_labels(array),
    )


def _label(path: Path, like: Scan | None, found: Findings) -> Label | None:
    key = ("label", str(path), file_key(path), None if like is None else file_key(like.path))
    return cast("Label | None", judged_once(key, found, lambda: _judged_label(path, like, found)))


def _judged_label(path: Path, like: Scan | None, found: Findings) -> Label | None:
    volume = read_label(path, None if like is None else like.grid, found)
    if found.problems or volume is None or volume.array is None or volume.affine is None:
        return None
    shape = volume.array.shape
    return Label(path, (shape[0], shape[1], shape[2]), volume.affine, count_values(volume.array))
