# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The preparation of scans is the list of transforms that it stands for, and a cache sees each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import CacheDataset
from monai.transforms import (
    Compose,
    ConcatItemsd,
    NormalizeIntensityd,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
    Spacingd,
    SpatialPadd,
)

from monai_fss.data import LoadScand, PrepareSlices, PrepareVolumes
from monai_fss.transforms import BodyPositiond, SliceOrientationd

PERCENTILES = ScaleIntensityRangePercentilesd("image", lower=0, upper=99.5, b_min=0, b_max=1, clip=True)
WINDOW = ScaleIntensityRanged("image", a_min=100, a_max=700, b_min=0, b_max=1, clip=True)


@pytest.fixture
def item(phantom_set: Path) -> dict[str, Any]:
    image, label = (str(phantom_set / folder / "case_01.nii.gz") for folder in ("images", "labels"))
    return {"image": image, "label": label, "truth": label}


def read(keys: list[str]) -> list[Any]:
    return [LoadScand(keys), SliceOrientationd(keys)]


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert isinstance(value, str) or (
            torch.equal(found[key].as_tensor(), value.as_tensor()) and torch.equal(found[key].affine, value.affine)
        )


@pytest.mark.parametrize("window", [None, [100, 700]])
@pytest.mark.parametrize("zscore", [False, True])
def test_slices_of_a_training(window: list[int] | None, zscore: bool, item: dict[str, Any]) -> None:
    grid = Spacingd(["image", "label"], (8.0, 8.0, -1), mode=["bilinear", "nearest"])
    place = [BodyPositiond("image", axes=(0, 2)), *([NormalizeIntensityd("image")] if zscore else [])]
    steps = Compose([*read(["image", "label"]), grid, PERCENTILES if window is None else WINDOW, *place])
    prepare = PrepareSlices(8.0, window, zscore, (0, 2))
    found, expected = prepare(item), steps(item)
    assert_same(found, expected)
    assert found["truth"] == item["truth"] and found["position"].shape[0] == 2 and found["image"].shape[-1] == 12
    assert abs(float(found["image"].mean())) < 1e-5 if zscore else float(found["image"].max()) == 1
    joined = prepare.joined()(item)["image"]
    assert torch.equal(joined.as_tensor(), torch.cat([expected["image"], expected["position"]]).as_tensor())


def test_slices_in_use(item: dict[str, Any]) -> None:
    keys = ["image", "label", "truth"]
    grid = Spacingd(["image", "label"], (16.0, 16.0, -1), mode=["bilinear", "nearest"])
    pad = SpatialPadd(["image", "label", "position"], (32, 32, -1), mode=["constant", "constant", "edge"])
    place = BodyPositiond("image", axes=(0, 1, 2))
    steps = Compose([*read(keys), grid, PERCENTILES, place, pad, ConcatItemsd(["image", "position"], "image")])
    found = PrepareSlices(16.0, keys=keys, min_size=[32, 32], join=True)(item)
    assert_same(found, steps(item))
    assert found["image"].shape == (4, 32, 32, 12) and found["truth"].shape == (1, 64, 64, 12)
    alone = PrepareSlices(16.0, keys=keys, min_size=[32, 32], join=True)({"image": item["image"]})
    assert torch.equal(alone["image"].as_tensor(), found["image"].as_tensor()), "a query has no label"


@pytest.mark.parametrize("zscore", [False, True])
def test_slices_are_cut_to_their_middle_or_filled_up(zscore: bool, item: dict[str, Any]) -> None:
    """64 x 64 pixels of 5 mm are 40 x 40 of 8 mm: 24 rows are left of them, 9 and 10 columns beside them added."""
    keys = ["image", "label", "truth"]
    whole, found = (
        PrepareSlices(8.0, zscore=zscored, keys=keys, crop=crop)(item)
        for zscored, crop in ((False, None), (zscore, [24, 59]))
    )
    assert whole["image"].shape == (1, 40, 40, 12) and found["truth"].shape == whole["truth"].shape
    for key in ("image", "label", "position"):
        rows = whole[key].as_tensor()[:, 8:32]
        expected = torch.nn.functional.pad(rows, (0, 0, 9, 10), mode="constant")
        if key == "position":
            expected = torch.cat(
                [rows[:, :, :1].expand(-1, -1, 9, -1), rows, rows[:, :, -1:].expand(-1, -1, 10, -1)], 2
            )
        if key == "image" and zscore:
            expected = (expected - expected.mean()) / expected.std(correction=0)
        torch.testing.assert_close(found[key].as_tensor(), expected.float(), rtol=0, atol=1e-5)
        corner = torch.tensor([8.0, -9.0, 0.0, 1.0], dtype=torch.float64)
        torch.testing.assert_close(found[key].affine[:, 3], whole[key].affine @ corner)
    query = PrepareSlices(8.0, zscore=zscore, crop=[24, 59])({"image": item["image"]})
    assert torch.equal(query["image"].as_tensor(), found["image"].as_tensor()), "a query has no label"


def test_without_axes_there_is_no_channel(item: dict[str, Any]) -> None:
    found = PrepareSlices(8.0, position_axes=[], join=True)(item)
    assert found["position"].shape[0] == 0 and found["image"].shape[0] == 1
    cut = PrepareSlices(8.0, position_axes=[], crop=[24, 59], min_size=[32, 32], join=True)(item)
    assert cut["position"].shape == (0, 32, 59, 12) and cut["image"].shape == (1, 32, 59, 12)


@pytest.mark.parametrize("window", [None, [100, 700]])
def test_volumes(window: list[int] | None, item: dict[str, Any]) -> None:
    keys, scale = ["image", "label", "truth"], PERCENTILES if window is None else WINDOW
    grid = Spacingd(["image", "label"], [9.0] * 3, mode=["bilinear", "nearest"], padding_mode="border")
    found = PrepareVolumes(9.0, window, keys)(item)
    assert_same(found, Compose([*read(keys), grid, scale])(item))
    assert found["truth"].shape != found["label"].shape
    assert_same(PrepareVolumes(None, window, keys)(item), Compose([*read(keys), scale])(item))


def test_volumes_of_three_voxel_sizes(item: dict[str, Any]) -> None:
    """In plane 4 mm, slices 8 mm apart, from 5 x 5 x 16: the affine says so, and a label lies where its image does."""
    found = PrepareVolumes([4, 4, 8])({key: item[key] for key in ("image", "label")})
    assert torch.allclose(found["image"].pixdim, torch.tensor([4.0, 4, 8], dtype=torch.float64))
    assert found["image"].shape == found["label"].shape == (1, 80, 80, 23)  # 63 * 5 / 4 and 11 * 16 / 8, and one
    known = {key: item[key] for key in ("image", "label")}
    assert_same(PrepareVolumes((9, 9, 9))(dict(known)), PrepareVolumes(9.0)(dict(known)))
    with pytest.raises(ValueError, match="length 3"):
        PrepareVolumes([1, 3])


def test_a_cache_keeps_what_is_prepared(item: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """MONAI takes a Compose within a Compose for random, and would keep what stands before it alone."""
    prepare = PrepareSlices(8.0)
    data = CacheDataset([item], prepare, progress=False)
    expected = prepare(item)["image"]
    monkeypatch.setattr(LoadScand, "__call__", lambda self, data: pytest.fail("is read again"))
    assert torch.equal(data[0]["image"].as_tensor(), expected.as_tensor())
