# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pictures of related voxels: which slices, where the squares lie, and how they are coloured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.image import imread

from monai_fss.visualize import RelatedPanel, Shown, related_panels, to_png

SPACING = (2.0, 3.0, 4.0)


def shown(mask: bool = False) -> Shown:
    image = np.arange(20 * 10 * 9, dtype=np.float32).reshape(20, 10, 9)
    organ = np.zeros(image.shape, np.uint8)
    organ[5:9, 3:6, 2:6] = 1
    return Shown(image, SPACING, "LAS", organ if mask else None)


def level(voxels: list[list[float]], weights: list[float], mm: float = 8.0) -> RelatedPanel:
    return RelatedPanel("level 1", [mm] * 3, np.array([10.0, 5.0, 4.0]), np.array(voxels), np.array(weights))


def squares(panel: Any) -> list[tuple[float, float, float]]:
    """Middle of each square, mm, and its weight, in the order that they are drawn."""
    made = [artist for artist in panel.collections if isinstance(artist, PatchCollection)]
    if not made:
        return []
    middles = [path.vertices[:4].mean(0) for path in made[0].get_paths()]
    return [(*map(float, np.round(m, 3)), float(w)) for m, w in zip(middles, made[0].get_array(), strict=True)]


def test_squares_lie_in_the_nearest_of_three_slices() -> None:
    """Level voxels of 8 mm are two slices: 2, 4 and 6 are shown. 4 has the heaviest, and all that lies half-way."""
    places = [[10, 5, 4.2], [3.5, 2, 4], [6, 6, 6.4], [7, 7, 3], [8, 8, 0]]
    panels = related_panels(shown(), [4, 5, 7], shown(True), [level(places, [0.5, 0.1, 0.2, 0.15, 0.05])]).axes
    assert [panel.texts[0].get_text() for panel in panels[1:4]] == ["slice 2", "slice 4", "slice 6"]
    assert [panel.texts[1].get_text() for panel in panels[1:4]] == ["0 %", "75 %", "20 %"]
    assert panels[0].texts[0].get_text() == "slice 7" and squares(panels[1]) == []
    assert squares(panels[2]) == [(8.0, 7.5, 0.1), (15.0, 22.5, 0.15), (21.0, 16.5, 0.5)], "the heaviest on top"
    assert squares(panels[3]) == [(13.0, 19.5, 0.2)]
    colours = next(artist for artist in panels[2].collections if isinstance(artist, PatchCollection))
    assert colours.get_clim() == (0, 0.5)


def test_a_picture_has_a_row_for_each_level_and_leaves_out_slices_that_there_are_not(tmp_path: Any) -> None:
    levels = [level([[10, 5, 8]], [1.0], 4.0), level([[10, 5, 0]], [0.3]), level(np.zeros((0, 3)).tolist(), [])]
    levels[2] = RelatedPanel("level 3", [8.0] * 3, np.array([10.0, 5, 4]), np.zeros((0, 3)), np.zeros(0))
    figure = related_panels(shown(), [4, 5, 7], shown(True), levels, title="$a_b$")
    rows = [figure.axes[4 * n : 4 * n + 4] for n in range(3)]
    assert [[len(panel.images) for panel in row] for row in rows] == [[1, 1, 1, 0], [1, 0, 1, 1], [1, 1, 1, 1]]
    (tmp_path / "a.png").write_bytes(to_png(figure))
    assert imread(tmp_path / "a.png").ndim == 3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="levels: there is none"):
        related_panels(shown(), [4, 5, 7], shown(), [])
    wrong = Shown(shown().image, SPACING, "LAS", np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(ValueError, match="mask: its shape"):
        related_panels(shown(), [4, 5, 7], wrong, [level([[1, 1, 1]], [1.0])])
