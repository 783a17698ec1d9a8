# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Masks lie where their scans lie, in every program, whatever the scans' headers say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from monai.data import MetaTensor
from raw_nifti import random_header, write_raw

from monai_fss.apps.cli import main
from monai_fss.data import LoadScan, ScanError, check_scan
from monai_fss.registration import DisplacementField, Grid

SHAPE = (20, 22, 16)
HEADERS = 60
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore::UserWarning")]


def body() -> tuple[np.ndarray, np.ndarray]:
    """Image and label (H, W, D): a body with two organs, alike in no direction."""
    i, j, k = np.indices(SHAPE)
    inside = ((i - 9.5) / 9) ** 2 + ((j - 10.5) / 10) ** 2 < 1
    one, two = (abs(i - 6) < 3) & (abs(j - 8) < 4) & (abs(k - 5) < 3), (abs(i - 13) < 3) & (abs(j - 12) < 3) & (k > 9)
    label = (one * 1 + two * 2).astype(np.uint8)
    return (100 * inside + 300 * one + 600 * two).astype(np.int16), label


@pytest.fixture
def voxel_for_voxel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registration that is right: each voxel of a scan lies on the same voxel of the labelled one."""

    def register(fixed: MetaTensor, moving: MetaTensor, **settings: Any) -> DisplacementField:
        stored = [LoadScan()(image.meta["filename_or_obj"]).affine.numpy() for image in (moving, fixed)]
        matrix = stored[0] @ np.linalg.inv(stored[1])
        return DisplacementField.from_affine(matrix, Grid.of(fixed))

    monkeypatch.setattr("monai_fss.inferers.atlas.register", register)
    monkeypatch.setattr("monai_fss.inferers.atlas.side_ratio", lambda query, scan: 1.0)


def in_nibabel(path: Path) -> tuple[Any, ...]:
    header = nib.Nifti1Image.from_filename(path).header
    forms = [np.asarray(form) for form in (header.get_best_affine(), header.get_sform(), header.get_qform())]
    return (*forms, int(header["sform_code"]), int(header["qform_code"]), header.get_xyzt_units()[0])


def in_itk(path: Path) -> tuple[Any, ...] | str:
    """Origin, spacing and direction, or why it cannot be read."""
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        return "orthonormal" if "orthonormal" in str(error) else str(error)
    return image.GetOrigin(), image.GetSpacing(), image.GetDirection()


def assert_same_place(scan: Path, mask: Path) -> None:
    for read in (in_nibabel, in_itk):
        one, other = read(scan), read(mask)
        assert type(one) is type(other), (read.__name__, one, other)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_sixty_headers(voxel_for_voxel: None, tmp_path: Path) -> None:
    image, label = body()
    nib.save(nib.Nifti1Image(image, np.diag([4.0, 4, 5, 1])), tmp_path / "support.nii.gz")
    nib.save(nib.Nifti1Image(label, np.diag([4.0, 4, 5, 1])), tmp_path / "label.nii.gz")
    (tmp_path / "in").mkdir()
    rng, refused = np.random.default_rng(7), []
    for number in range(HEADERS):
        noise = (image + rng.integers(0, 3, SHAPE)).astype(np.int16)
        path = write_raw(tmp_path / "in" / f"scan_{number:02d}.nii.gz", noise, random_header(rng))
        try:
            check_scan(path)
        except ScanError as error:
            assert all(problem.startswith(str(path)) for problem in error.problems)
            refused.append(path)
            path.unlink()
    assert len(refused) <= HEADERS // 10, refused
    words = ["segment", "--images", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--no-quality"]
    words += ["--support-image", str(tmp_path / "support.nii.gz"), "--support-label", str(tmp_path / "label.nii.gz")]
    assert main([*words, "--no-overlays", "--set", "refine=false", "spacing=[3,3,3]", "largest_component=false"]) == 0
    scans = sorted((tmp_path / "in").iterdir())
    assert len(scans) == HEADERS - len(refused)
    for scan in scans:
        mask = tmp_path / "out" / scan.name
        assert_same_place(scan, mask)
        found = np.asarray(nib.Nifti1Image.from_filename(mask).dataobj)
        for value in (1, 2):
            agreed = 2 * ((found == value) & (label == value)).sum() / ((found == value).sum() + (label == value).sum())
            assert agreed > 0.8, (scan.name, value, agreed)


@pytest.mark.parametrize("unit", [1, 2, 3])
def test_units_are_honoured(unit: int, tmp_path: Path) -> None:
    image, _ = body()
    header = nib.Nifti1Header()
    factor = {1: 0.001, 2: 1.0, 3: 1000.0}[unit]
    affine = np.diag([4.0, 4.0, 5.0, 1.0])
    affine[:3, 3] = -40, 10, 7
    header.set_sform(np.diag([factor] * 3 + [1.0]) @ affine, 1)
    header["xyzt_units"] = unit
    path = write_raw(tmp_path / "scan.nii.gz", image, header)
    assert check_scan(path).spacing == pytest.approx((4, 4, 5))
    np.testing.assert_allclose(LoadScan()(path).affine, affine, rtol=1e-5)


def test_a_unit_that_cannot_be_is_refused(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_sform(np.diag([1.25, 1.25, 7.7, 1.0]), 1)
    header["xyzt_units"] = 1
    path = write_raw(tmp_path / "scan.nii.gz", body()[0], header)
    with pytest.raises(ScanError, match=r"scan\.nii\.gz: voxels of 1\.25, 1\.25, 7\.7 metres, .*Correct the unit"):
        check_scan(path)


def test_two_forms_that_differ_are_said(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    affine, moved = np.diag([4.0, 4, 5, 1]), np.diag([4.0, 4, 5, 1])
    moved[0, 3] = 20
    header.set_sform(affine, 2)
    header.set_qform(moved, 1)
    path = write_raw(tmp_path / "scan.nii.gz", body()[0], header)
    with pytest.warns(UserWarning, match=r"sform and qform differ \(corners up to 5 voxels apart\). The sform is used"):
        scan = check_scan(path)
    np.testing.assert_allclose(scan.affine, affine)
