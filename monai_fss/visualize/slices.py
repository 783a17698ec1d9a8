# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What all pictures of slices share: the side on which the patient lies, colours, grey values and contours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform

from monai_fss.data.segments.palette import COLOURS, organ_colours
from monai_fss.transforms import label_boxes

__all__ = [
    "COLOURS",
    "TRUTH_COLOUR",
    "check_volumes",
    "contours",
    "grey_window",
    "label_styles",
    "label_values",
    "legend_below",
    "picture",
    "points_to_las",
    "to_las",
]

STYLES = ("-", (0, (4, 1.5)))  # a second round through the colours is dashed
TRUTH_COLOUR = "white"
_SAMPLE = 1 << 22


def check_volumes(image: np.ndarray, labels: Mapping[str, np.ndarray], spacing: Sequence[float]) -> None:
    """Refuse what is not a finite scan (H, W, D) with label maps of its shape and a voxel size in mm.

    Raises:
        ValueError: naming what does not fit.
    """
    for name, array in labels.items():
        if np.ndim(image) != 3 or np.shape(array) != np.shape(image):
            raise ValueError(
                f"{name}: its shape {np.shape(array)} does not fit the image of shape {np.shape(image)}. "
                "Give volumes (H, W, D) on the same voxel grid."
            )
    if len(spacing) != 3 or not all(math.isfinite(value) and value > 0 for value in spacing):
        raise ValueError(f"spacing: {list(spacing)} is not a voxel size. Give three positive values in mm.")
    if image.dtype.kind not in "biu" and not np.isfinite(image).all():
        raise ValueError("image: it has voxels that are not finite. Repair the scan.")


def to_las(volume: np.ndarray, spacing: Sequence[float], axcodes: Sequence[str]) -> tuple[np.ndarray, list[float]]:
    """Array order in which the first index runs to the patient's left and the second one to anterior."""
    change = ornt_transform(axcodes2ornt(tuple(axcodes)), axcodes2ornt("LAS"))
    size = [0.0, 0.0, 0.0]
    for axis, target in enumerate(change[:, 0].astype(int)):
        size[target] = float(spacing[axis])
    return apply_orientation(volume, change), size


def points_to_las(
    points: np.ndarray, shape: Sequence[int], spacing: Sequence[float], axcodes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (N, 3) of a volume of that shape where :func:`to_las` puts them.

    Returns:
        mm (N, 2) in the picture, of the voxels' middles; slice (N,).
    """
    change = ornt_transform(axcodes2ornt(tuple(axcodes)), axcodes2ornt("LAS"))
    moved, size = np.zeros((len(points), 3)), np.ones(3)
    for axis, (target, flip) in enumerate(change.astype(int)):
        moved[:, target] = points[:, axis] if flip == 1 else shape[axis] - 1 - points[:, axis]
        size[target] = spacing[axis]
    return ((moved + 0.5) * size)[:, :2], moved[:, 2].astype(int)


def grey_window(image: np.ndarray) -> tuple[float, float]:
    """1st and 99.5th percentile of a scan (H, W, D), of a large one those of an even sample of its voxels."""
    step = max(1, int(np.ceil((image.size / _SAMPLE) ** (1 / 3))))
    low, high = np.percentile(image[::step, ::step, ::step], (1, 99.5))
    return float(low), float(high)


def picture(panel: Axes, plane: np.ndarray, size: Sequence[float], window: Sequence[float]) -> None:
    """Draw a slice (H, W) of :func:`to_las`, in mm, its grey values within the window."""
    extent = (0, plane.shape[0] * size[0], 0, plane.shape[1] * size[1])
    low, high = window[0], max(window[1], window[0] + 1e-6)
    panel.imshow(plane.T, cmap="gray", origin="lower", extent=extent, vmin=low, vmax=high, interpolation="bilinear")


def contours(panel: Axes, plane: np.ndarray, size: Sequence[float], styles: Mapping[int, tuple], width: float) -> None:
    """Draw the contours of some values of a slice of a label map, over :func:`picture`."""
    # One voxel of padding closes the contours of masks that touch the edge of the scan.
    x, y = ((np.arange(-1, count + 1) + 0.5) * step for count, step in zip(plane.shape, size, strict=False))
    for value, (colour, style) in styles.items():
        mask = np.pad(plane == value, 1)
        if mask.any():
            lines = panel.contour(x, y, mask.T.astype(float), levels=[0.5], colors=[colour], linewidths=width)
            lines.set_linestyle([style])
    panel.set(xlim=(0, plane.shape[0] * size[0]), ylim=(0, plane.shape[1] * size[1]))


def legend_below(figure: Figure, handles: Sequence[Line2D], columns: int = 4) -> None:
    """A legend below the pictures; names are shown as they are, one that begins with "_" too."""
    texts = [str(handle.get_label()) for handle in handles]
    legend = figure.legend(
        handles=list(handles),
        labels=[f"entry {number}" for number in range(len(texts))],
        loc="outside lower center",
        ncols=min(len(handles), columns),
        fontsize=8,
        facecolor="#404040",
        labelcolor="white",
    )
    for entry, text in zip(legend.get_texts(), texts, strict=True):
        entry.set_text(text)


def label_values(label: np.ndarray) -> list[int]:
    """Values of a label map in rising order, without 0."""
    return list(label_boxes(label))


def label_styles(values: Sequence[int], names: Mapping[int, str]) -> dict[int, tuple]:
    """Colour and line of each value, the same whichever of the named ones are present."""
    order = [*names, *(value for value in values if value not in names)]
    colours, count = organ_colours(order), len(COLOURS)
    return {value: (colours[value], STYLES[i // count % len(STYLES)]) for i, value in enumerate(colours)}
