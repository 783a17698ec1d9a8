# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Masks and probabilities on the scan's own grid: against MONAI's Invertd, which needs all classes at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Spacingd, SpatialPadd

from monai_fss.data import LoadScand, PrepareSlices
from monai_fss.inferers import NativeLabeld, SaveProbabilitiesd, WaysOnGrid, native_grid, without_padding
from monai_fss.inferers import on_grid as module
from monai_fss.registration import Grid, resample
from monai_fss.transforms import LargestComponentd, SliceOrientationd, WayProbabilitiesd, WaysToLabeld

VALUES = [4, 2, 900]
TURNED = np.array([[0, -1.2, 0, 10], [1.1, 0, 0, -20], [0, 0, 5.0, 30], [0, 0, 0, 1.0]])


@pytest.fixture(params=[(2.5, 2.5, -1), (0.7, 0.7, -1), (3.0, 3.0, 3.0)], ids=["coarser", "finer", "volume"])
def item(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A preprocessed scan with logits of three ways on its grid, and the chain that led there."""
    rng = np.random.default_rng(0)
    nib.save(nib.Nifti1Image(rng.normal(100, 9, (40, 36, 11)).astype(np.int16), TURNED), tmp_path / "scan #1.nii.gz")
    pixdim = request.param
    before = Compose(
        [
            LoadScand("image"),
            SliceOrientationd("image"),
            Spacingd("image", pixdim, mode="bilinear", padding_mode="border"),
            SpatialPadd("image", (24, 24, -1), mode="constant"),
        ]
    )
    image = before({"image": str(tmp_path / "scan #1.nii.gz")})["image"]
    noise = torch.from_numpy(rng.normal(0, 1, (4, *image.shape[1:])))
    smooth = torch.nn.functional.avg_pool3d(noise[None], 5, 1, 2)[0] * 12
    smooth[1:] -= 1.0
    logits = MetaTensor(smooth.float(), meta=dict(image.meta))
    return {"image": image, "pred": logits, "before": before}


def inverted(item: dict[str, Any]) -> MetaTensor:
    """Probabilities of all ways on the scan's grid, by MONAI."""
    chain = [WayProbabilitiesd("pred")]
    chain += [Invertd("pred", item["before"], "image", nearest_interp=False, to_tensor=True)]
    return Compose(chain)({"image": item["image"], "pred": item["pred"]})["pred"]


@pytest.mark.parametrize("slab", [100, 1 << 22])
def test_the_mask_is_that_of_monai(item: dict[str, Any], slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLAB", slab)
    expected = WaysToLabeld("pred", VALUES)({"pred": inverted(item)})["pred"]
    got = NativeLabeld("pred", VALUES, working="working")(item)
    assert isinstance(got["pred"], MetaTensor) and got["pred"].shape == expected.shape == (1, 40, 36, 11)
    np.testing.assert_allclose(got["pred"].affine, TURNED, atol=1e-6)
    assert got["pred"].meta["filename_or_obj"].endswith("scan #1.nii.gz")
    different = got["pred"].as_tensor() != expected.as_tensor()
    assert float(different.float().mean()) < 1e-4, "but for the last bit of a probability"
    assert set(np.unique(got["pred"])) == {0, *VALUES}
    working = WaysToLabeld("pred", VALUES)(WayProbabilitiesd("pred")({"pred": item["pred"]}))["pred"].as_tensor()
    seen = resample(MetaTensor(torch.ones(1, 40, 36, 11), affine=got["pred"].affine), Grid.of(item["image"])) > 0
    assert float((got["working"] != torch.where(seen, working, 0)).as_tensor().float().mean()) < 1e-4
    np.testing.assert_allclose(got["working"].affine, item["image"].affine)


def test_beyond_the_crop_there_is_background(tmp_path: Path) -> None:
    """All that the network sees is the organ: the middle 20 of 40 rows, and every one of too few columns."""
    scan = np.random.default_rng(0).normal(100, 9, (40, 36, 11)).astype(np.int16)
    nib.save(nib.Nifti1Image(scan, np.diag([1.2, 1.2, 5.0, 1.0])), tmp_path / "scan.nii.gz")
    image = PrepareSlices(1.2, position_axes=(), crop=(20, 64), min_size=(32, 32), join=True)(
        {"image": str(tmp_path / "scan.nii.gz")}
    )["image"]
    assert image.shape == (1, 32, 64, 11)
    logits = MetaTensor(torch.stack([torch.zeros(32, 64, 11), torch.full((32, 64, 11), 9.0)]), meta=dict(image.meta))
    mask = np.asarray(NativeLabeld("pred", [3])({"image": image, "pred": logits})["pred"][0])
    expected = np.zeros((40, 36, 11))
    expected[10:30] = 3
    np.testing.assert_array_equal(mask, expected)


def test_probabilities_are_written_class_by_class(
    item: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLAB", 3000)
    SaveProbabilitiesd("pred", str(tmp_path / "out"))(item)
    written: Any = nib.Nifti1Image.from_filename(tmp_path / "out" / "scan #1.nii.gz")
    expected = np.moveaxis(np.asarray(inverted(item)), 0, -1)
    assert written.shape == (40, 36, 11, 3) and written.get_data_dtype() == np.float32
    np.testing.assert_allclose(written.affine, TURNED, atol=1e-5)
    np.testing.assert_allclose(np.asarray(written.dataobj), expected, atol=1e-5)
    one = {**item, "pred": MetaTensor(item["pred"].as_tensor()[:2], meta=dict(item["pred"].meta))}
    SaveProbabilitiesd("pred", str(tmp_path / "one"))(one)
    single = np.asarray(nib.Nifti1Image.from_filename(tmp_path / "one" / "scan #1.nii.gz").dataobj)
    np.testing.assert_allclose(single, expected[..., 0], atol=1e-5)


def test_each_way_by_itself_and_in_the_slices_it_may_be_in(item: dict[str, Any]) -> None:
    probabilities, target = WayProbabilitiesd("pred")({"pred": item["pred"]})["pred"], native_grid(item["image"])
    seen, source = without_padding(probabilities, item["image"])
    allowed = [np.arange(11) % 3 == way for way in range(3)]
    free, bound = (WaysOnGrid(seen, source, target, allowed=a) for a in (None, allowed))
    expected = np.asarray(inverted(item)) > 0.5
    for way in range(3):
        assert (free.mask(way) != expected[way]).mean() < 1e-4
        np.testing.assert_array_equal(bound.mask(way), free.mask(way) & allowed[way])
    label = bound.label([1, 2, 3])
    for way in range(3):
        assert not (label == way + 1)[..., ~allowed[way]].any()


def test_a_grid_of_another_place_and_an_empty_way() -> None:
    """Half a voxel beyond the source there is nothing; a way of zeros is nowhere."""
    source, target = Grid((6, 6, 6), np.diag([2.0, 2, 2, 1])), Grid((30, 30, 30), np.diag([1.0, 1, 1, 1]))
    ways = torch.zeros(2, 6, 6, 6)
    ways[0, 4:] = 1
    found = WaysOnGrid(ways, source, target)
    whole = resample(MetaTensor(ways[:1], affine=torch.from_numpy(source.affine)), target, antialias=False)[0] > 0.5
    np.testing.assert_array_equal(found.mask(0), whole.numpy())
    assert found.mask(0)[8:12, :12, :12].all() and not found.mask(0)[12:].any() and not found.mask(1).any()
    assert found.label([7, 8]).dtype == np.int16 and WaysOnGrid(ways, source, target).label([7, 70_000]).max() == 7


def test_refusal_and_largest_piece(item: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="pred: 3 ways but 2 label values"):
        NativeLabeld("pred", [1, 2])(item)
    label = torch.zeros(1, 9, 9, 9, dtype=torch.int32)
    label[0, :2, :2, :2], label[0, 5:, 5:, 5:], label[0, 0, 8, 8] = 70_000, 70_000, 3
    kept = LargestComponentd("pred")({"pred": label})["pred"]
    expected = label.clone()
    expected[0, :2, :2, :2] = 0
    assert torch.equal(kept, expected) and int(label[0, 0, 0, 0]) == 70_000, "the input stays as it is"
