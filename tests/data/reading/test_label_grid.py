# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Labels on the voxels of their image, however they are stored: what is judged is what is computed on."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from bad_files import good_image, save_nifti
from raw_nifti import write_raw
from raw_nrrd import write_nrrd

from monai_fss.data import (
    InputWarning,
    LoadScan,
    LoadScand,
    PrepareSlices,
    ScanError,
    check_label,
    check_scan,
    check_support,
    label_names,
    support_items,
)
from monai_fss.data.files.nifti_output import save_nifti as save_mask
from monai_fss.data.setting_2 import slice_runs
from monai_fss.inferers import QueryLabels

SHAPE = (8, 9, 10)
OBLIQUE = nib.affines.from_matvec(
    np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0] @ np.diag((1.5, 2.0, 4.0)), (-20, 31.5, 7)
)
LABEL = np.random.default_rng(5).integers(0, 4, SHAPE).astype(np.uint8)
COUNTS = {value: int((value == LABEL).sum()) for value in (1, 2, 3)}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save_nifti(tmp_path / "image.nii.gz", good_image(), OBLIQUE)


def loaded(image: Path, label: Path) -> Any:
    return LoadScand(["label", "image"])({"image": str(image), "label": str(label)})["label"]


def crop(voxels: np.ndarray, affine: np.ndarray, *first: int, size: tuple[int, ...] = (4, 5, 3)) -> tuple:
    """A box of a volume, and its affine."""
    box = tuple(slice(a, a + n) for a, n in zip(first, size, strict=True))
    return voxels[box], affine @ nib.affines.from_matvec(np.eye(3), first)


@pytest.mark.filterwarnings("error::monai_fss.data.InputWarning")
def test_a_label_of_any_axis_order_is_brought_to_its_image(image: Path, tmp_path: Path) -> None:
    stored, known = nib.Nifti1Image(LABEL, OBLIQUE), check_scan(image)
    for order, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        turned = stored.as_reoriented(np.array(list(zip(order, flips, strict=True))))
        file = save_nifti(tmp_path / "label.nii.gz", np.asarray(turned.dataobj), turned.affine)
        judged = check_label(file, known)
        assert judged.counts == COUNTS and judged.shape == SHAPE
        label = loaded(image, file)
        np.testing.assert_array_equal(label[0], LABEL)
        for affine in (judged.affine, label.affine):
            np.testing.assert_allclose(affine, OBLIQUE, atol=1e-4)
    itself = LoadScan(as_label=True)(file)
    assert itself.shape[1:] == turned.shape, "without an image it stays as it is stored"


def test_each_way_to_load_a_label_gives_the_same(image: Path, tmp_path: Path) -> None:
    turned = nib.Nifti1Image(LABEL, OBLIQUE).as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
    (tmp_path / "labels").mkdir()
    file = save_nifti(tmp_path / "labels" / "image.nii.gz", np.asarray(turned.dataobj), turned.affine)
    straight = save_nifti(tmp_path / "straight.nii.gz", LABEL, OBLIQUE)
    keys = ("image", "label", "truth")
    prepare = PrepareSlices(1.0, keys=keys)
    one, other = (prepare({"image": image, "label": f, "truth": f}) for f in (file, straight))
    for key in keys[1:]:
        assert torch.equal(one[key].as_tensor(), other[key].as_tensor())
        torch.testing.assert_close(one[key].affine, other[key].affine, rtol=0, atol=1e-4)
    told = QueryLabels([file])(one["image"])
    assert torch.equal(told.as_tensor(), other["truth"].as_tensor().to(told.dtype))
    scribbles = LoadScand("scribbles")({"image": one["image"], "scribbles": str(file)})["scribbles"]
    np.testing.assert_array_equal(scribbles[0], LABEL)
    from_path = LoadScand("scribbles")({"image": str(image), "scribbles": str(file)})["scribbles"]
    np.testing.assert_array_equal(from_path[0], LABEL)


def test_a_label_elsewhere_is_refused_by_check_and_loader(image: Path, tmp_path: Path) -> None:
    shifted = OBLIQUE @ nib.affines.from_matvec(np.eye(3), (0, 0.4, 0))
    flipped = OBLIQUE @ np.diag((1.0, -1.0, 1.0, 1.0))  # its voxels begin where the image's do, and go the other way
    for affine, says in ((shifted, "0.4 voxels apart"), (flipped, "after its axes have been put in the image's order")):
        file = save_nifti(tmp_path / "label.nii.gz", LABEL, affine)
        for look in (lambda f=file: check_label(f, check_scan(image)), lambda f=file: loaded(image, f)):
            with pytest.raises(ScanError, match=says):
                look()


