# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The supervoxel transforms: units, geometry, body, and their place in MONAI's pipelines."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, PersistentDataset, set_track_meta
from monai.data.utils import pickle_hashing
from monai.transforms import Compose, LoadImage, LoadImaged, ScaleIntensityd, Spacingd
from scipy import ndimage

from monai_fss.transforms import Supervoxels, Supervoxelsd, by_superpixels, felzenszwalb, foreground_mask


def scan(shape: tuple[int, ...] = (24, 20, 6), spacing: tuple[float, ...] = (1.25, 1.25, 8.0)) -> MetaTensor:
    """A body of smooth blobs with noise, in air."""
    random = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(random.standard_normal(shape), 2)
    image = 100 + 60 * smooth / smooth.std() + random.normal(0, 2, shape)
    image[:3], image[-3:] = -200, -200
    image[:, :2], image[:, -2:] = -200, -200
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    affine[:-1, -1] = 7
    return MetaTensor(torch.from_numpy(image[None]).float(), affine=affine, meta={"filename_or_obj": "case_01.nii.gz"})


def test_labels_are_the_segmentation_inside_the_body_renumbered() -> None:
    image = scan()
    found = Supervoxels(40, unit="voxels")(image)
    volume = image[0].numpy()
    inside = foreground_mask(volume)
    labels = felzenszwalb(volume, min_size=40, spacing=(1.25, 1.25, 8))
    assert found.shape == image.shape
    assert found.dtype == torch.int32
    result = found[0].numpy()
    np.testing.assert_array_equal(result > 0, inside)
    assert np.unique(result[inside]).tolist() == list(range(1, int(result.max()) + 1))
    pairs = np.unique(np.stack([labels[inside], result[inside]]), axis=1)
    assert pairs.shape[1] == result.max() == len(np.unique(labels[inside])) > 3


def test_without_foreground_every_voxel_has_a_supervoxel() -> None:
    image = scan()
    found = Supervoxels(40, unit="voxels", foreground=False)(image)[0].numpy()
    np.testing.assert_array_equal(found - 1, felzenszwalb(image[0].numpy(), min_size=40, spacing=(1.25, 1.25, 8)))


def test_geometry_and_metadata_are_kept_and_not_shared() -> None:
    image = scan()
    found = Supervoxels(0.5)(image)
    assert isinstance(found, MetaTensor)
    torch.testing.assert_close(found.affine, image.affine)
    assert found.meta["filename_or_obj"] == "case_01.nii.gz"
    found.affine = torch.eye(4)
    assert image.affine[2, 2] == 8


def test_millilitres_are_voxels_by_the_affine() -> None:
    image = scan()
    np.testing.assert_array_equal(Supervoxels(0.5)(image), Supervoxels(40, unit="voxels")(image))


def test_square_millimetres_are_pixels_by_the_affine() -> None:
    image = scan((30, 28, 4))  # of 1.5625 mm^2: 46.9 are 30 pixels
    for volume in (image, image[..., 2]):
        found = Supervoxels(46.9, unit="mm2", sigma=1, dims=2)(volume)
        np.testing.assert_array_equal(found, Supervoxels(30, unit="voxels", sigma=1, dims=2)(volume))
    assert found.max() > 3


def test_what_a_configuration_asks_for() -> None:
    assert by_superpixels("superpixels") and not by_superpixels("supervoxels")
    with pytest.raises(ValueError, match="self_supervision: 'pixels' is unknown. Set supervoxels or superpixels"):
        by_superpixels("pixels")


def test_millilitres_give_the_same_supervoxels_at_every_resolution() -> None:
    """An isotropic volume, every voxel split into 2 x 2 x 2, has the same edges between voxels of the same sizes."""
    volume = np.random.default_rng(5).normal(0, 1, (1, 8, 7, 6))
    fine = volume.repeat(2, 1).repeat(2, 2).repeat(2, 3)
    split = Supervoxels(0.3, foreground=False)
    coarse = split(MetaTensor(volume, affine=torch.diag(torch.tensor([3.0, 3, 3, 1]))))
    found = split(MetaTensor(fine, affine=torch.diag(torch.tensor([1.5, 1.5, 1.5, 1]))))
    assert coarse.max() > 5
    np.testing.assert_array_equal(found, coarse.numpy().repeat(2, 1).repeat(2, 2).repeat(2, 3))


