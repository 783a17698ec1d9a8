# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Plots of results: Dice against the threshold, and bars of organs and methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monai_fss.visualize.slices import COLOURS

__all__ = ["dice_bars", "threshold_curve"]

CURVE_COLOUR, LEARNED_COLOUR = "#0072B2", "#D55E00"


def threshold_curve(
    thresholds: Sequence[float] | np.ndarray,
    dice: Sequence[Sequence[float]] | np.ndarray,
    learned: float | Sequence[float],
    title: str = "",
) -> Figure:
    """Plot the Dice score against the anomaly threshold T, as Fig. 7 of the ADNet paper.

    The line is the mean over the curves (say, runs or queries) and the shade its standard deviation (ddof 0). The
    learned thresholds are a vertical line at their mean and a grey range from the smallest to the largest.

    Args:
        thresholds: (n_thresholds,) increasing.
        dice: (n_curves, n_thresholds), fractions 0..1; nan (an absent class) is left out of the mean.
        learned: the learned threshold, or those of several runs.
        title: title of the figure.

    Returns:
        A figure of its own canvas.

    Raises:
        ValueError: where the shapes do not fit, the thresholds do not increase, no learned threshold is given, or a
            threshold has no score at all.
    """
    x, curves, values = np.asarray(thresholds, float), np.atleast_2d(np.asarray(dice, float)), np.atleast_1d(learned)
    _check_curve(x, curves, values)
    mean, deviation = 100 * np.nanmean(curves, axis=0), 100 * np.nanstd(curves, axis=0)
    figure, axes = _figure(6.0, 4.0, title)
    if values.size > 1:
        axes.axvspan(values.min(), values.max(), color="0.85", label=f"range of {values.size} learned T")
    axes.axvline(values.mean(), color=LEARNED_COLOUR, linestyle="--", label=f"learned T = {values.mean():.2f}")
    if len(curves) > 1:
        axes.fill_between(
            x, mean - deviation, mean + deviation, color=CURVE_COLOUR, alpha=0.25, linewidth=0, label="sd"
        )
    axes.plot(x, mean, color=CURVE_COLOUR, label=f"mean of {len(curves)}" if len(curves) > 1 else "Dice")
    axes.set(xlabel="threshold T", ylabel="Dice (%)", ylim=(0, 100))
    axes.margins(x=0)
    axes.legend(fontsize=8)
    return figure


def dice_bars(table: Mapping[str, Mapping[str, Sequence[float]]], title: str = "") -> Figure:
    """Plot grouped bars: one group for each organ, one bar for each method, whiskers of one standard deviation.

    Args:
        table: ``{method: {organ: (mean, sd, ...)}}`` in percent, as ``monai_fss.results.tables.summarize`` makes
            it; a nan mean leaves its place empty and marks it "n/a".
        title: title of the figure.

    Returns:
        A figure of its own canvas.

    Raises:
        ValueError: where the table is empty or the methods have different organs.
    """
    organs = list(next(iter(table.values()), {}))
    different = [method for method, row in table.items() if list(row) != organs]
    if not organs or different:
        raise ValueError(f"table: no organ, or other organs than {organs} for {different}. Give each method the same.")
    width = 0.8 / len(table)
    figure, axes = _figure(max(5.0, 1.6 + 0.45 * len(organs) * (len(table) + 1)), 4.0, title)
    for number, (method, row) in enumerate(table.items()):
        places = np.arange(len(organs)) + (number - (len(table) - 1) / 2) * width
        _bars(axes, places, [row[organ] for organ in organs], 0.92 * width, number, method)
    axes.set(ylabel="Dice (%)", ylim=(0, 100))
    axes.set_xticks(range(len(organs)), organs, rotation=30 if len(organs) > 6 else 0, fontsize=9)
    axes.tick_params(axis="x", length=0)
    figure.legend(loc="outside lower center", ncols=min(len(table), 4), fontsize=8, frameon=False)
    return figure


def _bars(
    axes: Axes, places: np.ndarray, cells: Sequence[Sequence[float]], width: float, number: int, method: str
) -> None:
    means, deviations = (np.array([cell[part] for cell in cells], float) for part in (0, 1))
    there = ~np.isnan(means)
    colour, hatch = COLOURS[number % len(COLOURS)], ("", "//")[number // len(COLOURS) % 2]
    axes.bar(places[there], means[there], width, color=colour, hatch=hatch, edgecolor="white", label=method)
    whiskers = there & (deviations > 0)
    axes.errorbar(places[whiskers], means[whiskers], deviations[whiskers], fmt="none", ecolor="0.2", capsize=2, lw=1)
    for place in places[~there]:
        axes.text(place, 1, "n/a", ha="center", fontsize=8)


def _figure(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    return figure, axes


def _check_curve(thresholds: np.ndarray, dice: np.ndarray, learned: np.ndarray) -> None:
    if thresholds.ndim != 1 or dice.ndim != 2 or dice.shape[1] != thresholds.size:
        raise ValueError(
            f"dice: its shape {dice.shape} does not fit thresholds of shape {thresholds.shape}. "
            "Give (n_curves, n_thresholds) and (n_thresholds,)."
        )
    if np.any(np.diff(thresholds) <= 0):
        raise ValueError(
            f"thresholds: {thresholds.tolist()} do not increase. Sort them, and the Dice scores with them."
        )
    if learned.size == 0:
        raise ValueError("learned: no value. Give the learned threshold, or one for each run.")
    if np.isnan(dice).all(axis=0).any():
        raise ValueError("dice: a threshold has no score in any curve. Leave it out.")
