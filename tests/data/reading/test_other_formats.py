# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""NRRD, MHA and DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_files import good_image

from monai_fss.data import (
    ScanError,
    check_scan,
)


def test_dicom_folder_is_one_series(tmp_path: Path) -> None:
    itk = pytest.importorskip("itk")
    values = good_image(shape=(8, 9, 4))

    def write(uid: str, z: int) -> None:
        image = itk.image_from_array(np.ascontiguousarray(values.T[z : z + 1]))
        image.SetSpacing([1.25, 1.5, 5.0])
        image.SetOrigin([0.0, 0.0, 5.0 * z])
        tags = image.GetMetaDataDictionary()
        for key, value in {
            "0020|000e": uid,
            "0020|000d": "1.2.3",
            "0008|0060": "CT",
            "0020|0013": str(z + 1),
            "0020|0032": f"0\\0\\{5 * z}",
        }.items():
            tags[key] = value
        io = itk.GDCMImageIO.New()
        io.KeepOriginalUIDOn()
        itk.imwrite(image, str(tmp_path / f"{uid}_{z}.dcm"), imageio=io)

    for z in range(4):
        write("1.2.3.4", z)
    scan = check_scan(tmp_path)
    assert scan.shape == (8, 9, 4) and scan.spacing == pytest.approx((1.25, 1.5, 5.0))
    assert (scan.minimum, scan.maximum) == (values.min(), values.max())
    (tmp_path / "1.2.3.4_2.dcm").unlink()
    with pytest.raises(
        ScanError, match=r"slices are 5 to 10 mm apart \(missing or doubled slices\?\). Export the whole"
    ):
        check_scan(tmp_path)
    write("1.2.3.5", 0)
    with pytest.raises(ScanError, match="folder holds 2 DICOM series. Put each series into a folder of its own"):
        check_scan(tmp_path)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_other_formats_are_refused_when_truncated_or_coloured(suffix: str, tmp_path: Path) -> None:
    itk = pytest.importorskip("itk")
    path = tmp_path / f"bad{suffix}"
    itk.imwrite(itk.image_from_array(good_image()), str(path))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ScanError, match=rf"bad{suffix}: cannot be read \(.*\). Export it again, best as NIfTI."):
        check_scan(path)
    colours = itk.image_from_array(good_image(shape=(*good_image().shape, 3), dtype=np.uint8), is_vector=True)
    itk.imwrite(colours, str(path))
    with pytest.raises(
        ScanError, match="has several components per voxel .* Export one grey|is not wrapped for input type"
    ):
        check_scan(path)
