# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pictures of a propagation: which slices, which points where, and what the figure says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from monai_fss.data import phantom
from monai_fss.transforms import scribbles_from_mask
from monai_fss.visualize import COLOURS, propagation_panels, to_png

SPACING = (5.0, 5.0, 16.0)
NAMES = {1: "liver", 4: "spleen", 6: "gallbladder"}


@pytest.fixture(scope="module")
def scene() -> dict[str, Any]:
    """Liver and spleen of phantoms (LAS); query's points by hand: of the liver most of the kept are in slice 5."""
    first, second = (phantom(seed, shape=(64, 64, 12), spacing=SPACING) for seed in (0, 1))
    mask, pseudo = (np.where(np.isin(p.label, (1, 4)), p.label, 0) for p in (first, second))
    points = [(20, 30, 5), (21, 30, 5), (22, 30, 6), (23, 30, 7), (24, 31, 7), (25, 32, 7), (40, 20, 6), (10, 50, 5)]
    return {
        "support": first.image,
        "scribbles": scribbles_from_mask(mask, SPACING, slices=3, background=9),
        "query": second.image,
        "points": np.array(points),
        "values": [1, 1, 1, 1, 1, 1, 4, 9],
        "similarity": [0.9, 0.8, 0.7, 0.5, 0.4, -0.2, 0.1, 0.6],
        "pseudo": pseudo,
        "spacing": SPACING,
        "names": NAMES,
        "axcodes": "LAS",
    }


def slices(figure: Figure, row: int, columns: int) -> list[int]:
    panels = figure.axes[row * columns : (row + 1) * columns]
    return [int(t.get_text().split()[1]) for axes in panels for t in axes.texts if t.get_text().startswith("slice")]


def marks(axes: Axes) -> list[tuple[list[list[float]], str, bool]]:
    """Places, colour and whether filled, of each group of points."""
    found = []
    for group in axes.collections:
        if isinstance(group, PathCollection) and len(group.get_offsets()):
            colour = group.get_facecolor() if len(group.get_facecolor()) else group.get_edgecolor()
            filled = len(group.get_facecolor()) > 0
            found.append((np.asarray(group.get_offsets()).tolist(), to_hex(colour[0]).upper(), filled))
    return found


