# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""DICOM series folders: read like the same volume as NIfTI, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import nibabel as nib
import numpy as np
import pytest
from dicom_series import oblique_affine, scan_values, set_tag, write_series
from monai.transforms import LoadImage
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from monai_fss.data import (
    DatasetFolder,
    InputWarning,
    ScanError,
    check_label,
    check_queries,
    check_scan,
    check_support,
    list_scans,
)

SHUFFLED = [f"{k}.dcm" for k in (4, 1, 5, 0, 2, 3)]
VALUES = scan_values()


def in_place(image: Any, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The values of an image at the voxels of a grid, which must be its own voxels in some order."""
    grid = np.indices(shape).reshape(3, -1)
    mm = affine[:3, :3] @ grid + affine[:3, 3:]
    own = np.linalg.inv(np.asarray(image.affine)) @ np.vstack([mm, np.ones(mm.shape[1])])
    np.testing.assert_allclose(own, np.rint(own), atol=1e-3)
    i, j, k = np.rint(own[:3]).astype(int)
    assert image.shape == shape and min(i.min(), j.min(), k.min()) == 0
    return np.asarray(image)[i, j, k].reshape(shape)


READ: dict[str, dict[str, Any]] = {
    "plain": {},
    "fractional slope": {"slope": 2.5},
    "slope of each slice": {"slope": [0.5, 1.0, 0.25, 2.0, 0.3, 1.0]},
    "whole slope of each slice": {"slope": [1.0, 2.0, 3.0, 1.0, 2.0, 1.0]},
    "MR with a slope": {"modality": "MR", "slope": 1.5, "intercept": 0.0},
    "MR without": {"modality": "MR", "slope": None},
    "file names in another order": {"names": SHUFFLED},
    "no suffix": {"names": [f"IM{k}" for k in (4, 1, 5, 0, 2, 3)]},
    "instance numbers reversed": {"numbers": [6, 5, 4, 3, 2, 1]},
    "instance numbers equal": {"numbers": [1] * 6},
    "oblique": {"affine": oblique_affine(degrees=(20.0, 35.0))},
    "nearly sagittal": {"affine": oblique_affine(degrees=(80.0, 35.0)), "names": SHUFFLED},
    "slices against their normal": {"affine": oblique_affine((1.5, 2.0, 4.0)) @ np.diag((1.0, 1.0, -1.0, 1.0))},
    "latin letters": {"change": set_tag("SeriesDescription", "Sch\xe4del")},
}


@pytest.mark.parametrize("name", READ)
def test_series_is_the_same_volume_as_its_nifti(name: str, tmp_path: Path) -> None:
    options = {"affine": oblique_affine(), **READ[name]}
    stored = VALUES + 1024
    write_series(tmp_path / "s", stored, **options)
    slope, intercept = options.get("slope", 1.0), options.get("intercept", -1024.0)
    expected = stored * np.array(slope) + intercept if slope is not None else stored
    nib.save(nib.Nifti1Image(expected.astype(np.float32), options["affine"]), tmp_path / "n.nii.gz")
    scan, nifti = check_scan(tmp_path / "s"), check_scan(tmp_path / "n.nii.gz")
    # The way of the bundles, and of a NIfTI through them.
    series = LoadImage(image_only=True)(tmp_path / "s")
    np.testing.assert_allclose(np.asarray(series.affine), scan.affine)
    np.testing.assert_allclose(in_place(series, options["affine"], stored.shape), expected, rtol=1e-6)
    np.testing.assert_allclose(
        in_place(series, nifti.affine, stored.shape), np.asarray(LoadImage(image_only=True)(tmp_path / "n.nii.gz"))
    )
    assert scan.spacing == pytest.approx(nifti.spacing)
    assert (scan.minimum, scan.maximum) == pytest.approx((expected.min(), expected.max()))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "missing slice": ({"skip": (3,)}, r"gap of 8 mm between 002.dcm and 004.dcm: slices are 4 to 8 mm apart"),
    "uneven": (
        {"change": set_tag("ImagePositionPatient", [-20, 31.5, 20.25], 3)},
        r"gap of 5 mm between 002.dcm and 003.dcm: slices are 3 to 5 mm .* or resample it to even spacing",
    ),
    "slow drift": (
        {"change": lambda k, d: setattr(d, "ImagePositionPatient", [-20, 31.5, 4 * k + 0.1 * k * k])},
        r"slices are 4.1 to 4.9 mm apart",
    ),
    "same place": (
        {"change": set_tag("ImagePositionPatient", [-20, 31.5, 15.25], 3)},
        r"002.dcm and 003.dcm are at the same place \(15.25 mm along the normal\). Remove the copy, or put each volume",
    ),
    "in-plane size": (
        {"change": lambda k, d: k == 3 and (setattr(d, "Rows", 7), setattr(d, "PixelData", d.PixelData[:140]))},
        r"slices of its series differ in rows \(7, 8\). Put those that belong together",
    ),
    "thickness": ({"change": set_tag("SliceThickness", "5", 3)}, r"differ in slice thickness \(4.*, 5\)"),
    "series date": (
        {"change": set_tag("SeriesDate", "20240103", 5)},
        r"differ in series date \(20240102, 20240103\)",
    ),
    "pixel spacing": (
        {"change": set_tag("PixelSpacing", [2.1, 1.5], 3)},
        r"slices differ in Pixel Spacing: 2\\1.5 in 000.dcm, 2.1\\1.5 in 003.dcm",
    ),
    "orientation": (
        {"change": set_tag("ImageOrientationPatient", [1, 0, 0, 0, 0.9998, 0.02], 3)},
        r"slices differ in Image Orientation \(Patient\): .* in 000.dcm, 1\\0\\0\\0\\0.9998\\0.02 in 003.dcm",
    ),
    "not perpendicular": (
        {"change": set_tag("ImageOrientationPatient", [1, 0, 0, 0.6, 0.8, 0])},
        r"1\\0\\0\\0.6\\0.8\\0 is not two perpendicular",
    ),
    "no position": (
        {"change": set_tag("ImagePositionPatient", None, 3)},
        r"1 of 6 slices have no valid Image Position \(Patient\), such as 003.dcm. Export the series again with",
    ),
    "no orientation": (
        {"change": set_tag("ImageOrientationPatient", None)},
        r"6 of 6 slices have no valid Image Orientation",
    ),
    "no pixel spacing": ({"change": set_tag("PixelSpacing", None)}, r"6 of 6 slices have no valid Pixel Spacing"),
    "gantry tilt": (
        {"affine": oblique_affine() + np.eye(4)[:, [1]] @ np.eye(4)[[2]]},
        r"shifted in their plane by up to 5 mm \(gantry tilt, about 14.0 degrees\). Convert it .* such as dcm2niix",
    ),
    "slopes cut off": (
        {"slope": [1.0, 0.5, 0.25, 1.0, 1.0, 1.0]},
        r"values would be cut off: 000.dcm int32 \(rescale slope 1\), 001.dcm float64 \(rescale slope 0.5\)",
    ),
    "slopes too wide": (
        {"stored": VALUES, "intercept": 0.0, "slope": [1.0, 40.0, 1.0, 1.0, 1.0, 1.0]},
        r"values would be cut off: 000.dcm int16 .*, 001.dcm int32 \(rescale slope 40\)",
    ),
    "slope zero": ({"slope": 0.0}, r"rescale slope 0.0 and intercept -1024.0 cannot be applied \(000.dcm\)"),
    "one without slope": (
        {"change": set_tag("RescaleSlope", None, 3)},
        r"some slices have no rescale slope \(003.dcm\), the others have one",
    ),
    "some inverted": (
        {"change": lambda k, d: k and setattr(d, "PhotometricInterpretation", "MONOCHROME1")},
        r"some slices are MONOCHROME1 and some MONOCHROME2; the first is MONOCHROME2 \(001.dcm and 4 more\). Export",
    ),
    "palette": (
        {"change": set_tag("PhotometricInterpretation", "YBR_FULL")},
        r"photometric interpretation is YBR_FULL, not MONOCHROME2 \(000.dcm and 5 more\). Export one grey value",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_read_wrongly_is_refused(name: str, tmp_path: Path) -> None:
    options, says = REFUSED[name]
    write_series(tmp_path / "s", **{"stored": VALUES + 1024, "affine": oblique_affine(), **options})
    with pytest.raises(ScanError, match=rf"/s: .*{says}"):
        check_scan(tmp_path / "s")


def colour(k: int, header: Dataset) -> None:
    header.SamplesPerPixel, header.PhotometricInterpretation, header.PlanarConfiguration = 3, "RGB", 0
    header.BitsAllocated = header.BitsStored = 8
    header.HighBit, header.PixelData = 7, bytes(header.Rows * header.Columns * 3)


def test_colour_and_multi_frame_images_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "rgb", VALUES + 1024, oblique_affine(), change=colour)
    with pytest.raises(ScanError, match=r"photometric interpretation is RGB, not MONOCHROME2 \(000.dcm and 5 more\)"):
        check_scan(tmp_path / "rgb")
    slices = write_series(tmp_path / "s", VALUES + 1024, oblique_affine())
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(slices, generate_uid(), 1, generate_uid(), 1)
    (tmp_path / "e").mkdir()
    enhanced.save_as(tmp_path / "e" / "all.dcm")
    with pytest.raises(ScanError, match=r"multi-frame \(enhanced\) image \(all.dcm\). Convert .* with dcm2niix"):
        check_scan(tmp_path / "e")


def test_other_files_beside_a_series_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "1.2.840.99.1"
    write_series(folder, VALUES + 1024, oblique_affine())
    before = check_scan(folder)
    files = FileSet()
    for path in sorted(folder.iterdir()):
        files.add(path)
    files.write(tmp_path / "media")
    (folder / "DICOMDIR").write_bytes((tmp_path / "media" / "DICOMDIR").read_bytes())
    (folder / "README.txt").write_text("hello")
    (folder / ".DS_Store").write_bytes(b"\0" * 200)
    (folder / "empty").mkdir()
    assert check_scan(folder).digest == before.digest
    assert np.asarray(LoadImage(image_only=True)(folder)).shape == VALUES.shape


@pytest.mark.parametrize("which", ["000.dcm", "003.dcm", "005.dcm"])
def test_a_damaged_slice_is_named_also_at_an_end(which: str, tmp_path: Path) -> None:
    write_series(tmp_path, VALUES + 1024, oblique_affine())
    (tmp_path / which).write_bytes((tmp_path / which).read_bytes()[:-40])
    with pytest.raises(ScanError, match=rf"{which} cannot be read as a DICOM image. Export the whole series again"):
        check_scan(tmp_path)


def test_two_series_are_named(tmp_path: Path) -> None:
    slices = write_series(tmp_path, VALUES + 1024, oblique_affine())
    segment = highdicom.seg.SegmentDescription(1, "a", codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL")
    mask = np.ones((6, 8, 10), np.uint8)
    uids = generate_uid(), 9, generate_uid(), 1
    highdicom.seg.Segmentation(slices, mask, "BINARY", [segment], *uids, "m", "n", "v", "d").save_as(tmp_path / "z.dcm")
    with pytest.raises(
        ScanError, match=r"holds 2 DICOM series. Put .*: CT 000.dcm \(6 file.*, SEG z.dcm \(1 file"
    ) as e:
        check_scan(tmp_path)
    assert len(e.value.problems) == 1


def test_positions_rounded_to_a_tenth_of_a_mm_are_even(tmp_path: Path) -> None:
    def rounded(k: int, header: Dataset) -> None:
        header.ImagePositionPatient = [f"{v:.1f}" for v in header.ImagePositionPatient]

    affine = oblique_affine((1.5, 2.0, 0.7))
    write_series(tmp_path / "s", VALUES + 1024, affine, change=rounded)
    assert check_scan(tmp_path / "s").spacing == pytest.approx((1.5, 2.0, 0.7), abs=0.021)
    write_series(tmp_path / "gap", VALUES + 1024, affine, change=rounded, skip=(2,))
    with pytest.raises(ScanError, match="between 001.dcm and 003.dcm"):
        check_scan(tmp_path / "gap")


def test_a_single_slice_is_read_and_its_thickness_doubted(tmp_path: Path) -> None:
    skip = (0, 1, 3, 4, 5)
    write_series(tmp_path / "a", VALUES + 1024, oblique_affine(), skip=skip)
    with pytest.warns(InputWarning, match=r"single slice without Spacing Between Slices is taken for 1 mm"):
        assert check_scan(tmp_path / "a").shape == (10, 8, 1)
    write_series(tmp_path / "b", VALUES + 1024, oblique_affine(), skip=skip, change=set_tag("SpacingBetweenSlices", 4))
    scan = check_scan(tmp_path / "b")
    assert scan.spacing == pytest.approx((1.5, 2.0, 4.0))
    np.testing.assert_allclose(scan.affine, oblique_affine() @ [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]])


def test_ct_without_rescaling_is_doubted(tmp_path: Path) -> None:
    write_series(tmp_path, VALUES + 1024, oblique_affine(), slope=None)
    with pytest.warns(InputWarning, match="CT without rescale intercept. Are its values HU?"):
        check_scan(tmp_path)


def test_series_is_a_scan_wherever_one_is_accepted(tmp_path: Path) -> None:
    affine = oblique_affine(degrees=(5.0, 10.0))
    label = (VALUES > 800).astype(np.uint8)
    (tmp_path / "labels").mkdir()
    for seed, name in enumerate(("1.2.840.1", "1.2.840.2", "pat.A")):
        write_series(tmp_path / "images" / name, scan_values(seed=seed) + 1024, affine, names=SHUFFLED)
        nib.save(nib.Nifti1Image(label, affine), tmp_path / "labels" / f"{name}.nii.gz")
    assert list(list_scans(tmp_path / "images")) == ["1.2.840.1", "1.2.840.2", "pat.A"]
    assert list(list_scans(tmp_path / "images" / "pat.A")) == ["pat.A"]
    data = DatasetFolder.read(tmp_path)
    assert [data.cases[name].label for name in data.cases] == sorted((tmp_path / "labels").iterdir())
    for case in data.cases.values():
        assert case.label and check_label(case.label, check_scan(case.image)).counts == {1: int(label.sum())}
    support, _ = check_support(tmp_path / "images" / "pat.A", tmp_path / "labels" / "pat.A.nii.gz", [1])
    queries = list_scans(tmp_path / "images")
    with pytest.raises(ScanError, match="pat.A: is the support itself"):
        check_queries(queries, support)
    del queries["pat.A"]
    assert set(check_queries(queries, support)) == {"1.2.840.1", "1.2.840.2"}
    shifted = affine.copy()
    shifted[2, 3] += 4
    nib.save(nib.Nifti1Image(label, shifted), tmp_path / "labels" / "pat.A.nii.gz")
    with pytest.raises(ScanError, match="label has affine .*pat.A has"):
        check_support(tmp_path / "images" / "pat.A", tmp_path / "labels" / "pat.A.nii.gz")


def test_a_copy_of_a_series_and_its_nifti_are_the_same_scan(tmp_path: Path) -> None:
    write_series(tmp_path / "s", VALUES + 1024, oblique_affine())
    nib.save(nib.Nifti1Image(VALUES.astype(np.int16), oblique_affine()), tmp_path / "n.nii.gz")
    with pytest.raises(ScanError, match="has the same voxels as the support"):
        check_queries({"n": tmp_path / "n.nii.gz"}, check_scan(tmp_path / "s"))
