# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pictures of scribbles on their way: from the support to a query's points, pseudo-mask and final mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from monai_fss.visualize.slices import (
    check_volumes,
    contours,
    label_styles,
    label_values,
    legend_below,
    picture,
    points_to_las,
    to_las,
)

__all__ = ["propagation_panels"]

_KEPT, _REJECTED, _SCRIBBLE = 6.0, 14.0, 5.0  # areas of the markers in square points
_BACKGROUND = "#BBBBBB"
_WIDTH = 2.3  # inches of a picture


@dataclass(frozen=True, eq=False)
class _Scan:
    """A scan as it is shown: (H, W, D) in the order of :func:`to_las`, mm along its axes, grey values."""

    image: np.ndarray
    size: list[float]
    window: tuple[float, float]

    @classmethod
    def of(cls, image: np.ndarray, spacing: Sequence[float], axcodes: Sequence[str]) -> _Scan:
        shown, size = to_las(np.asarray(image), spacing, axcodes)
        low, high = np.percentile(shown, (1, 99.5))
        return cls(shown, size, (float(low), float(high)))

    def draw(self, panel: Axes, index: int) -> None:
        picture(panel, self.image[:, :, index], self.size, self.window)
        panel.set(xlim=(0, self.image.shape[0] * self.size[0]), ylim=(0, self.image.shape[1] * self.size[1]))
        panel.text(0.97, 0.03, f"slice {index}", transform=panel.transAxes, color="white", fontsize=7, ha="right")


@dataclass(frozen=True, eq=False)
class _Points:
    """Marked voxels: mm (N, 2) in the picture, slice, value and whether it was kept, each (N,)."""

    places: np.ndarray
    slices: np.ndarray
    values: np.ndarray
    kept: np.ndarray

    def draw(self, panel: Axes, which: np.ndarray, colour: str, area: float, hollow: bool = False) -> None:
        x, y = self.places[which].T
        if hollow:
            panel.scatter(x, y, area, facecolors="none", edgecolors=colour, linewidths=0.6)
        else:
            panel.scatter(x, y, area, color=colour, linewidths=0)


def propagation_panels(
    support: np.ndarray,
    scribbles: np.ndarray,
    query: np.ndarray,
    points: np.ndarray,
    values: Sequence[int] | np.ndarray,
    similarity: Sequence[float] | np.ndarray,
    pseudo: np.ndarray,
    spacing: Sequence[float],
    names: Mapping[int, str],
    title: str = "",
    *,
    final: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    tau: float = 0.5,
    background: int | None = None,
    around: int = 0,
    support_spacing: Sequence[float] | None = None,
    axcodes: Sequence[str] = "RAS",
    support_axcodes: Sequence[str] | None = None,
) -> Figure:
    """Draw how the scribbles of a support became the mask of a query (PRNet's Figs. 7 and 8).

    A row for each organ. From left to right: the support with its scribbles; the query with all points that were
    propagated, those that count filled, the others hollow; those that count alone; the contours of the pseudo-mask
    that grew from them; those of the final mask and of the truth, where given. A row shows its organ and the
    background's marks alone, in the support's slice that has most of the organ's scribble, and in the query's that has
    most of its kept points (where it has none: most of the pseudo-mask, the final mask, the truth or all points, the
    first of them that there is; of several such slices the one with most of the pseudo-mask).

    The display is radiological and the slices are numbered from below, as of :func:`overlay`.

    Args:
        support: scan (H, W, D) with scribbles.
        scribbles: whole numbers of its shape, 0 where nothing is marked.
        query: scan (H, W, D), of any other shape.
        points: (N, 3), voxels of the query where the scribbles' points were found; N may be 0.
        values: (N,), label value of each point.
        similarity: (N,), of each point to the one it stands for.
        pseudo: label map of the query's shape, grown from the points.
        spacing: voxel size of the query in mm of H, W, D; the pictures have the aspect of the body.
        names: name of each label value; a value without a name is called "label <value>". The rows are in this order;
            an organ that nothing shows has none.
        title: title of the figure.
        final: label map of the query's shape, such as a network's that was trained on the pseudo-masks.
        truth: label map of the query's shape.
        tau: similarity that a point must exceed to count. Default 0.5, the paper's.
        background: the value that marks the background. Default: none does.
        around: slices on either side whose scribbles and points are drawn too. Default 0: what lies in the slice.
        support_spacing: of the support. Default: as of the query.
        axcodes: direction of each array axis of the query, see :func:`overlay`.
        support_axcodes: of the support. Default: as of the query.

    Returns:
        A figure of its own canvas; :func:`to_png` turns it into bytes.

    Raises:
        ValueError: shapes, spacing or numbers of points do not fit, a scan is not finite, ``around`` is negative, or
            no organ is shown anywhere.
    """
    masks = {"pseudo-mask": pseudo, "final mask": final, "truth": truth}
    given = {name: np.asarray(mask) for name, mask in masks.items() if mask is not None}
    there = spacing if support_spacing is None else support_spacing, support_axcodes or axcodes
    check_volumes(support, {"scribbles": scribbles}, there[0])
    check_volumes(query, given, spacing)
    found = _check_points(points, values, similarity, np.shape(query), around)
    marks = np.asarray(scribbles)
    rows = _organs([marks, found[1], *given.values()], names, background)
    drawn = np.argwhere(marks != 0)
    scans = (_Scan.of(support, *there), _Scan.of(query, spacing, axcodes))
    dots = (
        _Points(*points_to_las(drawn, marks.shape, *there), marks[tuple(drawn.T)], np.ones(len(drawn), bool)),
        _Points(*points_to_las(found[0], np.shape(query), spacing, axcodes), found[1], found[2] > tau),
    )
    given = {name: to_las(mask, spacing, axcodes)[0] for name, mask in given.items()}
    figure, panels = _grid([*scans, *[scans[1]] * (1 + len(given))], len(rows), 1.0 if title else 0.75)
    colours = label_styles(rows, names)
    for row, value in zip(panels, rows, strict=True):
        _row(row, scans, dots, given, value, background, colours[value], around)
        row[0].set_ylabel(names.get(value, f"label {value}"), fontsize=9)
    heads = ("support: scribbles", "query: all points", f"kept (similarity > {tau:g})", *given)
    for panel, head in zip(panels[0], heads, strict=True):
        panel.set_title(head, fontsize=9)
    figure.suptitle(title, fontsize=11)
    _legend(figure, {v: (names.get(v, f"label {v}"), colours[v]) for v in rows}, background is not None, tau)
    return figure


