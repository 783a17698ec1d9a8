# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Masks as DICOM-SEG: every frame at the place of its slice, every name with its codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_series import oblique_affine, scan_values, write_series
from pydicom.dataset import Dataset

from monai_fss.data import ScanError, check_scan, coded_name, dicom_seg_problems, write_dicom_seg
from monai_fss.data.files import dicom_codes

NAMES = {2: "right_kidney", 5: "thing", 7: "liver"}
SHAPE = (10, 8, 6)


def a_mask(values: tuple[int, ...] = (0, 2, 5, 7)) -> np.ndarray:
    """Every value in every slice but the first, which is empty; no symmetry that could hide an exchange of axes."""
    mask = np.random.default_rng(3).choice(values, size=SHAPE).astype(np.uint8)
    mask[:, :, 0] = 0
    return mask


def series(folder: Path, affine: np.ndarray, **options: Any) -> list[Dataset]:
    return write_series(folder, scan_values(SHAPE) + 1024, affine, **options)


def frames_by_place(path: Path, affine: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """(segment number, slice of the array that ``affine`` belongs to) to frame as (columns, rows), by pydicom alone."""
    seg = pydicom.dcmread(path)
    found = {}
    to_voxel = np.linalg.inv(np.diag((-1.0, -1.0, 1.0, 1.0)) @ affine)
    for groups, pixels in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        place = [*groups.PlanePositionSequence[0].ImagePositionPatient, 1]
        voxel = to_voxel @ np.array(place, dtype=float)
        np.testing.assert_allclose(voxel[[0, 1, 3]], (0, 0, 1), atol=1e-4)
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        found[number, round(voxel[2])] = pixels.T
    return found


@pytest.mark.parametrize("degrees", [(0.0, 0.0), (25.0, 50.0)])
def test_each_frame_lies_at_its_slice_and_names_it(degrees: tuple[float, float], tmp_path: Path) -> None:
    affine, mask = oblique_affine(degrees=degrees), a_mask()
    slices = series(tmp_path / "s", affine, names=[f"{k}.dcm" for k in (4, 1, 5, 0, 2, 3)], numbers=[6, 5, 4, 3, 2, 1])
    path = write_dicom_seg(mask, affine, tmp_path / "s", NAMES, tmp_path / "out" / "s.dcm")
    frames = frames_by_place(path, affine)
    assert sorted(frames) == [(number, k) for number in (1, 2, 3) for k in range(1, 6)], "empty frames are left out"
    for (number, k), pixels in frames.items():
        np.testing.assert_array_equal(pixels, mask[:, :, k] == sorted(NAMES)[number - 1])
    seg = highdicom.seg.segread(path)
    uids = [each.SOPInstanceUID for each in slices]
    read = seg.get_pixels_by_source_instance(uids, combine_segments=True, ignore_spatial_locations=False)
    np.testing.assert_array_equal(np.array([0, *NAMES])[read].transpose(2, 1, 0), mask)
    assert seg.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    assert seg.StudyInstanceUID == slices[0].StudyInstanceUID and seg.PatientID == "P1"
    assert seg.SeriesInstanceUID != slices[0].SeriesInstanceUID and seg.Modality == "SEG"
    assert seg.SegmentationType == "BINARY" and seg.SeriesNumber == 1003


def test_a_mask_with_its_axes_in_another_order_lands_at_the_same_place(tmp_path: Path) -> None:
    affine, mask = oblique_affine(degrees=(10.0, 20.0)), a_mask()
    series(tmp_path / "s", affine)
    flip = np.array([[0, 0, 1, 0], [0, -1, 0, SHAPE[1] - 1], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    turned = mask[:, ::-1].transpose(2, 1, 0)
    path = write_dicom_seg(turned, affine @ flip, tmp_path / "s", NAMES, tmp_path / "s.dcm")
    for (number, k), pixels in frames_by_place(path, affine).items():
        np.testing.assert_array_equal(pixels, mask[:, :, k] == sorted(NAMES)[number - 1])


def test_segments_have_names_codes_and_the_algorithm(tmp_path: Path) -> None:
    series(tmp_path / "s", oblique_affine())
    mask = a_mask((0, 7))
    path = write_dicom_seg(
        mask, oblique_affine(), tmp_path / "s", NAMES, tmp_path / "s.dcm", algorithm="adnet", version="9"
    )
    kidney, thing, liver = pydicom.dcmread(path).SegmentSequence
    assert [s.SegmentLabel for s in (kidney, thing, liver)] == ["right_kidney", "thing", "liver"]
    assert [s.SegmentDescription for s in (kidney, thing, liver)] == [f"label value {v}" for v in NAMES]
    types = [s.SegmentedPropertyTypeCodeSequence[0] for s in (kidney, thing, liver)]
    assert [t.CodeValue for t in types] == ["64033007", "91723000", "10200004"]
    assert types[0].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Right"
    assert {s.SegmentedPropertyCategoryCodeSequence[0].CodeValue for s in (kidney, thing, liver)} == {"91723000"}
    assert (liver.SegmentAlgorithmType, liver.SegmentAlgorithmName) == ("AUTOMATIC", "adnet")
    assert liver.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "9"
    assert {number for number, _ in frames_by_place(path, oblique_affine())} == {3}, "a class not found has no frame"


def test_a_mask_without_a_voxel_can_be_written(tmp_path: Path) -> None:
    series(tmp_path / "s", oblique_affine())
    path = write_dicom_seg(np.zeros(SHAPE, np.uint8), oblique_affine(), tmp_path / "s", NAMES, tmp_path / "s.dcm")
    assert not pydicom.dcmread(path).pixel_array.any()


def test_an_anonymized_series_with_foreign_letters_and_a_single_slice(tmp_path: Path) -> None:
    def strip(k: int, header: Dataset) -> None:
        for keyword in ("PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
            delattr(header, keyword)
        for keyword in ("AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator", "SeriesNumber"):
            delattr(header, keyword)
        header.SpecificCharacterSet, header.PatientName = "ISO_IR 100", "M\xfcller^A"
        header.SpacingBetweenSlices = "4"

    series(tmp_path / "s", oblique_affine(), change=strip, skip=(1, 2, 3, 4, 5))
    mask = a_mask()[:, :, 1:2]
    path = write_dicom_seg(mask, oblique_affine(), tmp_path / "s", {**NAMES, 9: "\u0142\u017c"}, tmp_path / "s.dcm")
    seg = pydicom.dcmread(path)
    assert str(seg.PatientName) == "M\xfcller^A" and seg.SegmentSequence[3].SegmentLabel == "\u0142\u017c"
    np.testing.assert_array_equal(frames_by_place(path, oblique_affine())[3, 0], mask[:, :, 0] == 7)


def test_other_grids_values_and_names_are_refused(tmp_path: Path) -> None:
    affine, mask = oblique_affine(), a_mask()
    series(tmp_path / "s", affine)
    out = tmp_path / "s.dcm"
    shifted = affine.copy()
    shifted[0, 3] += 1
    for grid in (shifted, np.diag((1.0, 2.0, 4.0, 1.0))):
        with pytest.raises(ScanError, match=r"s.dcm: mask has shape .*, its series has .*\. Give a mask on the grid"):
            write_dicom_seg(mask, grid, tmp_path / "s", NAMES, out)
    with pytest.raises(ScanError, match=r"mask has shape \(9, 8, 6\) .* its series has \(10, 8, 6\)"):
        write_dicom_seg(mask[1:], affine, tmp_path / "s", NAMES, out)
    with pytest.raises(ScanError, match=r"the value 7, which has no name; named are 2 \(a\), 5 \(b\)\. Name every"):
        write_dicom_seg(mask, affine, tmp_path / "s", {2: "a", 5: "b"}, out)
    with pytest.raises(ScanError, match="the value 3.5, which has no name"):
        write_dicom_seg(mask * 0.5, affine, tmp_path / "s", {1: "a"}, out)
    with pytest.raises(ScanError, match="label 7 has the name 'xxx.*with 1 to 64 characters"):
        write_dicom_seg(mask, affine, tmp_path / "s", {**NAMES, 7: "x" * 65}, out)
    assert not out.exists() and not list(tmp_path.glob(".unfinished*"))


def test_scans_that_no_segmentation_can_belong_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nii.gz").touch()
    assert "a.nii.gz: is not a DICOM series" in dicom_seg_problems(tmp_path / "a.nii.gz")[0]

    def no_frame(k: int, header: Dataset) -> None:
        del header.FrameOfReferenceUID

    series(tmp_path / "s", oblique_affine(), change=no_frame)
    assert check_scan(tmp_path / "s").shape == SHAPE
    with pytest.raises(ScanError, match="s: series has no frame of reference that is common to its slices. Write its"):
        write_dicom_seg(a_mask(), oblique_affine(), tmp_path / "s", NAMES, tmp_path / "s.dcm")
    series(tmp_path / "gap", oblique_affine(), skip=(3,))
    assert "gap of 8 mm" in dicom_seg_problems(tmp_path / "gap")[0]
    monkeypatch.setattr("monai_fss.data.files.dicom_seg.find_spec", lambda name: None)
    with pytest.raises(ScanError, match=r"not installed. Install them: pip install 'monai-fss\[dicom\]'"):
        write_dicom_seg(a_mask(), oblique_affine(), tmp_path / "s", NAMES, tmp_path / "s.dcm")


def plain(name: str) -> tuple[tuple[str, str, str] | None, ...]:
    """Value, scheme and meaning of category, type and side."""
    coded = coded_name(name)
    return tuple(
        None if code is None else (code.value, code.scheme_designator, code.meaning)
        for code in (coded.category, coded.type, coded.side)
    )


def test_codes_of_every_known_name() -> None:
    structure, abnormal = "91723000 Anatomical Structure", "49755003 Morphologically Abnormal Structure"
    for category, names in ((structure, ORGANS), (abnormal, FINDINGS)):
        for name, expected in names.items():
            for side, code in (("", None), ("left", "7771000 Left"), ("right", "24028007 Right")):
                wanted = (category, expected, code)
                parts = tuple(text and (text.split()[0], "SCT", text.split(maxsplit=1)[1]) for text in wanted)
                assert plain(f"{side} {name}".strip().replace(" ", "_")) == parts, name
    assert set(ORGANS) == set(dicom_codes._STRUCTURES) and set(FINDINGS) == set(dicom_codes._ABNORMAL)


def test_names_are_read_in_any_spelling_and_guessed_in_none() -> None:
    assert coded_name("Kidney, left") == coded_name("left_kidney") == coded_name("LEFT-kidney")
    assert coded_name("liver tumor") == coded_name("portal_and_splenic_vein") == coded_name("label_3")
    unknown = ("91723000", "SCT", "Anatomical Structure")
    for name in ("left right kidney", "kidney 2", "thyroid", "left", ""):
        assert plain(name) == (unknown, unknown, None)


ORGANS = {
    "aorta": "15825003 Aorta",
    "bladder": "89837001 Bladder",
    "brain": "12738006 Brain",
    "brainstem": "119238007 Brain Stem",
    "brain stem": "119238007 Brain Stem",
    "colon": "71854001 Colon",
    "duodenum": "38848004 Duodenum",
    "adrenal": "23451007 Adrenal gland",
    "adrenal gland": "23451007 Adrenal gland",
    "esophagus": "32849002 Esophagus",
    "oesophagus": "32849002 Esophagus",
    "femur": "71341001 Femur",
    "gallbladder": "28231008 Gallbladder",
    "gall bladder": "28231008 Gallbladder",
    "heart": "80891009 Heart",
    "inferior vena cava": "64131007 Inferior vena cava",
    "postcava": "64131007 Inferior vena cava",
    "kidney": "64033007 Kidney",
    "larynx": "4596009 Larynx",
    "liver": "10200004 Liver",
    "lung": "39607008 Lung",
    "mandible": "91609006 Mandible",
    "pancreas": "15776009 Pancreas",
    "parotid": "45289007 Parotid gland",
    "parotid gland": "45289007 Parotid gland",
    "portal vein": "32764006 Portal vein",
    "prostate": "41216001 Prostate",
    "rectum": "34402009 Rectum",
    "spinal cord": "2748008 Spinal cord",
    "spleen": "78961009 Spleen",
    "splenic vein": "35819009 Splenic vein",
    "stomach": "69695003 Stomach",
    "uterus": "35039007 Uterus",
}
FINDINGS = {"lesion": "52988006 Lesion", "tumor": "108369006 Neoplasm", "tumour": "108369006 Neoplasm"}
