# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pictures of what a voxel is related to in a labelled scan, level by level (OrganNet's Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from monai_fss.visualize.slices import check_volumes, contours, grey_window, picture, points_to_las, to_las

__all__ = ["RelatedPanel", "Shown", "related_panels"]

_WIDTH = 2.6  # inches of a picture
_COLOURS = "plasma"
_ORGAN = "#009E73"  # green, as in the paper
_LEAST_FIELD = 60.0  # mm from the middle of a detail to its edge, at least
_FADED = 0.15  # opacity of what has no weight


@dataclass(frozen=True, eq=False)
class Shown:
    """A scan (H, W, D) as it is shown, with mm along its axes and their directions.

    Args:
        image: grey values.
        spacing: mm.
        axcodes: as ``nibabel.aff2axcodes`` gives them.
        mask: of an organ, of the image's shape, whose contour is drawn. Default: none.
    """

    image: np.ndarray
    spacing: Sequence[float]
    axcodes: Sequence[str] = "RAS"
    mask: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class RelatedPanel:
    """A row of the picture.

    Args:
        title: of the level.
        spacing: mm between voxels of the level, along right, anterior, superior.
        middle: index (3,) in the anchor where registration puts the voxel, fractions too.
        voxels: (N, 3) such indices of what it is related to.
        weights: (N,).
    """

    title: str
    spacing: Sequence[float]
    middle: np.ndarray
    voxels: np.ndarray
    weights: np.ndarray


