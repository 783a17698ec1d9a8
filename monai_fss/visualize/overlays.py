# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pictures of masks: contours on slices of the scan."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from monai_fss.visualize.slices import (
    TRUTH_COLOUR,
    check_volumes,
    contours,
    grey_window,
    label_styles,
    label_values,
    legend_below,
    picture,
    to_las,
)

__all__ = ["overlay", "to_png"]

LEGEND_COLUMNS = 4


def overlay(
    image: np.ndarray,
    label: np.ndarray,
    spacing: Sequence[float],
    names: Mapping[int, str],
    n_slices: int = 6,
    title: str = "",
    *,
    truth: np.ndarray | None = None,
    axcodes: Sequence[str] = "RAS",
) -> Figure:
    """Draw the contours of a label map on axial slices of its scan.

    The slices are spaced evenly over the labelled extent, and the one with the largest labelled area is always among
    them. The display is radiological: the patient's right is on the left of the picture (marked R) and anterior is at
    the top; slices are numbered from below. Grey values run from the 1st to the 99.5th percentile of the scan, so
    that a few bright voxels do not darken it. Contours, not fillings, leave the anatomy below visible; the palette is
    colour-blind safe.

    Args:
        image: scan (H, W, D).
        label: label map (H, W, D) of integers, 0 is background.
        spacing: voxel size in mm of H, W, D; the pictures have the aspect of the body.
        names: name of each label value for the legend; a value without a name is called "label <value>".
        n_slices: number of pictures; fewer where the labelled extent has fewer slices.
        title: title of the figure.
        truth: label map (H, W, D) to compare with; its contours are drawn in white below the others.
        axcodes: direction of each array axis as ``nibabel.aff2axcodes(affine)`` gives it; default what
            ``nibabel.as_closest_canonical`` and MONAI's ``Orientationd(axcodes="RAS")`` produce.

    Returns:
        A figure of its own canvas (no global state of pyplot); :py:func:`to_png` turns it into bytes. Without any
        labelled voxel slices of the middle half are shown and the figure says so.

    Raises:
        ValueError: where the shapes differ or are not 3-D, the spacing does not fit, the image is not finite, or
            ``n_slices`` is less than 1.
    """
    check_volumes(image, {"label": label} if truth is None else {"label": label, "truth": truth}, spacing)
    if n_slices < 1:
        raise ValueError(f"n_slices: {n_slices} is less than 1. Ask for at least one slice.")
    image, size = to_las(np.asarray(image), spacing, axcodes)
    label = to_las(np.asarray(label), spacing, axcodes)[0]
    truth = None if truth is None else to_las(np.asarray(truth), spacing, axcodes)[0]
    marked = label > 0 if truth is None else (label > 0) | (truth > 0)
    slices = _slices(marked, n_slices)
    present = label_values(label)
    styles = label_styles(present, names)
    known = {} if truth is None else dict.fromkeys(label_values(truth), (TRUTH_COLOUR, "-"))
    aspect = image.shape[1] * size[1] / (image.shape[0] * size[0])
    figure, panels = _grid(aspect, len(slices), len(styles) + (truth is not None))
    window = grey_window(image)
    for panel, index in zip(panels, slices, strict=True):
        picture(panel, image[:, :, index], size, window)
        panel.text(0.97, 0.03, f"slice {index}", transform=panel.transAxes, color="white", fontsize=8, ha="right")
        if truth is not None:
            contours(panel, truth[:, :, index], size, known, 1.0)
        contours(panel, label[:, :, index], size, styles, 1.3)
    panels[0].text(0.03, 0.5, "R", transform=panels[0].transAxes, color="white", fontsize=9, va="center")
    empty = "" if present else "no voxel"
    figure.suptitle(" - ".join(part for part in (title, empty) if part), fontsize=11)
    _legend(figure, styles, present, names, truth is not None)
    return figure


def to_png(figure: Figure, dpi: int = 120) -> bytes:
    """Render a figure.

    Args:
        figure: a figure of this package.
        dpi: dots per inch; the default suits a screen.

    Returns:
        The bytes of a PNG file.
    """
    for text in figure.findobj(Text):  # names of scans and organs, in which "$" is no mathematics
        text.set_parse_math(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _slices(marked: np.ndarray, count: int) -> list[int]:
    area = marked.sum(axis=(0, 1))
    used = np.flatnonzero(area)
    if used.size == 0:
        middle_half = np.linspace(0.25, 0.75, count) if count > 1 else np.array([0.5])
        return [int(index) for index in np.unique(np.round(middle_half * (marked.shape[2] - 1)))]
    count = min(count, int(used[-1] - used[0]) + 1)
    chosen = np.round(np.linspace(used[0], used[-1], count)).astype(int)
    if count == 1 or area.argmax() not in chosen:
        chosen[np.abs(chosen - area.argmax()).argmin()] = area.argmax()
    return [int(index) for index in chosen]


def _grid(aspect: float, count: int, entries: int) -> tuple[Figure, list[Axes]]:
    columns = math.ceil(math.sqrt(count))
    rows, width = math.ceil(count / columns), 2.6
    margin = 0.9 + 0.2 * max(0, math.ceil(entries / LEGEND_COLUMNS) - 4)  # a legend of many organs is not in the way
    figure = Figure(figsize=(columns * width, rows * width * aspect + margin), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    return figure, list(axes[:count])


def _legend(
    figure: Figure,
    styles: Mapping[int, tuple],
    present: Sequence[int],
    names: Mapping[int, str],
    with_truth: bool,
) -> None:
    handles = []
    for value, (colour, style) in styles.items():
        text = names.get(value, f"label {value}") + ("" if value in present else " (no voxel)")
        handles.append(Line2D([], [], color=colour, linestyle=style, linewidth=2, label=text))
    if with_truth:
        handles.append(Line2D([], [], color=TRUTH_COLOUR, linewidth=2, label="truth"))
    if handles:
        legend_below(figure, handles, LEGEND_COLUMNS)
