# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Three planes through an organ in true proportions: the picture, and its contours as a layer of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from monai_fss.transforms import label_boxes
from monai_fss.visualize.slices import check_volumes, to_las

__all__ = ["LETTERS", "PIXELS", "Plane", "organ_planes", "outlines_svg", "planes_picture"]

PIXELS = 256
"""Edge of each plane's picture: three of them side by side fit on a laptop's screen."""
LEAST_MM, AROUND = 80.0, 1.5  # a plane shows this much at least, and so many times the organ's extent
_SIMPLER = 0.2  # pixels by which a contour may be off the edges of its voxels
Box = tuple[slice, slice, slice]

# Axes of a volume of `to_las` across and down each plane, and whether they run against it: radiological display, and
# anterior to the left in the sagittal plane.
_VIEWS = {
    "axial": (2, (0, False), (1, True)),
    "coronal": (1, (0, False), (2, True)),
    "sagittal": (0, (1, True), (2, True)),
}
LETTERS = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
"""What lies to the left, to the right, at the top and at the bottom of each plane."""


class Plane(NamedTuple):
    """
    One plane.

    Args:
        view: "axial", "coronal" or "sagittal".
        number: of its slice, from 0 at the patient's inferior, posterior or right side.
        picture: uint8 (PIXELS, PIXELS), black beyond the scan.
        outlines: label value to its closed contours, each (N, 2): pixels across and down.
        millimetres: edge of the plane, the same in all three of an organ.
    """

    view: str
    number: int
    picture: np.ndarray
    outlines: dict[int, list[np.ndarray]]
    millimetres: float


def organ_planes(
    image: np.ndarray,
    label: np.ndarray,
    spacing: Sequence[float],
    axcodes: Sequence[str],
    window: Sequence[float],
    values: Sequence[int] | None = None,
) -> Iterator[tuple[int, list[Plane]]]:
    """
    Cut the three planes of the largest area through each organ.

    Args:
        image: scan (H, W, D).
        label: its label map (H, W, D), 0 is background.
        spacing: voxel size in mm of H, W, D.
        axcodes: direction of each array axis, as ``nibabel.aff2axcodes(affine)`` gives it.
        window: grey values that are black and white.
        values: label values wanted. Default: those that are there. Of one without a voxel the planes go through the
            middle of the scan and show all of it.

    Yields:
        label value, and its axial, coronal and sagittal plane. Planes show the organ's box and half as much around it,
        80 mm at least and no more than the scan, with the contours of all label values.

    Raises:
        ValueError: as :func:`monai_fss.visualize.overlay`.
    """
    check_volumes(image, {"label": label}, spacing)
    image, size = to_las(np.asarray(image), spacing, axcodes)
    label = to_las(np.asarray(label), spacing, axcodes)[0]
    boxes = label_boxes(label)
    for value in boxes if values is None else values:
        box = boxes.get(value)
        organ = None if box is None else label[box] == value
        yield value, [_plane(view, image, label, boxes, size, window, organ, box) for view in _VIEWS]


def planes_picture(planes: Sequence[Plane]) -> np.ndarray:
    """Planes side by side: uint8 (PIXELS, 3 * PIXELS)."""
    return np.hstack([plane.picture for plane in planes])


