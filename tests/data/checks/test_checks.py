# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Every refusal and warning of the front door."""

from __future__ import annotations

import pickle
import time
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bad_files import AFFINE, BAD_FILES, BAD_LABELS, good_image, good_label, save_nifti

from monai_fss.data import (
    InputWarning,
    ScanError,
    check_label,
    check_scan,
    check_support,
)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save_nifti(tmp_path / "image.nii.gz", good_image())


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_refused_in_words(name: str, tmp_path: Path) -> None:
    bad = BAD_FILES[name](tmp_path)
    with pytest.raises(ScanError) as caught:
        check_scan(bad.path)
    text = str(caught.value)
    assert len(caught.value.problems) == 1, text
    assert text.startswith(f"{bad.path}: ") and text.endswith(".")
    for part in bad.says:
        assert part in text


def test_file_that_may_not_be_opened_is_refused(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(
        ScanError, match=r"image.nii.gz: cannot be opened \(Permission denied\). Check its permissions."
    ):
        check_scan(image)


@pytest.mark.filterwarnings("ignore::monai_fss.data.InputWarning")
def test_whatever_the_header_says_the_answer_is_in_words(tmp_path: Path) -> None:
    good = save_nifti(tmp_path / "good.nii", good_image()).read_bytes()
    rng = np.random.default_rng(0)
    bad = tmp_path / "bad.nii"
    refused = 0
    for _ in range(300):
        content = bytearray(good)
        for offset in rng.integers(0, 352, 3):
            content[offset] = rng.integers(0, 256)
        bad.write_bytes(content)
        try:
            check_scan(bad)
        except ScanError as e:
            refused += 1
            assert all(p.startswith(f"{bad}: ") for p in e.problems)
    assert 10 < refused < 300


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_label_is_refused_in_words(name: str, tmp_path: Path, image: Path) -> None:
    bad = BAD_LABELS[name](tmp_path)
    with pytest.raises(ScanError) as caught:
        check_label(bad.path, check_scan(image))
    text = str(caught.value)
    assert len(caught.value.problems) == 1, text
    assert text.startswith(f"{bad.path}: ") and text.endswith(".")
    for part in bad.says:
        assert part in text


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.filterwarnings("error::monai_fss.data.InputWarning")
def test_good_file_is_described(suffix: str, tmp_path: Path) -> None:
    values = good_image()
    path = tmp_path / f"case{suffix}"
    if suffix.startswith(".nii"):
        save_nifti(path, values)
    else:
        itk = pytest.importorskip("itk")
        other = itk.image_from_array(np.ascontiguousarray(values.T))
        other.SetSpacing([1.25, 1.5, 7.7])
        other.SetDirection(np.diag([-1.0, -1.0, 1.0]))  # ITK's axes are LPS, NIfTI's RAS
        itk.imwrite(other, str(path))
    scan = check_scan(path)
    assert scan.path == path and scan.shape == (8, 9, 10) and scan.dtype == "int16"
    assert scan.spacing == pytest.approx((1.25, 1.5, 7.7))
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-6)
    assert (scan.minimum, scan.maximum) == (values.min(), values.max())
    assert (scan.low, scan.high) == pytest.approx(tuple(np.percentile(values, (1, 99))))
    assert scan.digest == check_scan(save_nifti(tmp_path / "again.nii.gz", values.astype(np.float32))).digest


def test_nifti2_and_trailing_axis_and_one_slice_are_accepted(tmp_path: Path) -> None:
    second = tmp_path / "second.nii.gz"
    nib.save(nib.Nifti2Image(good_image(), AFFINE), second)
    assert check_scan(second).shape == (8, 9, 10)
    trailing = save_nifti(tmp_path / "trailing.nii.gz", good_image()[..., None])
    assert check_scan(trailing).digest == check_scan(second).digest
    slice_ = save_nifti(tmp_path / "slice.nii.gz", good_image(shape=(8, 9, 1)))
    assert check_scan(slice_).shape == (8, 9, 1)


def test_scaled_voxels_are_judged_in_their_unit(tmp_path: Path) -> None:
    path = tmp_path / "scaled.nii"
    scaled = nib.Nifti1Image(good_image(), AFFINE)
    scaled.header.set_slope_inter(2.0, -1024.0)
    nib.save(scaled, path)
    expected = np.asarray(nib.Nifti1Image.from_filename(path).dataobj)
    assert check_scan(path).minimum == pytest.approx(expected.min())
    assert check_scan(path).maximum == pytest.approx(expected.max())


def test_all_problems_of_one_file_come_together(tmp_path: Path) -> None:
    values = good_image(dtype=np.float32)
    values[0, 0, 0] = np.nan
    path = save_nifti(tmp_path / "bad.nii", values)
    content = bytearray(path.read_bytes())
    content[280:284] = np.float32(np.nan).tobytes()
    path.write_bytes(content)
    with pytest.raises(ScanError) as caught:
        check_scan(path)
    assert [("affine" in p, "1 NaN" in p) for p in caught.value.problems] == [(True, False), (False, True)]


