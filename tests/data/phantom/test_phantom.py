# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The phantom: deterministic, anatomically sane, written as a data set that anybody can read."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from monai_fss.data.phantom.anatomy import PHANTOM_LABELS
from monai_fss.data.phantom.dataset import Phantom, phantom, write_phantom_dataset
from monai_fss.data.phantom.shapes import Ellipsoid, Waves
from monai_fss.metrics.baselines import affine_moved_mask, best_threshold_mask

SEEDS = range(8)
SMALL = {"shape": (64, 64, 32), "spacing": (5.0, 5.0, 7.7)}
# Millilitres, generous around adults' organs; the aorta's is of the 25 cm in view.
VOLUMES = {
    "liver": (900, 2500),
    "right_kidney": (70, 350),
    "left_kidney": (70, 350),
    "spleen": (80, 450),
    "aorta": (70, 260),
}


@pytest.fixture(scope="module")
def scans() -> list[Phantom]:
    return [phantom(seed, **SMALL) for seed in SEEDS]


def world_centroid(scan: Phantom, name: str) -> np.ndarray:
    index = np.argwhere(scan.label == PHANTOM_LABELS[name]).mean(0)
    return scan.affine[:3, :3] @ index + scan.affine[:3, 3]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_same_seed_same_scan_other_seed_other_scan(modality: str) -> None:
    first, again, other = (phantom(seed, modality=modality, **SMALL) for seed in (3, 3, 4))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    assert (first.image.dtype, first.label.dtype) == (np.int16, np.uint8)


def test_seed_decides_the_anatomy_whatever_the_modality_and_noise() -> None:
    reference = phantom(5, **SMALL)
    other = phantom(5, modality="CT", noise=0.0, **SMALL)
    np.testing.assert_array_equal(reference.label, other.label)
    np.testing.assert_array_equal(reference.affine, other.affine)


def test_every_subject_has_every_organ_whole_and_of_plausible_size(scans: list[Phantom]) -> None:
    for seed, scan in zip(SEEDS, scans, strict=True):
        assert set(np.unique(scan.label)) == {0, *PHANTOM_LABELS.values()}
        for name, value in PHANTOM_LABELS.items():
            mask = scan.label == value
            low, high = VOLUMES[name]
            assert low < mask.sum() * 5 * 5 * 7.7 / 1000 < high, (seed, name)
            sizes = np.bincount(ndimage.label(mask)[0].ravel())[1:]
            assert sizes.max() >= 0.9 * mask.sum(), (seed, name)


def test_right_is_positive_x_of_the_world_and_negative_of_the_stored_axis(scans: list[Phantom]) -> None:
    for scan in scans:
        assert nib.aff2axcodes(scan.affine) == ("L", "A", "S")
        places = {name: world_centroid(scan, name) for name in PHANTOM_LABELS}
        # The aorta runs before the spine, in the middle of the body.
        assert places["left_kidney"][0] < places["aorta"][0] < places["right_kidney"][0]
        assert places["spleen"][0] < places["aorta"][0] < places["liver"][0]
        assert places["liver"][2] > places["right_kidney"][2]
        assert places["liver"][1] > places["right_kidney"][1]


def test_oblique_grid_shows_the_same_anatomy_at_the_same_place_of_the_world() -> None:
    for seed in range(3):
        straight, oblique = (phantom(seed, oblique=angle, **SMALL) for angle in (0.0, 8.0))
        cosine = straight.affine[:3, 0] @ oblique.affine[:3, 0] / 25
        assert cosine == pytest.approx(np.cos(np.radians(8)) ** 2, abs=1e-9)
        for name in ("right_kidney", "left_kidney"):  # wholly inside both fields of view
            distance = np.linalg.norm(world_centroid(straight, name) - world_centroid(oblique, name))
            assert distance < 2.5, (seed, name)


def test_spacing_samples_the_same_organs() -> None:
    fine, coarse = phantom(1), phantom(1, **SMALL)
    for name, value in PHANTOM_LABELS.items():
        volumes = [(s.label == value).sum() * abs(np.linalg.det(s.affine)) for s in (fine, coarse)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.05), name
        assert np.linalg.norm(world_centroid(fine, name) - world_centroid(coarse, name)) < 1.5, name


def test_without_variation_everybody_has_the_same_organs() -> None:
    first, second = (phantom(seed, variation=0.0, **SMALL) for seed in (0, 1))
    for value in PHANTOM_LABELS.values():
        # The kidneys' pyramids and the loops of bowel still differ, but neither changes a label.
        np.testing.assert_array_equal(first.label == value, second.label == value)


def test_contrast_of_mr(scans: list[Phantom]) -> None:
    for scan in scans:
        mean = {name: scan.image[scan.label == value].mean() for name, value in PHANTOM_LABELS.items()}
        # Spleen and kidneys are not compared: the bias field may turn their order around, as in real scans.
        assert mean["liver"] < mean["spleen"]
        assert mean["liver"] < 0.8 * min(mean["left_kidney"], mean["right_kidney"])
        assert 200 < mean["liver"] < 500
        assert scan.image.min() >= 0 and scan.image.max() < 1500
        assert np.median(scan.image[scan.label == 0]) < mean["liver"] / 2