def test_panels_titles_and_legend(scene: dict[str, Any]) -> None:
    figure = propagation_panels(**scene, title="case 1", background=9)
    assert len(figure.axes) == 2 * 4 and figure.get_suptitle() == "case 1"
    titles = ["support: scribbles", "query: all points", "kept (similarity > 0.5)", "pseudo-mask"]
    assert [axes.get_title() for axes in figure.axes] == [*titles, *[""] * 4]
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == ["liver", "spleen"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["liver", "spleen", "background", "rejected (similarity up to 0.5)"]
    more = propagation_panels(**scene, background=9, final=scene["pseudo"], truth=scene["pseudo"], tau=0.65)
    assert [axes.get_title() for axes in more.axes[:6]] == [
        *titles[:2],
        "kept (similarity > 0.65)",
        "pseudo-mask",
        "final mask",
        "truth",
    ]
    assert len(more.axes) == 12 and to_png(more).startswith(b"\x89PNG")


def test_slices_are_those_that_show_most(scene: dict[str, Any]) -> None:
    figure = propagation_panels(**scene, background=9)
    drawn = [int((scene["scribbles"] == value).sum(axis=(0, 1)).argmax()) for value in (1, 4)]
    assert slices(figure, 0, 4) == [drawn[0], 5, 5, 5]
    largest = int((scene["pseudo"] == 4).sum(axis=(0, 1)).argmax())
    assert slices(figure, 1, 4) == [drawn[1], *[largest] * 3], "no point of the spleen is kept"
    nothing = np.zeros_like(scene["pseudo"])
    assert slices(propagation_panels(**{**scene, "pseudo": nothing}, background=9), 1, 4)[1:] == [6, 6, 6]
    truth = np.where(np.arange(12) == 8, 4, nothing)
    assert slices(propagation_panels(**{**scene, "pseudo": nothing}, background=9, truth=truth), 1, 5)[1] == 8
    assert slices(propagation_panels(**scene, background=9, tau=-1), 0, 4)[1] == 7


def test_of_equal_slices_the_one_with_most_of_the_pseudo_mask(scene: dict[str, Any]) -> None:
    area = (scene["pseudo"] == 1).sum(axis=(0, 1))
    changed = {**scene, "points": [(20, 30, 5), (20, 30, 8)], "values": [1, 1], "similarity": [0.9, 0.9]}
    assert slices(propagation_panels(**changed, background=9), 0, 4)[1] == (5 if area[5] >= area[8] else 8)


def test_points_lie_in_mm_filled_where_they_count(scene: dict[str, Any]) -> None:
    figure = propagation_panels(**scene, background=9)
    liver = ([[102.5, 152.5], [107.5, 152.5]], COLOURS[0], True)
    behind = ([[52.5, 252.5]], "#BBBBBB", True)
    assert marks(figure.axes[1]) == [behind, liver] == marks(figure.axes[2])
    strict = propagation_panels(**scene, background=9, around=2, tau=0.75)
    places = [[112.5, 152.5], [117.5, 152.5], [122.5, 157.5], [127.5, 162.5]]
    assert marks(strict.axes[1]) == [([[52.5, 252.5]], "#BBBBBB", False), (places, COLOURS[0], False), liver]
    assert marks(strict.axes[2]) == [liver]
    texts = [text.get_text() for text in strict.axes[2].texts]
    assert "2 of 6 in all slices" in texts
    voxels = np.argwhere(scene["scribbles"][..., slices(figure, 0, 4)[0]] == 1)
    assert marks(figure.axes[0])[-1] == (((voxels + 0.5) * 5).tolist(), COLOURS[0], True)


def test_points_follow_the_axes_of_the_scan(scene: dict[str, Any]) -> None:
    """The scans stored in another order: same picture."""

    def turned(volume: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(volume[::-1, :, ::-1].transpose(2, 0, 1))

    x, y, z = scene["points"].T
    other = {key: turned(scene[key]) for key in ("support", "scribbles", "query", "pseudo")}
    other |= {"points": np.stack([11 - z, 63 - x, y], axis=1), "spacing": np.array([16.0, 5.0, 5.0]), "axcodes": "IRA"}
    reference = to_png(propagation_panels(**scene, background=9))
    assert to_png(propagation_panels(**{**scene, **other}, background=9)) == reference
    mixed = {**scene, **{key: other[key] for key in ("support", "scribbles")}}
    figure = propagation_panels(
        **mixed, background=9, support_spacing=np.array([16.0, 5.0, 5.0]), support_axcodes="IRA"
    )
    assert to_png(figure) == reference


def test_without_points_and_of_one_organ(scene: dict[str, Any]) -> None:
    changed = {**scene, "scribbles": np.where(scene["scribbles"] == 4, 4, 0)}
    changed |= {"points": np.zeros((0, 3)), "values": [], "similarity": [], "pseudo": 0 * scene["pseudo"], "names": {}}
    figure = propagation_panels(**changed)
    assert len(figure.axes) == 4 and figure.axes[0].get_ylabel() == "label 4"
    assert slices(figure, 0, 4)[1:] == [6, 6, 6] and marks(figure.axes[1]) == []
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["label 4", "rejected (similarity up to 0.5)"]


def test_errors(scene: dict[str, Any]) -> None:
    def refused(text: str, **changes: Any) -> None:
        with pytest.raises(ValueError, match=text):
            propagation_panels(**{**scene, **changes})

    refused(r"scribbles: its shape \(64, 64, 11\)", scribbles=scene["scribbles"][..., 1:])
    refused(r"truth: its shape \(64, 64, 11\)", truth=scene["pseudo"][..., 1:])
    refused("points: there are 8, with 7 values and 8 similarities, around 0", values=[1] * 7)
    refused("0 or more slices around", around=-1)
    refused(r"points: some lie outside the query of shape \(64, 64, 12\)", points=scene["points"] + [0, 0, 5])
    refused(r"spacing: \[1, 0, 1\]", support_spacing=(1, 0, 1))
    none = np.zeros_like(scene["pseudo"])
    refused("no organ is marked", scribbles=none, pseudo=none, values=[9] * 8, background=9)
