# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Overlays: which slices, which side, which aspect, and what the figure says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.figure import Figure

from monai_fss.visualize import COLOURS, overlay, to_png


def scan() -> np.ndarray:
    return np.random.default_rng(0).random((20, 30, 16)).astype(np.float32)


def boxes() -> np.ndarray:
    """Label 1 in slices 3..12, by far largest in slice 5; label 2 in slice 6."""
    label = np.zeros((20, 30, 16), dtype=np.uint8)
    label[8:11, 10:13, 3:13] = 1
    label[2:18, 4:26, 5] = 1
    label[1:3, 1:3, 6] = 2
    return label


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def numbers(figure: Figure) -> list[int]:
    return [int(text.split()[1]) for text in texts(figure) if text.startswith("slice")]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("n_slices", [1, 2, 3, 4, 6, 9])
def test_slices_span_the_extent_and_hold_the_largest(n_slices: int) -> None:
    shown = numbers(overlay(scan(), boxes(), (1, 1, 5), {1: "a", 2: "b"}, n_slices=n_slices))
    assert len(shown) == n_slices
    assert shown == sorted(set(shown))
    assert 5 in shown
    assert min(shown) >= 3
    assert max(shown) <= 12


def test_fewer_slices_than_asked_for() -> None:
    label = np.zeros((20, 30, 16), dtype=int)
    label[4:8, 4:8, 7:9] = 3
    assert numbers(overlay(scan(), label, (1, 1, 5), {3: "c"})) == [7, 8]


def test_contours_lie_in_mm_on_the_radiological_side() -> None:
    label = np.zeros((20, 30, 16), dtype=int)
    label[2:4, 10:15, 8] = 1  # in RAS order a low first index is the patient's left: right in the picture
    figure = overlay(scan(), label, (2.0, 1.5, 5.0), {1: "a"}, n_slices=1)
    axes = figure.axes[0]
    assert axes.get_xlim() == (0, 40)
    assert axes.get_ylim() == (0, 45)
    assert axes.get_aspect() == 1.0  # mm on both axes: "equal"
    (contour,) = axes.collections
    x, y = np.concatenate([path.vertices for path in contour.get_paths()]).T
    # the box and half a voxel of interpolation to no more than its edges
    assert (x.min(), x.max()) == pytest.approx((32, 36))
    assert (y.min(), y.max()) == pytest.approx((15, 22.5))


def test_axcodes_give_the_same_picture() -> None:
    image, label = scan(), boxes()
    reference = to_png(overlay(image, label, (1.0, 2.0, 5.0), {1: "a"}))
    turned = [np.ascontiguousarray(volume[::-1, :, ::-1].transpose(2, 0, 1)) for volume in (image, label)]
    assert to_png(overlay(*turned, (5.0, 1.0, 2.0), {1: "a"}, axcodes="ILA")) == reference


def test_colour_and_legend() -> None:
    figure = overlay(scan(), boxes(), (1, 1, 5), {2: "spleen", 4: "liver"}, n_slices=2, title="case 1")
    assert legend(figure) == ["spleen", "liver (no voxel)", "label 1"]
    assert figure.get_suptitle() == "case 1"
    drawn = {colors.to_hex(c.get_edgecolor()[0]).upper() for axes in figure.axes for c in axes.collections}
    assert COLOURS[2] in drawn  # label 1 is the third of the legend


def test_truth_is_drawn_and_counts_for_the_slices() -> None:
    empty = np.zeros((20, 30, 16), dtype=int)
    figure = overlay(scan(), empty, (1, 1, 5), {1: "a"}, n_slices=2, truth=boxes())
    assert 5 in numbers(figure)
    assert legend(figure) == ["a (no voxel)", "truth"]
    assert "no voxel" in figure.get_suptitle()


def test_empty_mask() -> None:
    figure = overlay(scan(), np.zeros((20, 30, 16), dtype=int), (1, 1, 5), {1: "a"}, n_slices=3, title="case 1")
    assert figure.get_suptitle() == "case 1 - no voxel"
    assert numbers(figure) == [4, 8, 11]
    assert to_png(figure).startswith(b"\x89PNG")


def test_constant_image_and_full_mask() -> None:
    figure = overlay(np.zeros((8, 8, 1)), np.ones((8, 8, 1), dtype=int), (1, 1, 1), {1: "a"})
    (contour,) = figure.axes[0].collections
    assert len(contour.get_paths()[0].vertices) > 4


def test_errors() -> None:
    label = boxes()
    with pytest.raises(ValueError, match=r"label: its shape \(20, 30, 16\) does not fit .*\(20, 30, 15\)"):
        overlay(scan()[..., :15], label, (1, 1, 5), {})
    with pytest.raises(ValueError, match=r"truth: its shape \(20, 30\)"):
        overlay(scan(), label, (1, 1, 5), {}, truth=label[..., 0])
    with pytest.raises(ValueError, match=r"spacing: \[1, 0, 5\]"):
        overlay(scan(), label, (1, 0, 5), {})
    with pytest.raises(ValueError, match="n_slices: 0 is less than 1"):
        overlay(scan(), label, (1, 1, 5), {}, n_slices=0)
    with pytest.raises(ValueError, match="not finite"):
        overlay(np.full((20, 30, 16), np.nan), label, (1, 1, 5), {})


@pytest.mark.real
def test_right_is_right_on_a_real_scan(real_data) -> None:  # type: ignore[no-untyped-def]
    import nibabel

    folder: Path = real_data("chaos_t2")
    scan_file = nibabel.load(sorted((folder / "images").glob("*.nii.gz"))[0])
    label_file = nibabel.load(sorted((folder / "labels").glob("*.nii.gz"))[0])
    codes = nibabel.aff2axcodes(scan_file.affine)
    liver = (np.asarray(label_file.dataobj) == 1).astype(int)
    figure = overlay(scan_file.get_fdata(), liver, scan_file.header.get_zooms(), {1: "liver"}, axcodes=codes)
    assert len(figure.axes) == 6
    x = np.concatenate([path.vertices[:, 0] for c in figure.axes[3].collections for path in c.get_paths()])
    assert x.mean() < np.mean(figure.axes[3].get_xlim())  # the liver is on the patient's right


def test_names_are_drawn_as_they_are() -> None:
    """Between two "$" matplotlib would read mathematics, and leave out of a legend what begins with "_"."""
    image, label = np.random.default_rng(0).random((20, 20, 4)), np.zeros((20, 20, 4), np.int16)
    label[5:10, 5:10, 1:3] = 1
    label[12:15, 5:10, 1:3] = 2
    figure = overlay(image, label, (1, 1, 1), {1: "_a", 2: "$x_{$"}, title="$\\frac{$ %case")
    assert to_png(figure).startswith(b"\x89PNG")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["_a", "$x_{$"]
