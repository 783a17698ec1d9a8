# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Plots of a quality score against the true Dice score: as a scatter, and as what it lets pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monai_fss.metrics import risk_coverage, within_group_spearman
from monai_fss.visualize.slices import COLOURS

__all__ = ["quality_scatter", "risk_curves"]

MARKERS = ("o", "^", "s")  # a second round through the colours has other marks


def quality_scatter(
    scores: Sequence[float] | np.ndarray,
    dices: Sequence[float] | np.ndarray,
    organs: Sequence[str],
    title: str = "",
    xlabel: str = "quality",
) -> Figure:
    """Plot each result's quality score against its Dice score, one colour for each organ.

    The legend has Spearman's rho within each organ and the median over the organs (see
    :func:`monai_fss.metrics.within_group_spearman`); an organ without one, such as for having fewer than four
    results, is marked "n/a".

    Args:
        scores: one quality score for each result; a nan is not drawn.
        dices: the true Dice scores, fractions 0..1, in the same order; a nan (an absent organ) is not drawn.
        organs: name of the organ of each result.
        title: title of the figure.
        xlabel: what the score is.

    Returns:
        A figure of its own canvas.

    Raises:
        ValueError: where there is no result, or the numbers of values differ.
    """
    agreement = within_group_spearman(scores, dices, organs)
    if len(organs) == 0:
        raise ValueError("scores: no result. Give at least one.")
    x, y = np.asarray(scores, float), 100 * np.asarray(dices, float)
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    marks, texts = [], []
    for number, organ in enumerate(agreement.pairs):
        own = np.array([other == organ for other in organs]) & ~(np.isnan(x) | np.isnan(y))
        mark = MARKERS[number // len(COLOURS) % len(MARKERS)]
        rho = agreement.groups.get(organ, math.nan)
        texts.append(f"{organ}: {_rho(rho)} (n {agreement.pairs[organ]})")
        colour = COLOURS[number % len(COLOURS)]
        marks.append(axes.scatter(x[own], y[own], 22, color=colour, marker=mark, edgecolors="0.3", linewidths=0.4))
    axes.set(xlabel=xlabel, ylabel="Dice (%)", ylim=(-3, 103))
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    heading = f"Spearman's rho\nmedian: {_rho(agreement.rho)}"
    style: dict[str, Any] = {"loc": "outside right upper", "fontsize": 8, "frameon": False, "title_fontsize": 8}
    legend = figure.legend(marks, [f"entry {number}" for number in range(len(marks))], title=heading, **style)
    for entry, text in zip(legend.get_texts(), texts, strict=True):  # a name may begin with "_"
        entry.set_text(text)
    return figure


def risk_curves(
    scores: Mapping[str, Sequence[float] | np.ndarray], dices: Sequence[float] | np.ndarray, title: str = ""
) -> Figure:
    """Plot risk-coverage curves: the mean Dice that is missing, over the share of the results that is kept.

    Beside each score stand the curve of an ideal one, which ranks by the Dice itself, and the level of no score.

    Args:
        scores: name to one quality score for each result, see :func:`monai_fss.metrics.risk_coverage`.
        dices: the true Dice scores, fractions 0..1, in the same order; a nan (an absent organ) is left out.
        title: title of the figure.

    Returns:
        A figure of its own canvas.

    Raises:
        ValueError: where no result has a Dice score, or the numbers of values differ.
    """
    ideal = risk_coverage(dices, dices)
    if not ideal.coverage.size:
        raise ValueError("dices: no result has a Dice score. Give at least one.")
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, (name, own) in enumerate(scores.items()):
        found = risk_coverage(own, dices)
        label, colour = f"{name}: AURC {100 * found.aurc:.1f}", COLOURS[number % len(COLOURS)]
        axes.plot(100 * found.coverage, 100 * found.risk, color=colour, label=label)
    label = f"the Dice itself: {100 * ideal.optimal:.1f}"
    axes.plot(100 * ideal.coverage, 100 * ideal.risk, color="0.4", linestyle="--", label=label)
    axes.axhline(100 * ideal.random, color="0.4", linestyle=":", label=f"no score: {100 * ideal.random:.1f}")
    axes.set(xlabel="masks kept, those of the highest scores (%)", ylabel="1 - Dice, mean (%)", xlim=(0, 100))
    axes.set_ylim(bottom=0)
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8)
    return figure


def _rho(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.2f}"