def _check_points(
    points: np.ndarray,
    values: Sequence[int] | np.ndarray,
    similarity: Sequence[float] | np.ndarray,
    shape: tuple[int, ...],
    around: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    places = np.asarray(points, dtype=int).reshape(-1, 3)
    if not len(places) == len(values) == len(similarity) or around < 0:
        raise ValueError(
            f"points: there are {len(places)}, with {len(values)} values and {len(similarity)} similarities, around "
            f"{around}. Give one value and one similarity each, and 0 or more slices around."
        )
    if ((places < 0) | (places >= shape)).any():
        raise ValueError(f"points: some lie outside the query of shape {shape}. Give voxels of the query.")
    return places, np.asarray(values, dtype=int), np.asarray(similarity, dtype=float)


def _organs(labels: Sequence[np.ndarray], names: Mapping[int, str], background: int | None) -> list[int]:
    """Values that something shows: the named ones first, in their order."""
    present = sorted({value for label in labels for value in label_values(label)} - {background})
    if not present:
        raise ValueError("scribbles: no organ is marked, nor in a point or a mask. There is nothing to show.")
    return [v for v in names if v in present] + [v for v in present if v not in names]


def _row(
    panels: Sequence[Axes],
    scans: tuple[_Scan, _Scan],
    dots: tuple[_Points, _Points],
    masks: Mapping[str, np.ndarray],
    value: int,
    background: int | None,
    style: tuple,
    around: int,
) -> None:
    """One organ."""
    first = _most([_histogram(dots[0].slices[dots[0].values == value], scans[0])])
    own = dots[1].values == value
    area = {name: (mask == value).sum(axis=(0, 1)) for name, mask in masks.items()}
    counts = [_histogram(dots[1].slices[own & dots[1].kept], scans[1]), *area.values()]
    index = _most([*counts, _histogram(dots[1].slices[own], scans[1])], area["pseudo-mask"])
    scans[0].draw(panels[0], first)
    for panel in panels[1:]:
        scans[1].draw(panel, index)
    for panel, points, z in ((panels[0], dots[0], first), (panels[1], dots[1], index), (panels[2], dots[1], index)):
        near = np.abs(points.slices - z) <= around
        area_of_mark = _SCRIBBLE if panel is panels[0] else _KEPT
        for mark, colour in ((background, _BACKGROUND), (value, style[0])):
            shown = near & (points.values == mark)
            if panel is panels[1]:
                points.draw(panel, shown & ~points.kept, colour, _REJECTED, hollow=True)
            points.draw(panel, shown & points.kept, colour, area_of_mark)
    total = f"{int((own & dots[1].kept).sum())} of {int(own.sum())} in all slices"
    panels[2].text(0.03, 0.97, total, transform=panels[2].transAxes, color="white", fontsize=7, va="top")
    for panel, mask in zip(panels[3:], masks.values(), strict=True):
        contours(panel, mask[:, :, index], scans[1].size, {value: style}, 1.3)
    panels[0].text(0.03, 0.5, "R", transform=panels[0].transAxes, color="white", fontsize=8, va="center")


def _histogram(slices: np.ndarray, scan: _Scan) -> np.ndarray:
    return np.bincount(slices, minlength=scan.image.shape[2])


def _most(counts: Sequence[np.ndarray], then: np.ndarray | None = None) -> int:
    """The slice where the first of the counts that is not all 0 is highest, of equal ones where ``then`` is."""
    for count in counts:
        if count.any():
            best = np.flatnonzero(count == count.max())
            return int(best[0] if then is None else best[then[best].argmax()])
    return len(counts[0]) // 2


def _grid(columns: Sequence[_Scan], rows: int, margin: float) -> tuple[Figure, np.ndarray]:
    """Figure and axes (rows, columns), as high as the highest scan is at a common width."""
    shapes = [(s.image.shape[0] * s.size[0], s.image.shape[1] * s.size[1]) for s in columns]
    height = max(high / wide for wide, high in shapes) * _WIDTH
    figure = Figure(figsize=(len(columns) * _WIDTH + 0.3, rows * height + margin), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, len(columns), squeeze=False)
    for panel in panels.ravel():
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    return figure, panels


def _legend(figure: Figure, organs: Mapping[int, tuple[str, tuple]], background: bool, tau: float) -> None:
    def mark(colour: str, text: str, face: str | None = None) -> Line2D:
        face = colour if face is None else face
        return Line2D([], [], color=colour, marker="o", markersize=4, linestyle="", markerfacecolor=face, label=text)

    handles = [
        Line2D([], [], color=colour, linestyle=line, linewidth=1.5, marker="o", markersize=4, label=name)
        for name, (colour, line) in organs.values()
    ]
    handles += [mark(_BACKGROUND, "background")] if background else []
    handles.append(mark("white", f"rejected (similarity up to {tau:g})", "none"))
    legend_below(figure, handles)
