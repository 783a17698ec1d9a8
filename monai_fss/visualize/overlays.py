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
from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform

__all__ = ["COLOURS", "overlay", "to_png"]

# Okabe and Ito's colour-blind-safe palette without black; the dark blue, hard to see on a scan, comes last.
COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#009E73", "#D55E00", "#CC79A7", "#0072B2")
STYLES = ("-", (0, (4, 1.5)))  # a second round through the colours is dashed
TRUTH_COLOUR = "white"


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
    _check(image, label, truth, spacing, n_slices)
    image, size = _to_las(np.asarray(image), spacing, axcodes)
    label = _to_las(np.asarray(label), spacing, axcodes)[0]
    truth = None if truth is None else _to_las(np.asarray(truth), spacing, axcodes)[0]
    marked = label > 0 if truth is None else (label > 0) | (truth > 0)
    slices = _slices(marked, n_slices)
    figure, panels = _grid(image.shape[1] * size[1] / (image.shape[0] * size[0]), len(slices))
    window = tuple(np.percentile(image, (1, 99.5)))
    for panel, index in zip(panels, slices, strict=True):
        _picture(panel, image[:, :, index], size, window)
        panel.text(0.97, 0.03, f"slice {index}", transform=panel.transAxes, color="white", fontsize=8, ha="right")
        if truth is not None:
            _contours(panel, truth[:, :, index], size, dict.fromkeys(_values(truth), (TRUTH_COLOUR, "-")), 1.0)
        _contours(panel, label[:, :, index], size, _styles(_values(label), names), 1.3)
    panels[0].text(0.03, 0.5, "R", transform=panels[0].transAxes, color="white", fontsize=9, va="center")
    empty = "" if label.any() else "no voxel"
    figure.suptitle(" - ".join(part for part in (title, empty) if part), fontsize=11)
    _legend(figure, label, names, truth is not None)
    return figure


def to_png(figure: Figure, dpi: int = 120) -> bytes:
    """Render a figure.

    Args:
        figure: a figure of this package.
        dpi: dots per inch; the default suits a screen.

    Returns:
        The bytes of a PNG file.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _check(
    image: np.ndarray, label: np.ndarray, truth: np.ndarray | None, spacing: Sequence[float], n_slices: int
) -> None:
    for name, array in (("label", label), ("truth", image if truth is None else truth)):
        if np.ndim(image) != 3 or np.shape(array) != np.shape(image):
            raise ValueError(
                f"{name}: its shape {np.shape(array)} does not fit the image of shape {np.shape(image)}. "
                "Give volumes (H, W, D) on the same voxel grid."
            )
    if len(spacing) != 3 or not all(math.isfinite(value) and value > 0 for value in spacing):
        raise ValueError(f"spacing: {list(spacing)} is not a voxel size. Give three positive values in mm.")
    if not np.isfinite(image).all():
        raise ValueError("image: it has voxels that are not finite. Repair the scan.")
    if n_slices < 1:
        raise ValueError(f"n_slices: {n_slices} is less than 1. Ask for at least one slice.")


def _to_las(volume: np.ndarray, spacing: Sequence[float], axcodes: Sequence[str]) -> tuple[np.ndarray, list[float]]:
    """Array order in which the first index runs to the patient's left and the second one to anterior."""
    change = ornt_transform(axcodes2ornt(tuple(axcodes)), axcodes2ornt("LAS"))
    size = [0.0, 0.0, 0.0]
    for axis, target in enumerate(change[:, 0].astype(int)):
        size[target] = float(spacing[axis])
    return apply_orientation(volume, change), size


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


def _grid(aspect: float, count: int) -> tuple[Figure, list[Axes]]:
    columns = math.ceil(math.sqrt(count))
    rows, width, margin = math.ceil(count / columns), 2.6, 0.9
    figure = Figure(figsize=(columns * width, rows * width * aspect + margin), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    return figure, list(axes[:count])


def _picture(panel: Axes, plane: np.ndarray, size: Sequence[float], window: Sequence[float]) -> None:
    extent = (0, plane.shape[0] * size[0], 0, plane.shape[1] * size[1])
    low, high = window[0], max(window[1], window[0] + 1e-6)
    panel.imshow(plane.T, cmap="gray", origin="lower", extent=extent, vmin=low, vmax=high, interpolation="bilinear")


def _contours(panel: Axes, plane: np.ndarray, size: Sequence[float], styles: Mapping[int, tuple], width: float) -> None:
    # One voxel of padding closes the contours of masks that touch the edge of the scan.
    x, y = ((np.arange(-1, count + 1) + 0.5) * step for count, step in zip(plane.shape, size, strict=False))
    for value, (colour, style) in styles.items():
        mask = np.pad(plane == value, 1)
        if mask.any():
            lines = panel.contour(x, y, mask.T.astype(float), levels=[0.5], colors=[colour], linewidths=width)
            lines.set_linestyle([style])
    panel.set(xlim=(0, plane.shape[0] * size[0]), ylim=(0, plane.shape[1] * size[1]))


def _values(label: np.ndarray) -> list[int]:
    return [int(value) for value in np.unique(label) if value != 0]


def _styles(values: Sequence[int], names: Mapping[int, str]) -> dict[int, tuple]:
    """Colour and line of each value, the same whichever of the named ones are present."""
    order = [*names, *(value for value in values if value not in names)]
    count = len(COLOURS)
    return {value: (COLOURS[i % count], STYLES[i // count % len(STYLES)]) for i, value in enumerate(order)}


def _legend(figure: Figure, label: np.ndarray, names: Mapping[int, str], with_truth: bool) -> None:
    present = _values(label)
    handles = []
    for value, (colour, style) in _styles(present, names).items():
        text = names.get(value, f"label {value}") + ("" if value in present else " (no voxel)")
        handles.append(Line2D([], [], color=colour, linestyle=style, linewidth=2, label=text))
    if with_truth:
        handles.append(Line2D([], [], color=TRUTH_COLOUR, linewidth=2, label="truth"))
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=min(len(handles), 4),
            fontsize=8,
            facecolor="#404040",
            labelcolor="white",
        )
