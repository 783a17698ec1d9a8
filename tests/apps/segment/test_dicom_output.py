# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""DICOM-SEG of a whole run: DICOM support and queries in, Segmentation objects beside the masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_series import write_series

from monai_fss.apps.segment.formats import MaskFiles
from monai_fss.apps.segment.pipeline import segment
from monai_fss.data import ScanError, list_scans

CASES = ("1.2.840.1", "pat.B")


def as_series(nifti: Path, folder: Path) -> None:
    image: Any = nib.Nifti1Image.from_filename(nifti)
    write_series(folder, np.rint(image.get_fdata()).astype(np.int32), image.affine, intercept=0.0, modality="MR")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, phantom_set: Path, trained: Path) -> tuple[Path, Path]:
    """Folder of the series and folder of the results. Do not change them."""
    root = tmp_path_factory.mktemp("dicom")
    as_series(phantom_set / "images" / "case_01.nii.gz", root / "support")
    for number, case in enumerate(CASES, 2):
        as_series(phantom_set / "images" / f"case_0{number}.nii.gz", root / "in" / case)
    # Resampled in no way: the same voxels in DICOM's order, as tools write that draw on the series.
    label: Any = nib.Nifti1Image.from_filename(phantom_set / "labels" / "case_01.nii.gz")
    from monai_fss.data import check_scan

    grid = check_scan(root / "support").affine
    order = nib.orientations.io_orientation(np.linalg.inv(grid) @ label.affine)
    nib.save(label.as_reoriented(order), root / "label.nii.gz")
    settings = {"quality": False, "overlays": True, "names": {1: "liver", 2: "right_kidney"}}
    wanted = [1, 2]
    pair = [root / "support"], [root / "label.nii.gz"]
    segment("adnet", trained / "model.pt", *pair, root / "in", root / "out", labels=wanted, settings=settings)
    return root / "in", root / "out"


def test_each_series_gets_an_object_that_holds_its_mask(run: tuple[Path, Path], tmp_path: Path) -> None:
    images, output = run
    assert {p.name for p in output.glob("*.nii.gz")} == {f"{case}.nii.gz" for case in CASES}
    queries = list_scans(images)
    files = MaskFiles("both", False, queries)
    assert files.problems(queries) == {}
    assert files.write(output, queries, algorithm="adnet") == list(CASES)
    for case in CASES:
        seg = highdicom.seg.segread(output / f"{case}.dcm")
        assert [s.SegmentLabel for s in seg.SegmentSequence] == ["liver", "right_kidney"]
        headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted((images / case).iterdir())]
        uids = [header.SOPInstanceUID for header in headers]
        read = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
        mask: Any = nib.Nifti1Image.from_filename(output / f"{case}.nii.gz")
        own = np.asarray(mask.dataobj)
        assert own.any()
        # Where the mask has voxel (i, j, k), the slice that lies there has the same value at (row, column).
        for index in np.argwhere(own)[::97]:
            lps = (mask.affine @ [*index, 1])[:3] * (-1, -1, 1)
            k = int(np.argmin([abs(float(header.ImagePositionPatient[2]) - lps[2]) for header in headers]))
            corner = np.array(headers[k].ImagePositionPatient, dtype=float)
            axes = np.array(headers[k].ImageOrientationPatient, dtype=float).reshape(2, 3)
            column, row = axes @ (lps - corner) / np.array(headers[k].PixelSpacing, dtype=float)[::-1]
            assert read[k, round(row), round(column)] == own[tuple(index)]
        assert [(read == value).sum() for value in (1, 2)] == [(own == value).sum() for value in (1, 2)]


def test_a_rerun_goes_on_and_nifti_can_be_left_out(run: tuple[Path, Path], tmp_path: Path) -> None:
    import shutil

    images, output = run
    shutil.copytree(output, tmp_path / "out", ignore=shutil.ignore_patterns("*.dcm"))
    queries = list_scans(images)
    files, alone = (MaskFiles(form, False, queries) for form in ("both", "dicom-seg"))
    assert files.write(tmp_path / "out", queries) == list(CASES)
    before = (tmp_path / "out" / "pat.B.dcm").read_bytes()
    (tmp_path / "out" / "1.2.840.1.dcm").unlink()
    assert files.write(tmp_path / "out", queries) == ["1.2.840.1"]
    assert alone.write(tmp_path / "out", queries, again=["pat.B"]) == ["pat.B"]
    assert (tmp_path / "out" / "pat.B.dcm").read_bytes() != before, "another object has other UIDs"
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    (tmp_path / "out" / "pat.B.dcm").unlink()
    with pytest.raises(ScanError, match=r"out: has no pat.B.nii.gz, or no row .* Segment the scans first"):
        files.write(tmp_path / "out", queries)


def test_scans_that_are_no_series_are_refused_before_a_run(phantom_set: Path, run: tuple[Path, Path]) -> None:
    queries = list_scans(phantom_set / "images")
    every = queries | list_scans(run[0])
    problems = MaskFiles("both", False, every).problems(every)
    assert list(problems) == list(queries)
    assert problems["case_01"] == [
        f"{queries['case_01']}: is not a DICOM series, and a DICOM-SEG belongs to one. Write its mask as NIfTI."
    ]
