# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The whole-body phantom: 18 organs, the smallest of some 70 voxels, on any grid the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_fss.data import WHOLE_BODY_LABELS, DatasetFolder, whole_body_phantom, write_whole_body_dataset


def test_all_organs_have_the_sizes_of_organs() -> None:
    """At 8 mm, in ml: from the adrenal glands to the lungs; right lies to the right."""
    scan = whole_body_phantom(1, shape=(56, 40, 128), spacing=(8, 8, 8))
    ml = {name: 0.512 * int((scan.label == value).sum()) for name, value in WHOLE_BODY_LABELS.items()}
    assert len(ml) == 18 and min(ml.values()) > 0 and int(scan.label.max()) == 18
    assert min(ml, key=lambda name: ml[name]) == "adrenal_gland" and 2 < ml["adrenal_gland"] < 8
    assert 700 < ml["liver"] < 1800 and 800 < ml["right_lung"] < 2000 and 20 < ml["pancreas"] < 120
    assert all(5 < ml[name] < 40 for name in ("gallbladder", "right_clavicle", "left_clavicle"))

    def x(name: str) -> float:
        places = np.argwhere(scan.label == WHOLE_BODY_LABELS[name])
        return float((places @ scan.affine[:3, :3].T + scan.affine[:3, 3])[:, 0].mean())

    for pair in ("lung", "kidney", "clavicle"):
        assert x(f"right_{pair}") > x(f"left_{pair}") + 50
    organ, bone = scan.image[scan.label == WHOLE_BODY_LABELS["bladder"]], scan.image[scan.label == 12]
    assert organ.mean() > 2 * bone.mean() and scan.image.dtype == np.int16


def test_a_smaller_field_shows_the_same_and_the_glands_have_70_voxels_of_4_mm() -> None:
    whole = whole_body_phantom(0, shape=(40, 24, 24), spacing=(4, 4, 4), height=94)
    part = whole_body_phantom(0, shape=(40, 24, 12), spacing=(4, 4, 4), height=94 - 24)
    assert np.array_equal(whole.label[..., :12], part.label)
    assert np.array_equal(whole.label, whole_body_phantom(0, shape=(40, 24, 24), spacing=(4, 4, 4), height=94).label)
    assert 50 <= int((whole.label == WHOLE_BODY_LABELS["adrenal_gland"]).sum()) <= 100
    still = whole_body_phantom(3, shape=(40, 24, 24), variation=0, height=94)
    assert np.array_equal(still.label > 0, whole_body_phantom(4, shape=(40, 24, 24), variation=0, height=94).label > 0)
    with pytest.raises(ValueError, match="seed=-1: negative"):
        whole_body_phantom(-1)


def test_a_folder_is_a_data_set(tmp_path: Path) -> None:
    folder = write_whole_body_dataset(tmp_path / "data", n_cases=2, n_folds=1, shape=(28, 20, 32), spacing=(16,) * 3)
    data = DatasetFolder.read(folder)
    assert data.labels == WHOLE_BODY_LABELS and data.folds == (("case_01", "case_02"),) and data.modality == "MR"
    assert len(data.check()) == 2
    with pytest.raises(ValueError, match="each fold needs two cases"):
        write_whole_body_dataset(tmp_path / "other", n_cases=2, n_folds=2)
