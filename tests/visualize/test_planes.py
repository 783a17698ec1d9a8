# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Three planes: which slices, which side, true proportions, and contours where the voxels are."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform

from monai_fss.visualize import PIXELS, label_styles, organ_planes, outlines_svg, planes_picture
from monai_fss.visualize.planes import Plane

SPACING = (2.0, 2.0, 5.0)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """160 mm on each side, stored LAS. Label 1 is 40 x 40 x 40 mm; 2 a voxel; bright spots lie left, front and top."""
    image = np.zeros((80, 80, 32), np.float32)
    label = np.zeros((80, 80, 32), np.uint8)
    label[20:40, 30:50, 12:20] = 1
    label[60, 40, 16] = 2
    image[label == 1] = 100
    image[50, 40, 16] = image[30, 60, 16] = image[30, 40, 24] = 200
    return image, label


def planes(codes: str = "LAS", values: list[int] | None = None) -> dict[int, list[Plane]]:
    change = ornt_transform(axcodes2ornt("LAS"), axcodes2ornt(codes))
    image, label = (apply_orientation(volume, change) for volume in scene())
    spacing = [dict(zip("LAS", SPACING, strict=True))[{"R": "L", "P": "A", "I": "S"}.get(c, c)] for c in codes]
    return dict(organ_planes(image, label, spacing, codes, (0, 200), values))


def box(line: np.ndarray) -> list[float]:
    return [*line.min(0), *line.max(0)]


def test_a_cube_of_thick_slices_is_shown_as_a_cube() -> None:
    """80 mm in 256 pixels around the middle of 40 mm: 64 to 192, in each plane."""
    for plane in planes()[1]:
        (line,) = plane.outlines[1]
        assert plane.millimetres == 80 and box(line) == pytest.approx([64, 64, 192, 192], abs=0.2)
        assert (line[0] == line[-1]).all(), "closed"
        inside = plane.picture[70:186, 70:186]
        assert np.median(inside) == 128 and plane.picture[20:50, 20:50].max() < 100


def test_left_is_right_and_the_front_and_the_top_are_above() -> None:
    """The bright spots, seen in the planes through the cube's middle: of an axis each one alone leaves it."""
    image, label = scene()
    label[label == 1] = 0
    label[30, 40, 16] = 1
    axial, coronal, sagittal = dict(organ_planes(image, label, SPACING, "LAS", (0, 200), [1]))[1]
    bright = [np.argwhere(plane.picture > 150) - PIXELS / 2 for plane in (axial, coronal, sagittal)]
    assert bright[0][:, 0].min() < -100 and abs(bright[0][:, 0].max()) < 20, "anterior is up in the axial plane"
    assert bright[1][:, 0].min() < -100 and bright[1][:, 1].max() < 140, "superior is up in the coronal plane"
    assert bright[0][:, 1].max() > 100, "the patient's left is on the right"
    assert bright[2][:, 1].min() < -100, "anterior is on the left in the sagittal plane"


@pytest.mark.parametrize("codes", ["RAS", "PIR", "SLA"])
def test_the_order_of_storing_does_not_matter(codes: str) -> None:
    for own, other in zip(planes()[1], planes(codes)[1], strict=True):
        assert own.number == other.number and (own.picture == other.picture).all()
        for value, lines in own.outlines.items():
            assert [box(line) for line in lines] == [pytest.approx(box(line)) for line in other.outlines[value]]


def test_the_slice_with_most_of_the_organ_is_shown() -> None:
    image, label = scene()
    label[0:60, 0:60, 18] = 1
    axial = dict(organ_planes(image, label, SPACING, "LAS", (0, 200)))[1][0]
    assert axial.number == 18


def test_of_an_empty_organ_all_of_the_scan_is_shown() -> None:
    found = planes(values=[3])
    assert list(found) == [3]
    axial = found[3][0]
    assert axial.number == 16 and axial.millimetres == 160 and set(axial.outlines) == {1, 2}
    assert planes_picture(found[3]).shape == (PIXELS, 3 * PIXELS)


def test_a_scan_that_is_flat_is_set_in_black() -> None:
    """160 x 160 x 40 mm with an organ of all its width: 64 of 256 pixels are high, in the middle."""
    image, label = np.full((80, 80, 8), 100, np.int16), np.zeros((80, 80, 8), np.int16)
    label[:, 30:40, 3] = 7
    _, coronal, _ = dict(organ_planes(image, label, SPACING, "LAS", (0, 100)))[7]
    rows = np.flatnonzero(coronal.picture.max(1))
    assert (rows[0], rows[-1]) == (96, 159) and coronal.picture[96:160].min() == 255


def test_the_layer_of_contours_has_the_organ_on_top_and_the_others_dotted() -> None:
    svg = ElementTree.fromstring(outlines_svg(planes()[1], label_styles([1, 2], {1: "<liver>"}), 1))
    name = "{http://www.w3.org/2000/svg}"
    assert (svg.attrib["width"], svg.attrib["height"]) == (str(3 * PIXELS), str(PIXELS))
    assert [part.attrib["x"] for part in svg] == ["0", str(PIXELS), str(2 * PIXELS)]
    paths = svg[0].findall(f"{name}path")
    assert paths[-1].attrib["stroke"] == "#E69F00" and "stroke-dasharray" not in paths[-1].attrib
    assert paths[-2].attrib["stroke"] == "#000" and paths[-2].attrib["d"] == paths[-1].attrib["d"]
    assert all("stroke-dasharray" in path.attrib for path in paths[:-2])
    assert paths[-1].attrib["d"].startswith("M") and paths[-1].attrib["d"].endswith("Z")


def test_volumes_that_do_not_fit_are_refused() -> None:
    image, label = scene()
    with pytest.raises(ValueError, match="label: its shape"):
        next(organ_planes(image, label[1:], SPACING, "LAS", (0, 1)))