def test_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ScanError(["a: b. c.", "d: e. f."])))
    assert error.problems == ["a: b. c.", "d: e. f."] and str(error) == "a: b. c.\nd: e. f."


@pytest.mark.parametrize("mm", [0.05, 25.0])
def test_odd_spacing_warns(mm: float, tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "odd.nii.gz", good_image(), np.diag([1, 1, mm, 1]))
    with pytest.warns(InputWarning, match=rf"odd.nii.gz: voxel spacing is \(1.0, 1.0, {mm}\) mm. Is the unit mm\?"):
        check_scan(path)


def test_sheared_affine_warns_and_oblique_does_not(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.5
    with pytest.warns(InputWarning, match=r"s.nii.gz: affine is sheared \(two axes meet at 71.6 degrees\)"):
        check_scan(save_nifti(tmp_path / "s.nii.gz", good_image(), sheared))
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[c, -s, 0, 5], [s, c, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        check_scan(save_nifti(tmp_path / "o.nii.gz", good_image(), turn @ AFFINE))


def test_header_without_orientation_warns(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "n.nii", good_image())
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)
    path.write_bytes(content)
    with pytest.warns(InputWarning, match="header has no orientation"):
        check_scan(path)


def test_label_is_counted(tmp_path: Path, image: Path) -> None:
    like = check_scan(image)
    for dtype in (np.uint8, np.int16, np.float32):
        label = check_label(save_nifti(tmp_path / "label.nii.gz", good_label().astype(dtype)), like)
        assert label.counts == {1: 12, 2: 8} and label.shape == like.shape
    large = good_label().astype(np.int32)
    large[large == 2] = 100_000
    assert check_label(save_nifti(tmp_path / "large.nii.gz", large), like).counts == {1: 12, 100_000: 8}
    empty = save_nifti(tmp_path / "empty.nii.gz", np.zeros((8, 9, 10), np.uint8))
    assert check_label(empty, like).counts == {}


def test_geometry_tolerance_is_a_thousandth_of_a_voxel(tmp_path: Path, image: Path) -> None:
    like = check_scan(image)
    near, far = AFFINE.copy(), AFFINE.copy()
    near[0, 3], far[0, 3] = 0.9e-3 * 1.25, 1.1e-3 * 1.25
    check_label(save_nifti(tmp_path / "near.nii.gz", good_label(), near), like)
    with pytest.raises(ScanError, match="0.0011 voxels apart"):
        check_label(save_nifti(tmp_path / "far.nii.gz", good_label(), far), like)


def test_support_must_show_what_is_wanted(tmp_path: Path, image: Path) -> None:
    label = save_nifti(tmp_path / "label.nii.gz", good_label())
    names = {"liver": 1, "kidney": 2, "spleen": 3}
    scan, known = check_support(image, label, [2, 1], names)
    assert scan.path == image and known.counts == {1: 12, 2: 8}
    assert check_support(image, label)[1].counts == known.counts
    with pytest.raises(ScanError) as caught:
        check_support(image, label, [1, 3, 0], names)
    assert caught.value.problems == [
        f"{label}: label 3 (spleen) has no voxel; present are 1 (liver), 2 (kidney)."
        " Ask for one of these or label it in the support.",
        f"{label}: label 0 cannot be asked for. Ask for positive values; present are 1 (liver), 2 (kidney).",
    ]
    with pytest.raises(ScanError, match=r"label 3 has no voxel; present are 1, 2\."):
        check_support(image, label, [3])
    zeros = save_nifti(tmp_path / "zeros.nii.gz", np.zeros((8, 9, 10), np.uint8))
    with pytest.raises(ScanError, match=r"zeros.nii.gz: support label has no labelled voxel \(all are 0\). Label at"):
        check_support(image, zeros)


def test_support_problems_of_both_files_come_together(tmp_path: Path) -> None:
    label = save_nifti(tmp_path / "label.nii.gz", good_label() + np.float32(0.5))
    with pytest.raises(ScanError) as caught:
        check_support(tmp_path / "none.nii.gz", label)
    assert len(caught.value.problems) == 2
    assert "none.nii.gz: does not exist" in caught.value.problems[0]
    assert "720 fractional values, the first is 0.5 at (0, 0, 0)" in caught.value.problems[1]


def test_a_usual_scan_is_checked_in_no_time(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "usual.nii.gz", good_image(shape=(256, 256, 36)))
    check_scan(path)
    start = time.perf_counter()
    check_scan(path)
    assert time.perf_counter() - start < 1.0  # 0.1 s where it was measured; generous for a busy machine