def related_panels(
    query: Shown, voxel: Sequence[float], anchor: Shown, levels: Sequence[RelatedPanel], title: str = ""
) -> Figure:
    """Draw a voxel of a query, and level by level where it looks in the anchor.

    A row for each level: the query's slice with the voxel, whole in the first row and as a detail below, then details
    of three slices of the anchor, the middle one through the voxel of most weight, the others one voxel of the level
    below and above. A white cross is where the registration puts the voxel. Squares of the level's voxel size are
    coloured by weight, and lie in the nearest of the three slices; what lies further is not drawn, and each picture
    says the share of the weight that it shows. The anchor's organ has a green contour. The display is radiological and
    slices are numbered from below, as of :func:`overlay`.

    Args:
        query: the scan.
        voxel: index (3,) in it.
        anchor: the labelled scan.
        levels: from shallow to deep, at least one.
        title: of the figure.

    Returns:
        A figure of its own canvas; :func:`to_png` turns it into bytes.

    Raises:
        ValueError: volumes, masks and sizes do not fit one another, or there is no level.
    """
    if not levels:
        raise ValueError("levels: there is none. Give one row at least.")
    for shown in (query, anchor):
        check_volumes(shown.image, {} if shown.mask is None else {"mask": shown.mask}, shown.spacing)
    field = max([_LEAST_FIELD, *(_reach(level) for level in levels)])
    figure = Figure(figsize=(4 * _WIDTH + 0.7, len(levels) * (_WIDTH + 0.3) + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(levels), 4, squeeze=False)
    for axis in rows.ravel():
        axis.set(xticks=[], yticks=[], facecolor="black")
    drawn = [_Drawn(shown) for shown in (query, anchor)]
    for number, (panels, level) in enumerate(zip(rows, levels, strict=True)):
        _target(panels[0], drawn[0], voxel, field if number else None)
        panels[0].set_title(level.title, fontsize=8, loc="left")
        _anchor(panels[1:], drawn[1], level, field)
        colours = ScalarMappable(Normalize(0, _most(level)), _COLOURS)
        figure.colorbar(colours, ax=list(panels), fraction=0.03, pad=0.01).ax.tick_params(labelsize=7)
    rows[0, 0].text(0.02, 0.5, "R", transform=rows[0, 0].transAxes, color="white", fontsize=9, va="center")
    figure.suptitle(title, fontsize=10)
    return figure


class _Drawn:
    """A scan in the order of :func:`to_las`."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.image, self.size = to_las(np.asarray(shown.image), shown.spacing, shown.axcodes)
        self.mask = None if shown.mask is None else to_las(np.asarray(shown.mask), shown.spacing, shown.axcodes)[0]
        self.window = grey_window(self.image)

    def places(self, voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """mm in the picture, (N, 2), and slice, (N,)."""
        given = (self.shown.image.shape, self.shown.spacing, self.shown.axcodes)
        return points_to_las(voxels, *given)[0], points_to_las(np.floor(voxels + 0.5), *given)[1]

    def draw(self, panel: Axes, index: int, centre: np.ndarray | None, field: float | None) -> None:
        """A slice, or what lies around a place in it."""
        picture(panel, self.image[:, :, index], self.size, self.window)
        if self.mask is not None:
            contours(panel, self.mask[:, :, index], self.size, {1: (_ORGAN, "-")}, 1.2)
        panel.set(xlim=(0, self.image.shape[0] * self.size[0]), ylim=(0, self.image.shape[1] * self.size[1]))
        if field is not None and centre is not None:
            panel.set(xlim=(centre[0] - field, centre[0] + field), ylim=(centre[1] - field, centre[1] + field))
        panel.text(0.97, 0.03, f"slice {index}", transform=panel.transAxes, color="white", fontsize=7, ha="right")


def _most(level: RelatedPanel) -> float:
    return max(float(np.max(level.weights, initial=0.0)), 1e-12)


def _reach(level: RelatedPanel) -> float:
    """mm in plane, about, from the middle to the edge of the outermost related voxel."""
    return (round(len(level.weights) ** (1 / 3)) + 1) * max(level.spacing[:2]) / 2


def _target(panel: Axes, query: _Drawn, voxel: Sequence[float], field: float | None) -> None:
    place, index = query.places(np.asarray(voxel, float)[None])
    query.draw(panel, int(index[0]), place[0], field)
    panel.plot(*place[0], "o", markersize=6, markerfacecolor="white", markeredgecolor="red", markeredgewidth=1.5)


def _anchor(panels: Sequence[Axes], anchor: _Drawn, level: RelatedPanel, field: float) -> None:
    places, slices = anchor.places(np.asarray(level.voxels, float))
    own, own_slice = anchor.places(np.asarray(level.middle, float)[None])
    best = slices[int(np.argmax(level.weights))] if len(slices) else own_slice[0]
    depth = anchor.image.shape[2]
    step = max(1, round(float(level.spacing[2]) / anchor.size[2]))
    middle = int(np.clip(best, 0, depth - 1))
    for panel, index in zip(panels, (middle - step, middle, middle + step), strict=True):
        if not 0 <= index < depth:
            panel.set_axis_off()
            continue
        anchor.draw(panel, index, own[0], field)
        here = _belongs(slices, index, middle, step)
        if here.any():
            _squares(panel, places[here], np.asarray(level.weights)[here], level)
        share = float(np.asarray(level.weights)[here].sum())
        if _belongs(own_slice, index, middle, step)[0]:
            panel.plot(*own[0], "+", color="white", markersize=7)
        panel.text(0.03, 0.93, f"{100 * share:.0f} %", transform=panel.transAxes, color="white", fontsize=7)


def _belongs(slices: np.ndarray, index: int, middle: int, step: int) -> np.ndarray:
    """Which of the slices are nearest to the one that is shown; what lies half-way is the middle one's."""
    near = np.abs(slices - index) * 2 <= step if index == middle else np.abs(slices - index) * 2 < step
    return np.asarray(near)


def _squares(panel: Axes, places: np.ndarray, weights: np.ndarray, level: RelatedPanel) -> None:
    width, height = 0.85 * level.spacing[0], 0.85 * level.spacing[1]
    order = np.argsort(weights)  # the heaviest on top
    squares = [Rectangle((x - width / 2, y - height / 2), width, height) for x, y in places[order]]
    made = PatchCollection(squares, cmap=_COLOURS, norm=Normalize(0, _most(level)), linewidths=0)
    made.set_array(weights[order])
    made.set_alpha((_FADED + (0.9 - _FADED) * weights[order] / _most(level)).tolist())
    panel.add_collection(made)
