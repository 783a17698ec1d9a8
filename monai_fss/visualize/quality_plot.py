# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Plot of a quality score against the true Dice score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from monai_fss.metrics import within_group_spearman
from monai_fss.visualize.slices import COLOURS

__all__ = ["quality_scatter"]

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


def _rho(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.2f}"