def test_contrast_of_ct_in_hu() -> None:
    for seed in range(3):
        scan = phantom(seed, modality="CT", **SMALL)
        for name, hu in {"liver": 110, "spleen": 125, "right_kidney": 180, "left_kidney": 180, "aorta": 200}.items():
            core = ndimage.binary_erosion(scan.label == PHANTOM_LABELS[name])
            assert np.median(scan.image[core]) == pytest.approx(hu, abs=20), name
        corner = scan.image[:3, :3]
        assert corner.mean() == pytest.approx(-1000, abs=8)


def test_noise_is_what_is_asked_for() -> None:
    quiet, usual, loud = (phantom(0, modality="CT", noise=n, **SMALL).image[:4, -4:].std() for n in (0, 0.5, 1))
    assert (quiet, usual, loud) == (0, pytest.approx(7.5, rel=0.15), pytest.approx(14.5, rel=0.15))


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_what_needs_no_learning_fails(modality: str) -> None:
    scans = [phantom(seed, modality=modality, **SMALL) for seed in SEEDS]
    threshold, pasted = [], []
    for support, query in zip(scans, scans[1:] + scans[:1], strict=True):
        for value in PHANTOM_LABELS.values():
            truth = query.label == value
            pair = (support.image, support.label == value)
            threshold.append(dice(best_threshold_mask(*pair, query.image), truth))
            pasted.append(dice(affine_moved_mask(*pair, query.image), truth))
    assert 0.05 < np.mean(threshold) < 0.5
    assert 0.2 < np.mean(pasted) < 0.5


def test_written_data_set(tmp_path: Path) -> None:
    shape, spacing = (24, 20, 12), (14.0, 12.0, 20.0)
    folder = write_phantom_dataset(
        tmp_path / "set", n_cases=5, seed=7, modality="CT", shape=shape, spacing=spacing, oblique=10
    )
    content = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert content["labels"] == {"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4, "aorta": 5}
    assert (content["name"], content["modality"]) == ("phantom_CT".lower(), "CT")
    assert content["folds"] == [["case_01", "case_02", "case_03"], ["case_04", "case_05"]]
    assert content["cases"] == [f"case_0{i}" for i in range(1, 6)]
    expected = phantom(9, modality="CT", shape=shape, spacing=spacing, oblique=10)
    for kind, volume in (("images", expected.image), ("labels", expected.label)):
        assert sorted(p.name for p in (folder / kind).iterdir()) == [f"{case}.nii.gz" for case in content["cases"]]
        image = nib.load(folder / kind / "case_03.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj), volume)
        assert image.get_data_dtype() == volume.dtype
        np.testing.assert_allclose(image.affine, expected.affine, atol=1e-4)
        np.testing.assert_allclose(image.header.get_qform(), expected.affine, atol=1e-3)
        np.testing.assert_allclose(image.header.get_zooms(), spacing, rtol=1e-6)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seed=-1: negative"):
        phantom(-1)
    with pytest.raises(ValueError, match="modality='PET': unknown. Give 'MR' or 'CT'"):
        phantom(0, modality="PET")
    with pytest.raises(ValueError, match=r"shape=\(64, 64\): not a volume"):
        phantom(0, shape=(64, 64))
    with pytest.raises(ValueError, match=r"spacing=\(1, 0, 1\): not a voxel size"):
        phantom(0, spacing=(1, 0, 1))
    with pytest.raises(ValueError, match=r"variation=2: out of range. Give 0 to 1.5"):
        phantom(0, variation=2)
    with pytest.raises(ValueError, match="noise=-1: negative"):
        phantom(0, noise=-1)
    with pytest.raises(ValueError, match="n_cases=3, n_folds=2: each fold needs two cases"):
        write_phantom_dataset(tmp_path / "few", n_cases=3)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="exists and is not an empty folder. Choose another folder"):
        write_phantom_dataset(tmp_path)
    assert not (tmp_path / "few").exists()


def test_waves_have_the_amplitude_asked_for() -> None:
    points = np.random.default_rng(0).uniform(-3000, 3000, (3, 20000)).astype(np.float32)
    values = Waves.draw(np.random.default_rng(1), 6.0, (120.0, 300.0))(points)
    assert values.std() == pytest.approx(6, rel=0.05)
    assert values.mean() == pytest.approx(0, abs=0.3)


def test_ellipsoid_without_variation_is_the_closed_form() -> None:
    shape = Ellipsoid.draw(np.random.default_rng(0), (10, 20, 30), (2, 4, 8), variation=0.0)
    points = np.asarray([[10, 20, 30], [12, 20, 30], [10, 28, 30], [10, 20, 26]], np.float32).T
    np.testing.assert_allclose(shape.radius(points), [0, 1, 2, 0.5], atol=1e-5)