@pytest.mark.filterwarnings("error::monai_fss.data.InputWarning")
def test_a_cropped_segmentation_of_slicer_is_filled_up(image: Path, tmp_path: Path) -> None:
    expected = np.zeros_like(LABEL)
    expected[2:6, 3:8, 7:10] = LABEL[2:6, 3:8, 7:10]
    names = ("Segment0_LabelValue:=1", "Segment0_Name:=liver", "Segment1_LabelValue:=3", "Segment1_Name:=left kidney")
    box, affine = crop(LABEL, OBLIQUE, 2, 3, 7)
    file = write_nrrd(tmp_path / "image.seg.nrrd", box, affine, "Segment0_ID:=a", "Segment1_ID:=b", *names)
    _, label = check_support(image, file)
    assert label.shape == SHAPE and label.counts == {v: int((expected == v).sum()) for v in (1, 2, 3)}
    np.testing.assert_array_equal(loaded(image, file)[0], expected)
    assert label_names([file]) == {1: "liver", 3: "left kidney"}
    turned = nib.Nifti1Image(box, affine).as_reoriented(np.array([[2, 1], [1, -1], [0, -1]]))
    write_nrrd(file, np.asarray(turned.dataobj), turned.affine)
    np.testing.assert_array_equal(loaded(image, file)[0], expected)
    box, affine = crop(LABEL, OBLIQUE, 0, 0, 0)
    np.testing.assert_array_equal(loaded(image, write_nrrd(file, box, affine))[0][:4, :5, :3], box)
    for beyond in ((-1, 0, 0), (5, 0, 0), (0, 0, 8)):
        _, affine = crop(LABEL, OBLIQUE, *beyond)
        with pytest.raises(ScanError, match=r"label has shape \(4, 5, 3\), its image .* has \(8, 9, 10\)"):
            check_label(write_nrrd(file, box, affine), check_scan(image))
    with pytest.raises(ScanError, match="label has shape"):
        check_label(write_nrrd(file, box, OBLIQUE @ nib.affines.from_matvec(np.eye(3), (0.5, 0, 0))), check_scan(image))


def test_other_cropped_labels_are_filled_up_with_a_word(image: Path, tmp_path: Path) -> None:
    box, affine = crop(LABEL, OBLIQUE, 2, 3, 7)
    file = save_nifti(tmp_path / "label.nii.gz", box, affine)
    with pytest.warns(
        InputWarning, match=r"covers \(4, 5, 3\) voxels of its image's \(8, 9, 10\), from \(2, 3, 7\) on"
    ):
        counts = check_label(file, check_scan(image)).counts
    assert counts == {v: int((box == v).sum()) for v in (1, 2, 3)}
    unchanged = save_nifti(tmp_path / "label.nii.gz", box, OBLIQUE)  # cropped anywhere, under the image's header
    with pytest.raises(ScanError, match="label has shape"):
        check_label(unchanged, check_scan(image))


def test_what_an_nrrd_header_leaves_open_is_said(tmp_path: Path) -> None:
    file = write_nrrd(tmp_path / "a.nrrd", LABEL, None)
    with pytest.warns(
        InputWarning, match=r"has spacings 1.5 2 4 and no space directions. Axes are taken to run to left"
    ):
        scan = check_scan(file)
    np.testing.assert_allclose(scan.affine, np.diag((-1.5, -2.0, 4.0, 1.0)))
    file.write_bytes(write_nrrd(file, LABEL, OBLIQUE).read_bytes().replace(b"space: left-posterior-superior\n", b""))
    file.write_bytes(file.read_bytes().replace(b"NRRD0004\n", b"NRRD0004\nspace dimension: 3\n"))
    with pytest.warns(InputWarning, match="names no space. It is taken for left-posterior-superior"):
        check_scan(file)


