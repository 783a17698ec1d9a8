# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Plots show the numbers they were given."""

from __future__ import annotations

import math

import numpy as np
import pytest

from monai_fss.visualize import dice_bars, threshold_curve, to_png


def test_threshold_curve_mean_deviation_and_learned_values() -> None:
    figure = threshold_curve([-12, -10, -8], [[0.2, 0.8, 0.4], [0.4, 0.6, math.nan]], [-10.5, -9.5], "spleen")
    (axes,) = figure.axes
    vertical, curve = axes.lines
    np.testing.assert_allclose(curve.get_ydata(), [30, 70, 40])
    np.testing.assert_allclose(curve.get_xdata(), [-12, -10, -8])
    assert set(vertical.get_xdata()) == {-10.0}
    shade = axes.collections[0].get_paths()[0].vertices
    first = shade[np.isclose(shade[:, 0], -12)]
    assert (first[:, 1].min(), first[:, 1].max()) == pytest.approx((20, 40))
    extent = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (extent.x0, extent.x1) == pytest.approx((-10.5, -9.5))
    assert axes.get_title() == "spleen"
    assert to_png(figure).startswith(b"\x89PNG")


def test_one_curve_and_one_threshold_have_no_shade() -> None:
    (axes,) = threshold_curve([-12, -10], [[0.2, 0.8]], -10.0).axes
    assert len(axes.collections) == 0
    assert len(axes.patches) == 0
    assert len(axes.lines) == 2


def test_threshold_curve_errors() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\) does not fit thresholds of shape \(3,\)"):
        threshold_curve([1, 2, 3], [[0.1, 0.2]], 1.0)
    with pytest.raises(ValueError, match=r"\[2\.0, 1\.0\] do not increase"):
        threshold_curve([2, 1], [[0.1, 0.2]], 1.0)
    with pytest.raises(ValueError, match="learned: no value"):
        threshold_curve([1, 2], [[0.1, 0.2]], [])
    with pytest.raises(ValueError, match="no score in any curve"):
        threshold_curve([1, 2], [[0.1, math.nan]], 1.0)


def test_bars_have_the_heights_of_the_table() -> None:
    table = {
        "adnet": {"liver": (80.0, 3.0), "spleen": (60.0, 5.0), "Mean": (70.0, 10.0)},
        "mask paste": {"liver": (40.0, 2.0), "spleen": (math.nan, math.nan), "Mean": (40.0, 0.0)},
    }
    figure = dice_bars(table, "EP2")
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [80, 60, 70, 40, 40]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["liver", "spleen", "Mean"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["adnet", "mask paste"]
    assert [text.get_text() for text in axes.texts] == ["n/a"]
    assert axes.patches[0].get_x() < 0 < axes.patches[3].get_x() + axes.patches[3].get_width() / 2
    assert to_png(figure).startswith(b"\x89PNG")


def test_bars_errors() -> None:
    with pytest.raises(ValueError, match="table: no organ"):
        dice_bars({})
    with pytest.raises(ValueError, match=r"other organs than \['liver'\] for \['b'\]"):
        dice_bars({"a": {"liver": (1.0, 0.0)}, "b": {"spleen": (1.0, 0.0)}})
