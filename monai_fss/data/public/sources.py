# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Finding the cases of a download, and reading an image with its label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from monai_fss.data.cases import natural_key
from monai_fss.data.problems import Findings, ScanError
from monai_fss.data.reading.geometry import affine_text, corner_distance, turned_to
from monai_fss.data.reading.volume import read_scan
from monai_fss.data.reading.voxels import check_finite, count_values, whole_numbers

__all__ = ["LabelledScan", "SourceCase", "mapped", "numbered", "paired", "read_pair"]

_SAME_PLACE = 1e-3  # voxels, as between any image and its label


@dataclass(frozen=True)
class SourceCase:
    """
    One labelled case of a download.

    Args:
        name: of the case in the data set.
        image: scan file, or folder of a DICOM series.
        label: label file, or folder of its slices.
    """

    name: str
    image: Path
    label: Path


@dataclass(frozen=True, eq=False)
class LabelledScan:
    """
    A scan and its label, on one grid.

    Args:
        image: (H, W, D), values as stored.
        label: (H, W, D), uint8, values of the data set.
        affine: 4 x 4, voxel index to mm in RAS+.
        source: file whose header says the same place, or None.
    """

    image: np.ndarray
    label: np.ndarray
    affine: np.ndarray
    source: Path | None = None

    def cropped(self, border: int) -> LabelledScan:
        """Without ``border`` voxels at each end of the first two axes; the voxels that stay keep their places."""
        inside = (slice(border, -border), slice(border, -border)) if border else ()
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :2] @ (border, border)
        return replace(self, image=self.image[inside], label=self.label[inside], affine=affine)

    def clipped(self, window: Sequence[float] | None) -> LabelledScan:
        """With intensities below ``window[0]`` and above ``window[1]`` set to these; None changes nothing."""
        if window is None:
            return self
        clipped = np.clip(self.image.astype(np.float32), window[0], window[1])
        return replace(self, image=clipped.astype(self.image.dtype))


def numbered(source: str | Path, pattern: str, layout: str) -> dict[int, Path]:
    """
    Find what a download numbers, in whatever sub-folders it lies.

    Args:
        source: folder of the download.
        pattern: of the end of the path below ``source`` with "/" between its parts; its first group is the number.
        layout: what the download looks like, for the error: a sentence without full stop.

    Returns:
        number to path, in rising order; empty where nothing matches.

    Raises:
        ScanError: ``source`` is no folder, or a number is there twice.
    """
    source = Path(source)
    if not source.is_dir():
        raise ScanError(f"{source}: is not a folder. {layout}.")
    paths: dict[int, Path] = {}
    found = Findings(source)
    ending = re.compile(rf"(?:.*/)?{pattern}")
    for path in sorted(source.rglob("*")):
        match = ending.fullmatch(path.relative_to(source).as_posix())
        if match is None:
            continue
        number = int(match[1])
        if number in paths:
            found.refuse(f"number {number} is there twice, as {paths[number]} and {path}", "Give the folder of one")
        paths[number] = path
    found.raise_if_any()
    return dict(sorted(paths.items()))


def paired(source: str | Path, images: Mapping[int, Path], labels: Mapping[int, Path], layout: str) -> list[SourceCase]:
    """
    Pair images and labels by their numbers; images without a label, such as those of a test set, are passed over.

    Args:
        source: folder of the download.
        images: number to image.
        labels: number to label.
        layout: see :func:`numbered`.

    Returns:
        the cases ``case_<number>`` in the order of their numbers, which have two digits or more.

    Raises:
        ScanError: there is no label, or one without an image.
    """
    found = Findings(source)
    if not labels:
        found.refuse(f"holds no labelled case ({len(images)} image(s))", layout)
    for number in labels.keys() - images.keys():
        found.refuse(f"{labels[number]} has no image of the same number", layout)
    found.problems.sort(key=natural_key)
    found.raise_if_any()
    return [SourceCase(f"case_{number:02d}", images[number], labels[number]) for number in sorted(labels)]


def mapped(stored: np.ndarray, codes: Mapping[int, int], found: Findings) -> np.ndarray:
    """
    Turn the values of a download into those of the data set.

    Args:
        stored: values of one file; 0 is background.
        codes: value in the file to value in the data set, 0 to 255; 0 leaves the organ out.
        found: gets values that are not in ``codes``.

    Returns:
        uint8, of the shape of ``stored``; without meaning where ``found`` has a problem.
    """
    result = np.zeros(stored.shape, np.uint8)
    values = whole_numbers(stored, found) if check_finite(stored, found) else None
    if values is None:
        return result
    strange = [value for value in count_values(values) if value not in codes]
    if strange:
        found.refuse(
            f"has the value(s) {_some(strange)}; expected are 0 and {_some(codes)}",
            "Is it the label of another set, or was it resampled? Unpack the download again",
        )
    for value, target in codes.items():
        if target:
            result[values == value] = target
    return result


def read_pair(case: SourceCase, codes: Mapping[int, int], ignore_origin: bool = False) -> LabelledScan:
    """
    Read an image and its label file.

    A label whose axes run in another order or direction than the image's is turned to it, by both affines.

    Args:
        case: an image and a label, each a file or a DICOM series folder.
        codes: see :func:`mapped`.
        ignore_origin: take a label of the image's shape, directions and spacing for the image's own voxels, wherever
            its header says that they begin.

    Returns:
        both, on the grid of the image.

    Raises:
        ScanError: with every problem of the two files; another grid, or a value that is not in ``codes``.
    """
    image, affine = read_scan(case.image)
    stored, own = read_scan(case.label)
    found = Findings(case.label)
    stored, own = turned_to(affine, stored, own)
    if ignore_origin:
        own = np.column_stack((own[:, :3], affine[:, 3]))
    if stored.shape != image.shape:
        found.refuse(f"label has shape {stored.shape}, its image {case.image} has {image.shape}", "Unpack both again")
    elif corner_distance(affine, own, image.shape) > _SAME_PLACE:
        found.refuse(
            f"label has affine {affine_text(own)}, its image {case.image} has {affine_text(affine)}",
            "Are they of one case? Label and image must be of one download, not resampled",
        )
    label = mapped(stored, codes, found)
    about_image = Findings(case.image, found.problems)
    check_finite(image, about_image)
    about_image.raise_if_any()
    return LabelledScan(image, label, affine, case.image if case.image.is_file() else None)


def _some(values: Iterable[int]) -> str:
    values = list(values)
    return ", ".join(map(str, values[:10])) + (f" and {len(values) - 10} more" if len(values) > 10 else "")
