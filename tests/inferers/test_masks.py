# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The post-processing is the list of transforms that it stands for, as far as each is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LabelFilterd, SaveImaged, ToDeviced

from monai_fss.data import LoadScand
from monai_fss.inferers import NativeLabeld, SaveMasks, SaveProbabilitiesd
from monai_fss.transforms import LargestComponentd

VALUES = [4, 2]


@pytest.fixture
def item(tmp_path: Path) -> dict[str, Any]:
    """A scan, and logits on its grid: way 1 in a box and in a smaller one, way 2 in another box."""
    nib.save(nib.Nifti1Image(np.zeros((8, 9, 5), np.int16), np.diag([-2.0, 2, 5, 1])), tmp_path / "case.nii.gz")
    image = LoadScand("image")({"image": str(tmp_path / "case.nii.gz")})["image"]
    logits = torch.full((3, 8, 9, 5), -4.0)
    logits[0] = 0
    logits[1, 1:4, 1:4, 1:3] = logits[1, 6, 7, 4] = 3
    logits[2, 5:7, 1:4] = 2
    return {"image": image, "pred": MetaTensor(logits, meta=dict(image.meta))}


def written(file: Path) -> np.ndarray:
    return np.asarray(nib.Nifti1Image.from_filename(file).dataobj)


@pytest.mark.parametrize("labels", [None, [4]])
@pytest.mark.parametrize("largest", [True, False])
def test_masks_are_written_with_their_values(
    labels: list[int] | None, largest: bool, item: dict[str, Any], tmp_path: Path
) -> None:
    save = SaveMasks(tmp_path / "out", VALUES, labels, largest, working="working")
    found = save(item)
    expected = np.zeros((8, 9, 5))
    expected[1:4, 1:4, 1:3] = 4
    expected[6, 7, 4] = 0 if largest else 4
    expected[5:7, 1:4] = 2 if labels is None else 0
    assert np.array_equal(written(tmp_path / "out" / "case.nii.gz"), expected)
    assert np.array_equal(found["pred"][0], expected) and np.array_equal(found["working"][0], expected)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["case.nii.gz"]


def test_its_transforms_stand_one_by_one(item: dict[str, Any], tmp_path: Path) -> None:
    def kinds(**more: Any) -> list[type]:
        return [type(step) for step in SaveMasks(tmp_path, VALUES, **more).transforms]

    native, save = [ToDeviced, NativeLabeld], [SaveImaged]
    assert kinds() == [*native, LargestComponentd, *save]
    assert kinds(largest_component=False) == [*native, *save]
    more = [ToDeviced, SaveProbabilitiesd, NativeLabeld, LabelFilterd, LargestComponentd]
    assert kinds(labels=[2], probabilities=True) == [*more, *save]


def test_probabilities_are_written_beside_the_masks(item: dict[str, Any], tmp_path: Path) -> None:
    found = SaveMasks(tmp_path / "out", VALUES, probabilities=True)(item)
    maps = written(tmp_path / "out" / "probabilities" / "case.nii.gz")
    assert maps.shape == (8, 9, 5, 2) and "working" not in found
    assert maps[2, 2, 1, 0] == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-4)
    assert maps[0, 0, 0, 1] == pytest.approx(1 / (1 + np.exp(4)), abs=1e-4)
