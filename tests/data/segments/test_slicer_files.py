# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Segmentations as 3D Slicer saves them: cropped, in layers, with label values of its own choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_files import good_image, save_nifti
from dicom_series import oblique_affine
from raw_nrrd import write_nrrd

from monai_fss.data import InputWarning, LoadScan, ScanError, check_label, check_scan, label_names, segments_in

SHAPE, AFFINE = (8, 9, 10), oblique_affine(degrees=(20.0, 35.0))
LABEL = np.random.default_rng(5).integers(0, 4, SHAPE).astype(np.uint8)
LAYERED = ("kinds: list domain domain domain",)


def segment(
    number: int, name: str, layer: int | None, stored: int | None, tags: str = "", colour: str = ""
) -> list[str]:
    fields = {"ID": f"S_{number}", "Name": name, "Layer": layer, "LabelValue": stored, "Tags": tags, "Color": colour}
    return [f"Segment{number}_{key}:={value}" for key, value in fields.items() if value not in (None, "")]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save_nifti(tmp_path / "image.nii.gz", good_image(), AFFINE)


def loaded(image: Path, file: Path) -> np.ndarray:
    return LoadScan(as_label=True)(file, image)[0].numpy()


def box_of(layers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Layers (n, 8, 9, 10) cut to (4, 5, 3) voxels from (2, 3, 7) on, and the affine of the box."""
    shift = AFFINE.copy()
    shift[:3, 3] += AFFINE[:3, :3] @ (2, 3, 7)
    return layers[:, 2:6, 3:8, 7:10], shift


def test_cropped_layers_with_label_values_are_one_label(image: Path, tmp_path: Path) -> None:
    layers, affine = box_of(np.stack([np.where(LABEL < 3, LABEL, 0), np.where(LABEL == 3, 5, 0)]))
    words = [*segment(0, "liver", 0, 1, colour="1 0.5 0"), *segment(1, "spleen", 0, 2), *segment(2, "tumour", 1, 5)]
    file = write_nrrd(tmp_path / "image.seg.nrrd", layers, affine, *LAYERED, *words)
    expected = np.zeros(SHAPE, int)
    expected[2:6, 3:8, 7:10] = np.array([0, 1, 2, 5])[LABEL[2:6, 3:8, 7:10]]
    np.testing.assert_array_equal(loaded(image, file), expected)
    assert check_label(file, check_scan(image)).counts == {v: int((expected == v).sum()) for v in (1, 2, 5)}
    assert label_names([file]) == {1: "liver", 2: "spleen", 5: "tumour"}
    assert [organ.colour for organ in segments_in(file)] == ["#FF8000", "", ""]


def test_layers_that_reuse_a_value_are_numbered_in_words(image: Path, tmp_path: Path) -> None:
    """Slicer stores each segment that may overlap by 1; before 4.11 it said neither layer nor value."""
    layers = np.stack([LABEL == 1, LABEL == 2])
    told = "stored by the same values. They are taken for labels in their order: liver 1, spleen 2"
    for place in ((0, 1), (1, 1)), ((None, None), (None, None)):
        words = [line for n, name in enumerate(("liver", "spleen")) for line in segment(n, name, *place[n])]
        file = write_nrrd(tmp_path / "a.seg.nrrd", layers, AFFINE, *LAYERED, *words)
        with pytest.warns(InputWarning, match=told):
            check_label(file, check_scan(image))
        np.testing.assert_array_equal(loaded(image, file), np.where(LABEL < 3, LABEL, 0))
        assert label_names([file]) == {1: "liver", 2: "spleen"}


def test_our_values_come_back_whatever_slicer_stores_them_by(image: Path, tmp_path: Path) -> None:
    """A tag keeps them; a segment that was added gets a free one."""
    stored = np.array([0, 2, 1, 3], np.uint8)[LABEL]
    words = [*segment(0, "liver", 0, 2, "MonaiFssLabelValue:4|X:1|"), *segment(1, "new", 0, 1)]
    words += segment(2, "spleen", 0, 3, "Y:2|MonaiFssLabelValue:1|")
    file = write_nrrd(tmp_path / "a.seg.nrrd", stored, AFFINE, *words)
    np.testing.assert_array_equal(loaded(image, file), np.array([0, 4, 5, 1])[LABEL])
    assert label_names([file]) == {4: "liver", 5: "new", 1: "spleen"}
    words = words[:5] + segment(2, "copy", 0, 3, "MonaiFssLabelValue:4|")
    with pytest.raises(ScanError, match="segments liver, copy all stand for label 4. Remove all but one of them"):
        check_label(write_nrrd(file, stored, AFFINE, *words), check_scan(image))
    with pytest.warns(InputWarning, match=rf"has {(LABEL > 1).sum()} voxel\(s\) of values that no segment has"):
        check_label(write_nrrd(file, stored, AFFINE, *words[:5]), check_scan(image))


def test_what_cannot_be_one_label_is_refused(image: Path, tmp_path: Path) -> None:
    words = [*segment(0, "liver", 0, 1), *segment(1, "vessel", 1, 2)]
    over = np.stack([LABEL == 1, 2 * (LABEL < 2)])
    file = write_nrrd(tmp_path / "a.seg.nrrd", over, AFFINE, *LAYERED, *words)
    count = int((LABEL == 1).sum())
    with pytest.raises(ScanError, match=rf"segments liver and vessel overlap in {count} voxel\(s\), .*In 3D Slicer"):
        check_label(file, check_scan(image))
    file = write_nrrd(file, over[:1], AFFINE, *LAYERED, *words)
    with pytest.raises(ScanError, match="names more layers than the 1 that it has"):
        check_label(file, check_scan(image))
    file = write_nrrd(file, np.zeros((1, 1, 1, 1)), AFFINE, *LAYERED, *segment(0, "liver", 0, 1))
    with pytest.raises(ScanError, match="has no voxel: its segments are empty"):
        check_label(file, check_scan(image))
    with pytest.raises(ScanError, match=r"has several components per voxel \(sizes 2 8 9 10\)"):
        check_scan(write_nrrd(tmp_path / "b.nrrd", over, AFFINE, *LAYERED))
    (tmp_path / "c.seg.nrrd").write_bytes(file.read_bytes()[:-1] + b"")
    with pytest.raises(ScanError, match="cannot be read"):
        check_label(tmp_path / "c.seg.nrrd", check_scan(image))