def outlines_svg(planes: Sequence[Plane], styles: Mapping[int, tuple], value: int) -> str:
    """
    The contours of :func:`planes_picture` as SVG, transparent elsewhere.

    Args:
        planes: of one organ.
        styles: label value to colour and line, see :func:`monai_fss.visualize.label_styles`.
        value: the organ, drawn thick and on a black rim; the others are thin and dotted.
    """
    size = f'width="{PIXELS * len(planes)}" height="{PIXELS}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} fill="none">']
    for number, plane in enumerate(planes):  # an svg within an svg cuts off what leaves its plane
        parts.append(f'<svg x="{number * PIXELS}" width="{PIXELS}" height="{PIXELS}">')
        for other in sorted(plane.outlines, key=lambda own: own == value):  # the organ is on top
            path, (colour, line) = _path(plane.outlines[other]), styles[other]
            if other != value:
                parts.append(f'<path d="{path}" stroke="{colour}" stroke-width="1.6" stroke-dasharray="2 2.5"/>')
                continue
            dashes = "" if line == "-" else ' stroke-dasharray="7 3"'
            parts.append(f'<path d="{path}" stroke="#000" stroke-width="4" stroke-opacity="0.6"/>')
            parts.append(f'<path d="{path}" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts.append("</svg>")
    return "".join([*parts, "</svg>\n"])


def _path(lines: Sequence[np.ndarray]) -> str:
    return "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line[:-1]) + "Z" for line in lines)


def _plane(
    view: str,
    image: np.ndarray,
    label: np.ndarray,
    boxes: Mapping[int, Box],
    size: Sequence[float],
    window: Sequence[float],
    organ: np.ndarray | None,
    box: Box | None,
) -> Plane:
    through, across, down = _VIEWS[view]
    lengths = [count * step for count, step in zip(image.shape, size, strict=True)]
    number, centre, edge = image.shape[through] // 2, [length / 2 for length in lengths], max(lengths)
    if organ is not None and box is not None:
        number = box[through].start + _largest(organ, through)
        extents = [(part.stop - part.start) * step for part, step in zip(box, size, strict=True)]
        centre = [(part.start + part.stop) * step / 2 for part, step in zip(box, size, strict=True)]
        edge = min(edge, max(LEAST_MM, AROUND * max(extents)))
    starts = [_start(centre[axis], lengths[axis], edge, turned) for axis, turned in (across, down)]
    steps = [size[axis] for axis, _ in (across, down)]
    picture = _resized(_displayed(image, through, number, across, down), steps, starts, edge, window)
    outlines = {}
    for value, place in boxes.items():
        if place[through].start <= number < place[through].stop:
            outlines[value] = list(_contours(label, value, place, number, view, size, starts, edge))
    return Plane(view, number, picture, {value: lines for value, lines in outlines.items() if lines}, edge)


def _largest(organ: np.ndarray, through: int) -> int:
    """Index of the slice with most of the organ's voxels."""
    others = tuple(axis for axis in range(3) if axis != through)
    return int(organ.sum(axis=others).argmax())


def _start(centre: float, length: float, edge: float, turned: bool) -> float:
    """mm of the display where the plane begins; negative where the scan is smaller than the plane."""
    start = centre - edge / 2 if not turned else length - centre - edge / 2
    return float(np.clip(start, 0, length - edge)) if length > edge else (length - edge) / 2


def _displayed(
    volume: np.ndarray, through: int, number: int, across: tuple[int, bool], down: tuple[int, bool]
) -> np.ndarray:
    """A slice as it is seen: rows from the top, columns from the left."""
    plane = np.take(volume, number, axis=through)
    if across[0] < down[0]:
        plane = plane.T
    return plane[:: -1 if down[1] else 1, :: -1 if across[1] else 1]


def _resized(
    plane: np.ndarray, steps: Sequence[float], starts: Sequence[float], edge: float, window: Sequence[float]
) -> np.ndarray:
    """(rows, columns) -> uint8 (PIXELS, PIXELS): the part of it from ``starts`` on, ``edge`` mm wide and high."""
    low, high = float(window[0]), max(float(window[1]), float(window[0]) + 1e-6)
    grey = np.round(255 * np.clip((plane.astype(np.float32) - low) / (high - low), 0, 1)).astype(np.uint8)
    scale, canvas = PIXELS / edge, np.zeros((PIXELS, PIXELS), np.uint8)
    box, place = [], []
    for count, step, start in zip(grey.shape[::-1], steps, starts, strict=True):  # across, then down
        first, last = max(0.0, start), min(count * step, start + edge)
        box.append((first / step, min(last / step, count)))
        begin = round((first - start) * scale)
        place.append((begin, max(begin + 1, round((last - start) * scale))))
    (x0, x1), (y0, y1) = place
    part = (box[0][0], box[1][0], box[0][1], box[1][1])
    shown = Image.fromarray(np.ascontiguousarray(grey)).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR, box=part)
    canvas[y0:y1, x0:x1] = np.asarray(shown)[: PIXELS - y0, : PIXELS - x0]
    return canvas


def _contours(
    label: np.ndarray,
    value: int,
    box: Box,
    number: int,
    view: str,
    size: Sequence[float],
    starts: Sequence[float],
    edge: float,
) -> Iterator[np.ndarray]:
    """Closed lines (N, 2) around a value's voxels in a plane, in pixels across and down."""
    through, across, down = _VIEWS[view]
    own = _displayed(label[box] == value, through, number - box[through].start, across, down)
    shift = []
    for axis, turned in (across, down):
        first = box[axis].start if not turned else label.shape[axis] - box[axis].stop
        shift.append(first - 0.5)  # one voxel of padding closes the lines; a voxel's middle is half a voxel in
    for line in find_contours(np.pad(own, 1).astype(np.float32), 0.5):
        voxels = line[:, ::-1] + shift
        mm = voxels * [size[axis] for axis, _ in (across, down)]
        yield approximate_polygon((mm - starts) * (PIXELS / edge), _SIMPLER)
