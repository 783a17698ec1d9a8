# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The scatter plot shows the numbers it was given."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from monai_fss.visualize import COLOURS, quality_scatter, risk_curves, to_png


def test_points_colours_and_legend() -> None:
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.9, math.nan, 0.7]
    dices = [0.2, 0.1, 0.3, 0.9, 0.4, 0.5, 0.6, math.nan]
    figure = quality_scatter(scores, dices, ["liver"] * 5 + ["spleen"] * 3, "chaos", "reverse accuracy")
    (axes,) = figure.axes
    liver, spleen = axes.collections
    expected = np.c_[scores[:5], [20, 10, 30, 90, 40]]
    np.testing.assert_allclose(liver.get_offsets(), expected)
    np.testing.assert_allclose(spleen.get_offsets(), [[0.9, 50]])
    assert [to_hex(points.get_facecolor()[0]).upper() for points in (liver, spleen)] == list(COLOURS[:2])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["liver: 0.80 (n 5)", "spleen: n/a (n 1)"]
    assert legend.get_title().get_text() == "Spearman's rho\nmedian: 0.80"
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("chaos", "reverse accuracy", "Dice (%)")
    assert to_png(figure).startswith(b"\x89PNG")


def test_more_organs_than_colours_differ_by_their_mark() -> None:
    count = len(COLOURS) + 1
    (axes,) = quality_scatter([0.5] * count, [0.5] * count, [f"organ {i}" for i in range(count)]).axes
    first, last = axes.collections[0], axes.collections[-1]
    np.testing.assert_array_equal(first.get_facecolor(), last.get_facecolor())
    assert len(first.get_paths()[0].vertices) != len(last.get_paths()[0].vertices)


def test_risk_curves_are_those_of_the_metric() -> None:
    dices = [0.8, 0.2, 0.6]
    (axes,) = risk_curves({"quality": [0.1, 0.9, 0.5]}, dices, "chaos").axes
    worst, best, none = axes.lines
    np.testing.assert_allclose(worst.get_xydata(), [[100 / 3, 80], [200 / 3, 60], [100, 140 / 3]])
    np.testing.assert_allclose(best.get_ydata(), [20, 30, 140 / 3])
    np.testing.assert_allclose(none.get_ydata(), 140 / 3)
    assert [line.get_label() for line in axes.lines] == [
        "quality: AURC 62.2",
        "the Dice itself: 32.2",
        "no score: 46.7",
    ]
    with pytest.raises(ValueError, match="dices: no result has a Dice score"):
        risk_curves({"quality": [0.5]}, [math.nan])


def test_errors() -> None:
    with pytest.raises(ValueError, match="scores: no result"):
        quality_scatter([], [], [])
    with pytest.raises(ValueError, match="groups: 1 for 2 scores"):
        quality_scatter([0.1, 0.2], [0.1, 0.2], ["a"])