@pytest.mark.parametrize("slope", [1 / 255, 1 / 127, 0.1])
def test_scaled_labels_are_rounded_where_they_are_counted_and_loaded(slope: float, image: Path, tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_sform(OBLIQUE, 1)
    header["scl_slope"] = slope
    file = write_raw(tmp_path / "label.nii.gz", (LABEL.astype(np.int16) * round(1 / slope)).astype(np.int16), header)
    assert check_label(file, check_scan(image)).counts == COUNTS
    np.testing.assert_array_equal(loaded(image, file)[0], LABEL)


@pytest.mark.parametrize("value", [1.0000001, 0.9999999, 1.0009, 0.9991])
def test_nearly_whole_values_are_rounded(value: float, image: Path, tmp_path: Path) -> None:
    label = np.where(LABEL == 1, value, LABEL)
    file = save_nifti(tmp_path / "label.nii.gz", np.where(LABEL == 0, -1e-7, label), OBLIQUE)
    assert check_label(file, check_scan(image)).counts == COUNTS
    np.testing.assert_array_equal(loaded(image, file)[0], LABEL)
    for bad, says in ((1.0015, "fractional"), (-0.999999, "negative")):
        with pytest.raises(ScanError, match=says):
            check_label(save_nifti(file, np.where(LABEL == 1, bad, LABEL), OBLIQUE), check_scan(image))


def test_large_values_stay_apart(image: Path, tmp_path: Path) -> None:
    large = LABEL.astype(np.int64) + (LABEL > 0) * 2**24
    file = save_nifti(tmp_path / "label.nii.gz", large.astype(np.int32), OBLIQUE)
    assert check_label(file, check_scan(image)).counts == {2**24 + v: n for v, n in COUNTS.items()}
    np.testing.assert_array_equal(loaded(image, file)[0], large)
    with pytest.warns(InputWarning, match="stored as float32, which merges some above 16777216"):
        check_label(save_nifti(file, large.astype(np.float32), OBLIQUE), check_scan(image))
    prepared, plain = PrepareSlices(2.5), LABEL.astype(np.int32)
    save_nifti(file, large.astype(np.int32), OBLIQUE)
    small = save_nifti(tmp_path / "small.nii.gz", plain, OBLIQUE)
    one, other = (prepared(item)["label"] for f in (file, small) for item in support_items(image, f))
    expected = other.long() + (other > 0) * 2**24
    assert torch.equal(one.as_tensor(), expected.as_tensor()) and torch.equal(one.affine, other.affine)


def test_a_quaternion_longer_than_one_by_rounding_is_shortened(tmp_path: Path) -> None:
    unit = np.array((0.6, 0.64, 0.48))  # a half turn: nothing is left for the real part
    header = nib.Nifti1Header()
    header["qform_code"], header["pixdim"][:4] = 1, (1, 1.5, 2, 4)
    expected = nib.quaternions.quat2mat((0, *unit)) @ np.diag((1.5, 2, 4))
    for length in (1.0, 1.00001, 1.00009):
        header["quatern_b"], header["quatern_c"], header["quatern_d"] = unit * length
        scan = check_scan(write_raw(tmp_path / "scan.nii.gz", good_image(), header))
        np.testing.assert_allclose(scan.affine[:3, :3], expected, atol=2e-3)
        save_mask(tmp_path / "mask.nii.gz", LABEL, scan.affine, scan.path)
        np.testing.assert_allclose(nib.load(tmp_path / "mask.nii.gz").affine, scan.affine, atol=1e-5)
    header["quatern_b"] = 0.7
    with pytest.raises(ScanError, match="w2 should be positive"):
        check_scan(write_raw(tmp_path / "scan.nii.gz", good_image(), header))


def test_a_label_of_the_other_form_is_taken_voxel_by_voxel(tmp_path: Path) -> None:
    """Programs on ITK may know an image by its qform alone, and write the label by that."""
    plain = np.diag((1.5, 2.0, 4.0, 1.0))
    moved = nib.affines.from_matvec(plain[:3, :3], (10, 0, 5))
    header = nib.Nifti1Header()
    header.set_sform(moved, 2)
    header.set_qform(plain, 1)
    image = write_raw(tmp_path / "image.nii.gz", good_image(), header)
    label = save_nifti(
        tmp_path / "label.nii.gz", LABEL[::-1], plain @ nib.affines.from_matvec(np.diag((-1, 1, 1)), (7, 0, 0))
    )
    with pytest.warns(InputWarning, match="lies on its image .* by the qform of the image alone.*Do not resample it"):
        assert check_label(label, check_scan(image)).counts == COUNTS
    np.testing.assert_array_equal(loaded(image, label)[0], LABEL)
    np.testing.assert_allclose(loaded(image, label).affine, moved)
    straight = save_nifti(tmp_path / "straight.nii.gz", good_image(), plain)
    own = write_raw(tmp_path / "own.nii.gz", LABEL, header)
    with pytest.warns(InputWarning, match="by its qform alone"):
        assert check_label(own, check_scan(straight)).counts == COUNTS


def test_slices_to_leave_out_are_those_of_the_image(tmp_path: Path) -> None:
    from monai_fss.data import DatasetFolder

    label = np.zeros(SHAPE, np.uint8)
    label[3:5, 3:5, 2:4] = 1
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    save_nifti(tmp_path / "images" / "a.nii.gz", good_image(), np.diag((2.0, 2.0, 5.0, 1.0)))
    box, affine = crop(label, np.diag((2.0, 2.0, 5.0, 1.0)), 2, 2, 1, size=(5, 5, 4))
    write_nrrd(tmp_path / "labels" / "a.nrrd", box, affine)
    runs = [run for _, run in slice_runs(list(DatasetFolder.read(tmp_path).cases.values()), [1], 2)]
    assert runs == [[0, 2], [4, 10]]


def test_pseudo_masks_may_have_a_grid_of_their_own(image: Path, tmp_path: Path) -> None:
    coarse = save_nifti(tmp_path / "pseudo.nii.gz", LABEL[::2, ::2], OBLIQUE @ np.diag((2.0, 2.0, 1.0, 1.0)))
    item = {"image": str(image), "pseudo": str(coarse)}
    np.testing.assert_array_equal(LoadScand(["image", "pseudo"])(item)["pseudo"][0], LABEL[::2, ::2])
    with pytest.raises(ScanError, match="label has shape"):
        LoadScand(["image", "pseudo"], own_grid=())(item)
