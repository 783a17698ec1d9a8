# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pipelines read what the checks have judged."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from bad_files import good_image, good_label, save_nifti
from monai.data import MetaTensor
from monai.transforms import LoadImage
from raw_nifti import write_raw

from monai_fss.data import LoadScan, LoadScand, ScanError, check_scan, read_scan

AFFINE = np.array([[0, -1.5, 0, 10], [1.25, 0, 0, -20], [0, 0, 7.7, 30], [0, 0, 0, 1.0]])


def test_a_scan_is_read_as_monai_reads_a_good_one(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "case.nii.gz", good_image(), AFFINE)
    got, monai = LoadScan()(path), LoadImage(image_only=True, ensure_channel_first=True)(path)
    assert isinstance(got, MetaTensor) and got.dtype == torch.float32 and got.is_contiguous()
    assert torch.equal(got.as_tensor(), monai.as_tensor()) and torch.equal(got.affine, monai.affine)
    assert got.meta["filename_or_obj"] == str(path) and got.meta["space"] == "RAS"
    for key in ("original_affine", "spatial_shape"):
        np.testing.assert_array_equal(got.meta[key], monai.meta[key])


def test_a_stale_pixdim_does_not_move_it(tmp_path: Path) -> None:
    """MONAI's reader then takes the qform, or the identity, for the sform."""
    header = nib.Nifti1Header()
    header.set_sform(AFFINE, 2)
    header["pixdim"][1:4] = 1
    path = write_raw(tmp_path / "case.nii.gz", good_image(), header)
    np.testing.assert_allclose(LoadScan()(path).affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(check_scan(path).affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize(("most", "kind"), [(7, torch.int16), (40_000, torch.int32), (2**25 + 1, torch.int32)])
def test_labels_are_whole_numbers_of_a_type_that_holds_them(most: int, kind: torch.dtype, tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6), np.float64 if most > 2**24 else np.uint16)
    array[1, 2, 3], array[2, 2, 2] = most, most - 1
    path = save_nifti(tmp_path / "label.nii.gz", array)
    got = LoadScan(as_label=True)(path)
    assert got.dtype == kind and sorted(np.unique(got).tolist()) == [0, most - 1, most]


def test_keys_other_than_the_image_are_labels(tmp_path: Path) -> None:
    files = {"image": save_nifti(tmp_path / "~case #1.nii.gz", good_image(), AFFINE)}
    files["label"] = save_nifti(tmp_path / "label.nii.gz", good_label(), AFFINE)
    got = LoadScand(["image", "label", "truth"], allow_missing_keys=True)({**files, "case": "x"})
    assert got["image"].dtype == torch.float32 and got["label"].dtype == torch.int16 and got["case"] == "x"
    assert LoadScand("image")(got)["image"] is got["image"], "what has been read stays as it is"
    assert LoadScand("label", as_label=False)(files)["label"].dtype == torch.float32


def test_what_the_checks_refuse_a_pipeline_does_not_read(tmp_path: Path) -> None:
    path = tmp_path / "case.nii.gz"
    path.write_bytes(b"no scan")
    for read in (LoadScan(), read_scan):
        with pytest.raises(ScanError, match=r"case\.nii\.gz: is named \.gz but is not a gzip file"):
            read(path)
    fractional = save_nifti(tmp_path / "half.nii.gz", np.full((3, 3, 3), 0.5, np.float32))
    with pytest.raises(ScanError, match=r"half\.nii\.gz: label has 27 fractional values"):
        LoadScan(as_label=True)(fractional)


def test_a_volume_without_a_channel_gets_one() -> None:
    """As MONAI Deploy hands it on: read by others, its affine and nothing else in its meta data."""
    volume = MetaTensor(torch.rand(4, 5, 6, dtype=torch.float64), affine=torch.from_numpy(AFFINE))
    got = LoadScand("image")({"image": volume, "label": volume})
    assert got["image"].shape == (1, 4, 5, 6) and got["image"].dtype == torch.float32 and got["label"] is volume
    np.testing.assert_array_equal(got["image"].affine, AFFINE)
    np.testing.assert_array_equal(got["image"].meta["original_affine"], AFFINE)
    assert tuple(got["image"].meta["spatial_shape"]) == (4, 5, 6)
    again = LoadScand("image")(got)
    assert again["image"] is got["image"]
