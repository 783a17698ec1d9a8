# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Downloads of NIfTI files, and Pancreas-CT's of DICOM series: found, paired by number, converted voxel by voxel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_series import oblique_affine, write_series
from public_downloads import volumes, write_nifti

from monai_fss.data import (
    DatasetFolder,
    InputWarning,
    ScanError,
    prepare_btcv,
    prepare_mscmr,
    prepare_pancreas_ct,
    prepare_structseg,
)

pytestmark = pytest.mark.filterwarnings("ignore::monai_fss.data.InputWarning")
AFFINE = np.diag((-0.75, 0.75, 3.0, 1.0))
AFFINE[:3, 3] = (120, -90, 30)
OBLIQUE = oblique_affine(degrees=(40.0, 30.0))
TCIA = [1, 3, 4, 5, 6, 7, 11, 14]


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nib.Nifti1Image.from_filename(path)
    return np.asarray(image.dataobj), image.affine


def btcv_case(folder: Path, number: int, values: list[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    image, label = volumes(number, values or list(range(1, 14)))
    write_nifti(folder / "Training" / "img" / f"img{number:04d}.nii.gz", image, AFFINE)
    write_nifti(folder / "Training" / "label" / f"label{number:04d}.nii.gz", label, AFFINE)
    return image, label


def test_btcv_the_whole_set(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    numbers = [*range(1, 11), *range(21, 41)]
    written = {number: btcv_case(tmp_path / "RawData", number) for number in numbers}
    write_nifti(tmp_path / "RawData" / "Testing" / "img" / "img0061.nii.gz", written[1][0], AFFINE)
    (tmp_path / "RawData" / "Training" / "img" / "._img0001.nii.gz").write_bytes(b"of a file system")
    prepare_btcv(tmp_path / "RawData", tmp_path / "out")
    assert not [w for w in recwarn if issubclass(w.category, InputWarning)]
    data = DatasetFolder.read(tmp_path / "out")
    assert (data.name, data.modality, len(data.labels)) == ("btcv_ct", "CT", 13)
    assert list(data.cases) == [f"case_{number:02d}" for number in numbers] and data.folds[1][-2:] == (
        "case_21",
        "case_22",
    )
    assert [len(fold) for fold in data.folds] == [6] * 5
    data.check()
    for number, (image, label) in written.items():
        for folder, expected in (("images", image), ("labels", label)):
            voxels, affine = read(tmp_path / "out" / folder / f"case_{number:02d}.nii.gz")
            np.testing.assert_array_equal(voxels, expected)
            np.testing.assert_allclose(affine, AFFINE)
    assert voxels.dtype == np.uint8


def test_headers_are_those_of_the_scan(tmp_path: Path) -> None:
    """Both forms of a scan's header, their codes among them, are its label's too."""
    image, label = btcv_case(tmp_path, 1)
    scan = nib.Nifti1Image(image, AFFINE)
    scan.set_sform(AFFINE, 2)
    scan.set_qform(AFFINE, 3)
    nib.save(scan, tmp_path / "Training" / "img" / "img0001.nii.gz")
    prepare_btcv(tmp_path, tmp_path / "out", folds=1)
    for folder in ("images", "labels"):
        header: Any = nib.Nifti1Image.from_filename(tmp_path / "out" / folder / "case_01.nii.gz").header
        assert (int(header["sform_code"]), int(header["qform_code"])) == (2, 3)


def test_btcv_cut_as_the_paper_does(tmp_path: Path) -> None:
    image, label = btcv_case(tmp_path, 1)
    prepare_btcv(tmp_path, tmp_path / "out", organs=["liver"], folds=1, window=(-125, 275), border=2)
    voxels, affine = read(tmp_path / "out" / "images" / "case_01.nii.gz")
    np.testing.assert_array_equal(voxels, np.clip(image[2:-2, 2:-2], -125, 275))
    assert voxels.dtype == np.int16 and voxels.min() == -125 and voxels.max() == 275
    np.testing.assert_allclose(affine @ (0, 0, 0, 1), AFFINE @ (2, 2, 0, 1))
    np.testing.assert_allclose(affine[:3, :3], AFFINE[:3, :3])
    mask, _ = read(tmp_path / "out" / "labels" / "case_01.nii.gz")
    np.testing.assert_array_equal(mask, np.where(label[2:-2, 2:-2] == 6, 6, 0))
    with pytest.raises(ScanError, match=r"img0001.nii.gz: has slices of \(9, 7\) pixels, of which 4 at each side"):
        prepare_btcv(tmp_path, tmp_path / "out_2", folds=1, border=4)


def test_mscmr_values_and_oblique_grids(tmp_path: Path) -> None:
    written = {}
    for number in (1, 2, 10):
        image, label = volumes(number, [200, 500, 600])
        write_nifti(tmp_path / "c0t2lge" / f"patient{number}_C0.nii.gz", image, OBLIQUE)
        write_nifti(tmp_path / "c0t2lge" / f"patient{number}_LGE.nii.gz", image, OBLIQUE)
        write_nifti(tmp_path / "c0gt" / f"patient{number}_C0_manual.nii.gz", label, OBLIQUE)
        written[f"case_{number:02d}"] = image, label
    write_nifti(tmp_path / "c0t2lge" / "patient40_C0.nii.gz", image, OBLIQUE)
    prepare_mscmr(tmp_path, tmp_path / "out", folds=3)
    data = DatasetFolder.read(tmp_path / "out")
    assert list(data.cases) == list(written) and data.labels == {"LV_myocardium": 1, "LV_blood_pool": 2, "RV": 3}
    data.check()
    for name, (image, label) in written.items():
        voxels, affine = read(tmp_path / "out" / "images" / f"{name}.nii.gz")
        np.testing.assert_array_equal(voxels, image)
        np.testing.assert_allclose(affine, OBLIQUE, atol=1e-4)
        mask, _ = read(tmp_path / "out" / "labels" / f"{name}.nii.gz")
        np.testing.assert_array_equal(mask, np.select([label == 200, label == 500, label == 600], [1, 2, 3]))


def pancreas_case(folder: Path, number: int, values: list[int], flip: Callable[[np.ndarray], Any]) -> tuple[Any, ...]:
    """A DICOM series as TCIA has it, and a label whose axes run as ``flip`` says; both on the grid of the series."""
    image, label = volumes(number, values)
    affine = oblique_affine((0.8, 0.8, 1.0))
    study = folder / "Pancreas-CT" / f"PANCREAS_{number:04d}" / "11-24-2015" / "series"
    write_series(study, image + 1024, affine, intercept=-1024.0)
    (study / "LICENSE").write_text("text")
    turned = flip(nib.Nifti1Image(label, affine))
    write_nifti(folder / "labels" / f"label{number:04d}.nii.gz", np.asarray(turned.dataobj), turned.affine)
    return image, label, affine


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS", "SPL"])
def test_pancreas_ct_labels_are_turned_to_their_scans(axes: str, tmp_path: Path) -> None:
    def flip(image: Any) -> Any:
        return image.as_reoriented(
            nib.orientations.ornt_transform(
                nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
            )
        )

    image, label, affine = pancreas_case(tmp_path, 2, TCIA, flip)
    prepare_pancreas_ct(tmp_path, tmp_path / "out", organs=["spleen", "left_kidney", "liver"], folds=1)
    DatasetFolder.read(tmp_path / "out").check()
    for folder, expected in (("images", image), ("labels", np.where(np.isin(label, (1, 3, 6)), label, 0))):
        made = nib.Nifti1Image.from_filename(tmp_path / "out" / folder / "case_02.nii.gz")
        there = made.as_reoriented(
            nib.orientations.ornt_transform(
                nib.orientations.io_orientation(made.affine), nib.orientations.io_orientation(affine)
            )
        )
        np.testing.assert_allclose(there.affine, affine, atol=1e-4)
        np.testing.assert_array_equal(there.dataobj, expected)


def test_pancreas_ct_refusals(tmp_path: Path) -> None:
    def moved(image: Any) -> Any:
        return nib.Nifti1Image(image.dataobj, image.affine + np.outer((1, 0, 0, 0), (0, 0, 0, 50.0)))

    _, label, _ = pancreas_case(tmp_path, 2, TCIA, moved)
    with pytest.raises(ScanError, match="label0002.nii.gz: label has affine .*, its image .*series has"):
        prepare_pancreas_ct(tmp_path, tmp_path / "out", folds=1)
    prepare_pancreas_ct(tmp_path, tmp_path / "out", folds=1, ignore_origin=True)
    mask, _ = read(tmp_path / "out" / "labels" / "case_02.nii.gz")
    np.testing.assert_array_equal(mask, label)
    pancreas_case(tmp_path, 3, [1], lambda image: image)
    with pytest.raises(ScanError, match="label0003.nii.gz: shows no other value than 1. TCIA's labels of the pancreas"):
        prepare_pancreas_ct(tmp_path, tmp_path / "out_2", folds=1, ignore_origin=True)
    write_series(tmp_path / "Pancreas-CT" / "PANCREAS_0003" / "more", label.astype(np.int32), AFFINE)
    with pytest.raises(ScanError, match="PANCREAS_0003: holds 2 folders with DICOM files, not one"):
        prepare_pancreas_ct(tmp_path, tmp_path / "out_2", folds=1, ignore_origin=True)


def test_structseg_by_the_values_that_are_given(tmp_path: Path) -> None:
    written = {}
    for number in (1, 2, 10):
        image, label = volumes(number, list(range(1, 23)), (12, 7, 5))
        write_nifti(tmp_path / "HaN_OAR" / str(number) / "data.nii.gz", image, AFFINE)
        write_nifti(tmp_path / "HaN_OAR" / str(number) / "label.nii.gz", label, AFFINE)
        written[f"case_{number:02d}"] = label
    organs = {"brain_stem": 9, "right_parotid": 14}
    prepare_structseg(tmp_path, tmp_path / "out", labels=organs, folds=3)
    data = DatasetFolder.read(tmp_path / "out")
    assert data.labels == organs and list(data.cases) == list(written)
    for name, label in written.items():
        mask, _ = read(tmp_path / "out" / "labels" / f"{name}.nii.gz")
        np.testing.assert_array_equal(mask, np.where(np.isin(label, (9, 14)), label, 0))
    for wrong in ({}, {"brain_stem": 23}, {"brain_stem": 1, "right_parotid": 1}):
        with pytest.raises(ScanError, match="labels: .* does not name organs by values of 1 to 22"):
            prepare_structseg(tmp_path, tmp_path / "out_2", labels=wrong)


def spoilt(change: Callable[[np.ndarray], Any], affine: np.ndarray = AFFINE) -> Callable[[Path], Any]:
    def spoil(folder: Path) -> None:
        path = folder / "Training" / "label" / "label0002.nii.gz"
        voxels = read(path)[0].astype(np.float32)
        changed = change(voxels)
        write_nifti(path, voxels if changed is None else changed, affine)

    return spoil


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "value": (
        spoilt(lambda v: v.__setitem__((0, 0, 0), 14)),
        r"label0002.nii.gz: has the value\(s\) 14; expected are 0",
    ),
    "fraction": (spoilt(lambda v: v.__setitem__((0, 0, 0), 0.5)), "label0002.nii.gz: label has 1 fractional values"),
    "not a number": (spoilt(lambda v: v.__setitem__((0, 0, 0), np.nan)), "label0002.nii.gz: has 1 NaN"),
    "shape": (spoilt(lambda v: v[:, :, 1:]), r"label0002.nii.gz: label has shape \(9, 7, 4\), its image .*img0002"),
    "place": (spoilt(lambda v: None, OBLIQUE), "label0002.nii.gz: label has affine"),
    "no image": (
        lambda folder: (folder / "Training" / "img" / "img0002.nii.gz").unlink(),
        "label0002.nii.gz has no image of the same number. The download is RawData.zip",
    ),
    "not a number in the image": (
        lambda folder: write_nifti(
            folder / "Training" / "img" / "img0002.nii.gz", np.full((9, 7, 5), np.nan, np.float32), AFFINE
        ),
        "img0002.nii.gz: has 315 NaN",
    ),
    "cut short": (
        lambda folder: (folder / "Training" / "img" / "img0002.nii.gz").write_bytes(b"\x1f\x8b"),
        "img0002.nii.gz: ",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_refused_and_nothing_is_left(what: str, tmp_path: Path) -> None:
    change, problem = BAD[what]
    for number in (1, 2, 3):
        btcv_case(tmp_path / "in", number)
    change(tmp_path / "in")
    with pytest.raises(ScanError, match=problem):
        prepare_btcv(tmp_path / "in", tmp_path / "out", folds=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