def test_superpixels_are_each_slice_by_itself() -> None:
    image = scan((30, 28, 4))
    found = Supervoxels(30, unit="voxels", sigma=1, dims=2, foreground=False)(image)[0].numpy()
    for z in range(4):
        alone = felzenszwalb(image[0, ..., z].numpy(), min_size=30, sigma=1)
        np.testing.assert_array_equal(found[..., z] - found[..., z].min(), alone)
    ids = [set(np.unique(found[..., z])) for z in range(4)]
    assert set().union(*ids) == set(range(1, sum(map(len, ids)) + 1))


@pytest.mark.parametrize("size", [3, 4])
def test_superpixels_of_one_slice(size: int) -> None:
    image = scan((30, 28, 4))[..., 2]
    image.affine = torch.eye(size)
    found = Supervoxels(30, unit="voxels", dims=2)(image)
    assert found.shape == (1, 30, 28)
    np.testing.assert_array_equal(found[0].numpy() > 0, foreground_mask(image[0].numpy()))


def test_repeats_itself_and_leaves_its_input_alone() -> None:
    image = scan()
    before = image.clone()
    first, second = (Supervoxels(0.5, sigma=1)(image) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(image, before)


def test_arrays_count_as_isotropic() -> None:
    volume = scan().numpy()
    found = Supervoxels(40, unit="voxels", foreground=False)(volume)
    assert isinstance(found, MetaTensor)
    np.testing.assert_array_equal(found[0] - 1, felzenszwalb(volume[0], min_size=40))
    plain = Supervoxels(40, unit="voxels", foreground=False)(torch.from_numpy(volume))
    assert type(plain) is torch.Tensor
    assert torch.equal(plain, found.as_tensor())


def test_without_meta_tracking_the_result_is_plain() -> None:
    volume = scan().numpy()
    set_track_meta(False)
    try:
        assert type(Supervoxels(40, unit="voxels")(volume)) is torch.Tensor
    finally:
        set_track_meta(True)


def test_in_a_pipeline_after_resampling() -> None:
    pipeline = Compose([Spacingd("image", pixdim=(2.5, 2.5, 8)), Supervoxelsd("image", min_size=0.5)])
    item = pipeline({"image": scan()})
    assert set(item) == {"image", "supervoxels"}
    torch.testing.assert_close(item["supervoxels"].affine, item["image"].affine)
    expected = Supervoxels(10, unit="voxels")(item["image"])
    assert torch.equal(item["supervoxels"], expected)
    again = Spacingd(["image", "supervoxels"], pixdim=(1.25, 1.25, 8), mode=("bilinear", "nearest"))(item)
    assert again["supervoxels"].shape == again["image"].shape


def test_dictionary_of_several_images() -> None:
    transform = Supervoxelsd(["t1", "t2"], 0.5, new_key=["one", "two"], allow_missing_keys=True)
    item: dict[Hashable, Any] = {"t2": scan(), "case": "a"}
    found = transform(item)
    assert set(found) == {"case", "t2", "two"}
    assert set(item) == {"case", "t2"}
    assert torch.equal(found["two"], Supervoxels(0.5)(item["t2"]))


def test_persistent_dataset_computes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "a.npy", scan().numpy())
    items = [{"image": str(tmp_path / "a.npy"), "case": "a"}]

    def dataset(min_size: float) -> PersistentDataset:
        split = Supervoxelsd("image", min_size, foreground=False)
        pipeline = Compose([LoadImaged("image"), ScaleIntensityd("image"), split])
        return PersistentDataset(items, pipeline, tmp_path, hash_transform=pickle_hashing)

    first = dataset(0.1)[0]["supervoxels"]
    with monkeypatch.context() as patched:
        patched.setattr("monai_fss.transforms.supervoxels.felzenszwalb", lambda *_, **__: pytest.fail("not cached"))
        second = dataset(0.1)[0]["supervoxels"]
    np.testing.assert_array_equal(first, second)
    other = dataset(1)[0]["supervoxels"]
    assert other.max() < first.max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_size": 0}, "min_size: 0 is not a positive number. Pass the smallest size in ml"),
        ({"min_size": float("nan")}, "min_size: nan is not"),
        ({"min_size": 5, "unit": "mm"}, "unit: 'mm' is unknown. Pass 'voxels', 'ml' or"),
        ({"min_size": 5, "dims": 4}, "dims: 4. Pass 3"),
        ({"min_size": 5, "dims": 2}, "a slice has no volume. Pass unit='mm2', unit='voxels'"),
        ({"min_size": 5, "unit": "mm2"}, "unit: 'mm2' with dims=3, but a supervoxel has no area. Pass unit='ml'"),
        ({"min_size": 5.5, "unit": "voxels"}, "min_size: 5.5 is no whole number of voxels. Round it"),
    ],
)
def test_parameter_errors(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Supervoxels(**arguments)


def with_hole() -> MetaTensor:
    image = scan()
    image[0, 5, 5, 2] = float("nan")
    return image


def singular() -> MetaTensor:
    image = scan()
    image.affine[2, 2] = 0
    return image


@pytest.mark.parametrize(
    ("image", "arguments", "error", "message"),
    [
        (lambda: scan()[0], {"min_size": 1}, ValueError, r"case_01.nii.gz: shape \(24, 20, 6\). Pass \(1, H, W, D\)"),
        (lambda: scan().repeat(2, 1, 1, 1), {"min_size": 1}, ValueError, r"shape \(2, 24, 20, 6\).*one channel"),
        (
            lambda: scan()[0, 0],
            {"min_size": 9, "unit": "voxels", "dims": 2},
            ValueError,
            r"\(1, H, W\) or \(1, H, W, D\)",
        ),
        (with_hole, {"min_size": 1}, ValueError, r"^case_01.nii.gz: 1 of 2880 voxels are NaN or infinite. Replace"),
        (scan, {"min_size": 1e-3}, ValueError, "min_size: 0.001 ml, less than one voxel of 0.0125 ml"),
        (scan, {"min_size": 60}, ValueError, r"^case_01.nii.gz: min_size: 4800 voxels, but .* has 2880"),
        (singular, {"min_size": 9, "unit": "voxels"}, ValueError, r"spacing: \(1.25, 1.25, 0.0\).*positive"),
        (lambda: scan().to(torch.complex64), {"min_size": 1}, TypeError, "^case_01.nii.gz: voxels of type complex64"),
        (
            scan,
            {"min_size": 0.5, "unit": "mm2", "dims": 2},
            ValueError,
            r"min_size: 0.5 mm2, less than one voxel of 1.56 mm2",
        ),
        (
            lambda: scan().numpy(),
            {"min_size": 9, "unit": "mm2", "dims": 2},
            ValueError,
            "no affine, so unit 'mm2' has no meaning",
        ),
        (lambda: scan().numpy(), {"min_size": 1}, ValueError, "^image: no affine, so unit 'ml' has no meaning. Pass"),
    ],
)
def test_image_errors(image: Callable, arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Supervoxels(**arguments)(image())


@pytest.mark.parametrize(
    ("keys", "new_key", "message"),
    [
        (["t1", "t2"], "supervoxels", "Pass one name for each, all different"),
        (["t1", "t2"], ["a", "a"], "all different"),
        ("t1", "t1_parts", "'t1_parts' looks like metadata"),
        ("t1", "image_supervoxels", "looks like metadata"),
    ],
)
def test_key_errors(keys: str, new_key: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Supervoxelsd(keys, 1, new_key=new_key)


@pytest.mark.real
def test_abdominal_mr(real_data: Callable[[str], Path]) -> None:
    """60 ml, the paper's 5000 voxels, splits a scan into tens of supervoxels that keep to the body."""
    image = LoadImage(ensure_channel_first=True)(real_data("chaos_t2") / "images" / "case_01.nii.gz")
    found = Supervoxels(60)(image)
    assert 15 < found.max() < 60
    sizes = np.bincount(Supervoxels(60, foreground=False)(image).numpy().ravel())[1:]
    assert sizes.min() * 1.25 * 1.25 * 7.7 / 1000 >= 59.9
