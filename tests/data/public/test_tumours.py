# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""LiTS and KiTS in one folder: values that do not clash, and a split from one to the other."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from public_downloads import volumes, write_nifti

from monai_fss.data import DatasetFolder, ScanError, make_folds, prepare_lits_kits

pytestmark = pytest.mark.filterwarnings("ignore::monai_fss.data.InputWarning")
AFFINES = {
    "lits": np.diag((-0.8, -0.8, 2.5, 1.0)),
    "kits": np.array([[0, 0, -0.9, 9], [0, -0.9, 0, 8], [-3, 0, 0, 7], [0, 0, 0, 1.0]]),
}


def case(folder: Path, kind: str, number: int, values: tuple[int, ...] = (1, 2)) -> tuple[np.ndarray, np.ndarray]:
    """Of the downloads' layouts; the axes of KiTS begin with the slices."""
    image, label = volumes(number, list(values))
    if kind == "lits":
        place = folder / "Training_Batch1" / "media" / "nas"
        names = place / f"volume-{number}.nii", place / f"segmentation-{number}.nii"
    else:
        place = folder / "kits19" / "data" / f"case_{number:05d}"
        names = place / "imaging.nii.gz", place / "segmentation.nii.gz"
    for path, voxels in zip(names, (image, label.astype(np.uint8)), strict=True):
        write_nifti(path, voxels, AFFINES[kind])
    return image, label


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    for number in (0, 2, 10):
        case(tmp_path / "in", "lits", number)
    for number in range(11):
        case(tmp_path / "in", "kits", number)
    unlabelled = tmp_path / "in" / "kits19" / "data" / "case_00210" / "imaging.nii.gz"
    write_nifti(unlabelled, volumes(5, [1])[0], AFFINES["kits"])
    return tmp_path / "in"


def test_both_are_one_set_and_the_split_leads_from_one_to_the_other(downloads: Path, tmp_path: Path) -> None:
    out = prepare_lits_kits(downloads, tmp_path / "out")
    data = DatasetFolder.read(out)
    data.check()
    lits, kits = ["lits_000", "lits_002", "lits_010"], [f"kits_{number:05d}" for number in range(11)]
    assert list(data.cases) == [*lits, *kits] and data.folds == (tuple(lits), tuple(kits)) and data.modality == "CT"
    assert data.labels == {"liver": 1, "liver_tumour": 2, "kidney": 3, "kidney_tumour": 4}
    fold = make_folds(out / "split.json", list(data.cases))
    assert len(fold) == 1 and fold[0].train == tuple(lits)
    assert fold[0].support == ("kits_00008",) and fold[0].queries == ("kits_00009", "kits_00010"), "the last fifth"
    other = make_folds(out / "split_supervised.json", list(data.cases))[0]
    assert other.train == tuple(kits[:8]) and (other.support, other.queries) == (fold[0].support, fold[0].queries)
    for name, kind, number, more in (("lits_010", "lits", 10, 0), ("kits_00003", "kits", 3, 2)):
        image, label = volumes(number, [1, 2])
        made, drawn = (nib.Nifti1Image.from_filename(out / f / f"{name}.nii.gz") for f in ("images", "labels"))
        np.testing.assert_array_equal(made.dataobj, image)
        np.testing.assert_array_equal(drawn.dataobj, np.where(label > 0, label + more, 0))
        np.testing.assert_allclose(made.affine, AFFINES[kind], atol=1e-6)
        np.testing.assert_allclose(drawn.affine, AFFINES[kind], atol=1e-6)


def test_what_is_not_both_downloads_is_refused(downloads: Path, tmp_path: Path) -> None:
    for name in ("kits19", "Training_Batch1"):
        with pytest.raises(ScanError, match="holds no labelled case .* give a folder above both"):
            prepare_lits_kits(downloads / name, tmp_path / "out")
    case(downloads, "kits", 4, (1, 2, 3))  # of KiTS21, where 3 is a cyst
    with pytest.raises(
        ScanError, match=r"case_00004/segmentation.nii.gz: has the value\(s\) 3; expected are 0 and 1, 2"
    ):
        prepare_lits_kits(downloads, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_fifth_of_four_is_none(tmp_path: Path) -> None:
    case(tmp_path / "in", "lits", 0)
    for number in range(4):
        case(tmp_path / "in", "kits", number)
    with pytest.raises(ScanError, match="holds 4 labelled case\\(s\\) of KiTS. Give 5 or more."):
        prepare_lits_kits(tmp_path / "in", tmp_path / "out")
