# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""DICOM series that are written in another way: compressed, without a preamble, inverted, with numbers spelt anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_series import oblique_affine, scan_values, set_tag, write_series
from pydicom.dataset import Dataset

from monai_fss.data import InputWarning, ScanError, check_scan, read_scan

SHUFFLED = [f"{k}.dcm" for k in (4, 1, 5, 0, 2, 3)]
VALUES = scan_values()


def test_compressed_pixels_are_read(tmp_path: Path) -> None:
    write_series(tmp_path, VALUES + 1024, oblique_affine())
    before = check_scan(tmp_path).digest
    for path in tmp_path.iterdir():
        header = pydicom.dcmread(path)
        header.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        header.save_as(path)
    assert check_scan(tmp_path).digest == before


def test_numbers_of_headers_are_compared_as_numbers(tmp_path: Path) -> None:
    """A thickness, series number or date that is written in two ways is one."""

    def change(k: int, header: Dataset) -> None:
        header.SliceThickness = "4.0" if k % 2 else "4.00000"
        header.SeriesNumber = "3" if k % 3 else "03"

    write_series(tmp_path / "s", VALUES + 1024, oblique_affine(), names=SHUFFLED, change=change)
    stored, affine = read_scan(tmp_path / "s")
    np.testing.assert_array_equal(stored, VALUES)
    np.testing.assert_allclose(affine, oblique_affine(), atol=1e-5)
    write_series(tmp_path / "two", VALUES + 1024, oblique_affine(), change=set_tag("SliceThickness", "4.01", only=2))
    with pytest.raises(ScanError, match=r"differ in slice thickness \(4.0.*, 4.01\)"):
        read_scan(tmp_path / "two")


def test_inverted_grey_values_are_turned_round_where_they_have_no_unit(tmp_path: Path) -> None:
    stored, inverted = VALUES + 1024, set_tag("PhotometricInterpretation", "MONOCHROME1")
    low, high = int(stored.min()), int(stored.max())
    write_series(tmp_path / "mr", low + high - stored, oblique_affine(), None, modality="MR", change=inverted)
    with pytest.warns(InputWarning, match=r"is stored inverted \(MONOCHROME1\). Its values are turned round"):
        scan = check_scan(tmp_path / "mr")
    assert (scan.minimum, scan.maximum) == (low, high)
    np.testing.assert_array_equal(read_scan(tmp_path / "mr")[0], stored)
    write_series(tmp_path / "ct", stored, oblique_affine(), change=inverted)
    with pytest.warns(InputWarning, match="Its values are taken as they are, in their unit"):
        check_scan(tmp_path / "ct")
    np.testing.assert_array_equal(read_scan(tmp_path / "ct")[0], VALUES)


def test_files_without_a_preamble_are_read(tmp_path: Path) -> None:
    write_series(tmp_path / "s", VALUES + 1024, oblique_affine(), names=SHUFFLED)
    for file in (tmp_path / "s").iterdir():
        file.write_bytes(file.read_bytes()[132:])
    stored, affine = read_scan(tmp_path / "s")
    np.testing.assert_array_equal(stored, VALUES)
    np.testing.assert_allclose(affine, oblique_affine(), atol=1e-5)
