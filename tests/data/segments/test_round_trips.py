# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Each format of masks out and in again: the same voxels, names and colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_series import oblique_affine, scan_values, write_series

from monai_fss.data import (
    LoadScan,
    ScanError,
    Segment,
    check_label,
    check_scan,
    ctbl_text,
    label_names,
    organ_colours,
    segments_in,
    segments_of,
    snap_text,
    tsv_text,
    write_bids_sidecars,
    write_dicom_seg,
    write_seg_nrrd,
    write_text_atomic,
)
from monai_fss.data.files.nifti_output import save_nifti
from monai_fss.data.segments.label_tables import read_ctbl, read_snap, read_tsv
from monai_fss.data.segments.palette import COLOURS, rgb

SHAPE, AFFINE = (10, 8, 6), oblique_affine(degrees=(25.0, 50.0))
NAMES = {2: "right_kidney", 5: "liver \u0142 lobe", 300: "not there"}
MASK = np.random.default_rng(3).choice([0, 0, 2, 5], size=SHAPE).astype(np.int16)
MASK[:, :, [0, 5]] = 0  # a DICOM object leaves such frames out
Write = Callable[[Path, Path], Path]


def seg_nrrd(folder: Path, scan: Path) -> Path:
    return write_seg_nrrd(MASK, AFFINE, segments_of(NAMES), folder / "a.seg.nrrd")


def dicom_seg(folder: Path, scan: Path) -> Path:
    return write_dicom_seg(MASK, AFFINE, scan, NAMES, folder / "a.dcm")


def nifti(folder: Path, scan: Path) -> Path:
    save_nifti(folder / "a.nii.gz", MASK, AFFINE)
    write_text_atomic(folder / "labels.label", snap_text(segments_of(NAMES)))
    return folder / "a.nii.gz"


def bids(folder: Path, scan: Path) -> Path:
    save_nifti(folder / "sub-a_dseg.nii.gz", MASK, AFFINE)
    write_bids_sidecars(folder / "sub-a_dseg.nii.gz", segments_of(NAMES))
    return folder / "sub-a_dseg.nii.gz"


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series") / "s"
    write_series(folder, scan_values(SHAPE) + 1024, AFFINE)
    return folder


@pytest.mark.parametrize("write", [seg_nrrd, dicom_seg, nifti, bids], ids=lambda write: write.__name__)
def test_voxels_names_and_colours_come_back(write: Write, series: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "out", series)
    label = LoadScan(as_label=True)(file, series)
    np.testing.assert_array_equal(label[0].numpy(), MASK)
    np.testing.assert_allclose(label.affine, AFFINE, atol=1e-4)
    assert segments_in(file) == segments_of(NAMES)
    assert label_names([file]) == NAMES
    assert check_label(file, check_scan(series)).counts == {v: int((v == MASK).sum()) for v in (2, 5)}


def test_a_single_slice_and_another_scan(series: Path, tmp_path: Path) -> None:
    """What is drawn in one slice alone lies there; on a scan elsewhere it is refused."""
    mask = np.zeros_like(MASK)
    mask[2:5, 3:6, 4] = 5
    file = write_dicom_seg(mask, AFFINE, series, NAMES, tmp_path / "a.dcm")
    np.testing.assert_array_equal(LoadScan(as_label=True)(file, series)[0].numpy(), mask)
    write_series(tmp_path / "other", scan_values(SHAPE) + 1024, oblique_affine(degrees=(25.0, 51.0)))
    for write in (seg_nrrd, dicom_seg):
        with pytest.raises(ScanError, match="label has (affine|shape)"):
            check_label(write(tmp_path, series), check_scan(tmp_path / "other"))


def test_a_dicom_file_that_is_no_segmentation_is_refused(series: Path) -> None:
    with pytest.raises(ScanError, match="000.dcm: cannot be read as a DICOM segmentation"):
        check_label(series / "000.dcm", check_scan(series))


def test_dicom_without_its_packages_says_what_to_install(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = dicom_seg(tmp_path, series)
    for module in ("reading.segmentations.dicom_object", "segments.found"):
        monkeypatch.setattr(f"monai_fss.data.{module}.find_spec", lambda name: None)
    with pytest.raises(ScanError, match=r"Install them: pip install 'monai-fss\[dicom\]'"):
        check_label(file, check_scan(series))
    assert segments_in(file) == []


def test_tables_are_what_the_programs_read() -> None:
    organs = [Segment(1, 'left "kidney"', "#E69F00"), Segment(12, "liver", "#56B4E9")]
    assert snap_text(organs).splitlines()[1] == "# ITK-SnAP Label Description File"
    assert snap_text(organs).splitlines()[-2:] == [
        "    1   230  159    0        1  1  1    \"left 'kidney'\"",
        '   12    86  180  233        1  1  1    "liver"',
    ]
    assert ctbl_text(organs).splitlines()[2:] == [
        "0 background 0 0 0 0",
        '1 left_"kidney" 230 159 0 255',
        "12 liver 86 180 233 255",
    ]
    assert tsv_text(organs).splitlines() == ["index\tname\tcolor", '1\tleft "kidney"\t#E69F00', "12\tliver\t#56B4E9"]
    assert read_tsv(tsv_text(organs)) == organs and read_snap(snap_text(organs))[1:] == organs[1:]
    assert [organ.name for organ in read_ctbl(ctbl_text(organs))] == ['left_"kidney"', "liver"]
    assert tsv_text([Segment(1, "a\tb\nc", "#000000")]).splitlines()[1] == "1\ta b c\t#000000"
    assert read_tsv("index\tname\n3\tpons\nx\ty\n4\tn/a\n") == [Segment(3, "pons", "")]


def test_the_palette_tells_49_organs_apart() -> None:
    colours = organ_colours(range(1, 50))
    assert list(colours.values())[:7] == list(COLOURS) and len(set(colours.values())) == 49
    assert organ_colours([500, 1, 500]) == {500: COLOURS[0], 1: COLOURS[1]}
    assert rgb("#0102FF") == (1, 2, 255)
    with pytest.raises(ValueError, match="is not of the form #RRGGBB"):
        rgb("red")
