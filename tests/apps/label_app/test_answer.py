# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A study segmented for a viewer: the masks of `monai-fss segment`, and what is told beside them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_fss.apps import cli
from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app import answer as module
from monai_fss.apps.label_app.answer import Answer, Workplace, answer, drop_labels, keep_room
from monai_fss.apps.label_app.mask_file import write_mask
from monai_fss.apps.label_app.models import Segmenter
from monai_fss.apps.label_app.studies import Study
from monai_fss.apps.label_app.wanted import wanted
from monai_fss.apps.methods.method import Method
from monai_fss.data import InputWarning, ScanError
from monai_fss.data.reading.volume import read_scan


@pytest.fixture
def studies(phantom_set: Path) -> list[Study]:
    """Four, the first two labelled; the second counts spleen and liver the other way."""
    names = {"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4, "aorta": 5}
    info = {"label_info": [{"name": name, "idx": value} for name, value in names.items()]}
    found = []
    for number in (1, 2, 3, 4):
        image, label = (phantom_set / part / f"case_0{number}.nii.gz" for part in ("images", "labels"))
        found.append(Study(f"case_0{number}", image, label if number == 1 else None, info if number == 1 else {}))
    return found


def asked(studies: list[Study], trained: Path, folder: Path, **params: Any) -> Answer:
    segmenter = Segmenter("mine", Method("adnet"), trained / "model.pt")
    wish = wanted({"device": "cpu", "quality": False, **params}, segmenter)
    return answer(wish, studies, studies[2].image, Workplace(folder / "cache"))


def test_masks_are_those_of_the_command(studies: list[Study], trained: Path, tmp_path: Path) -> None:
    found = asked(studies, trained, tmp_path, quality=True)
    words = ["segment", "--model", str(trained / "model.pt"), "--device", "cpu", "--no-overlays", "--images"]
    words += [str(studies[2].image), "--support-image", str(studies[0].image), "--support-label", str(studies[0].label)]
    assert cli.main([*words, "--output", str(tmp_path / "out")]) == 0
    np.testing.assert_array_equal(read_scan(found.mask)[0], read_scan(tmp_path / "out" / "case_03.nii.gz")[0])
    assert found.mask.read_bytes() == (tmp_path / "out" / "case_03.nii.gz").read_bytes()
    params = found.params
    assert params["label_names"] == {"liver": 1, "right_kidney": 2, "left_kidney": 3, "spleen": 4, "aorta": 5}
    assert params["support"] == ["case_01"] and params["method"] == "adnet" and params["seconds"] > 0
    qualities = [organ["quality"] for organ in params["organs"]]
    assert params["quality"] == pytest.approx(np.mean(qualities), abs=1e-4)
    assert params["worst_quality"] == min(qualities)
    assert params["left_out"].keys() == {organ["name"] for organ in params["organs"] if organ["volume_ml"] == 0}
    found.mask.unlink()


def test_slicers_values_count_the_organs_asked_for(studies: list[Study], trained: Path, tmp_path: Path) -> None:
    some = {"organs": "aorta,right_kidney"}
    plain = asked(studies, trained, tmp_path, **some)
    counted = asked(studies, trained, tmp_path, **some, result_extension=".nrrd")
    assert plain.params["label_names"] == {"right_kidney": 2, "aorta": 5}
    assert counted.params["label_names"] == {"right_kidney": 1, "aorta": 2}
    mask, where = read_scan(counted.mask)
    own, there = read_scan(plain.mask)
    np.testing.assert_array_equal(np.asarray([0, 2, 5])[mask.astype(int)], own)
    np.testing.assert_allclose(where, there, atol=1e-4)
    assert counted.mask.suffix == ".nrrd" and mask.dtype == np.uint8


def test_ohif_is_given_bytes(studies: list[Study], trained: Path, tmp_path: Path) -> None:
    """It reads a file's voxels as bytes, of whatever type they are; the values are those that it knows."""
    ohif = {"result_extension": ".nrrd", "result_dtype": "uint8", "restore_label_idx": False}
    plain, found = (asked(studies, trained, tmp_path, **more) for more in ({}, ohif))
    (own, _), (mask, _) = read_scan(plain.mask), read_scan(found.mask)
    np.testing.assert_array_equal(mask, own)
    assert mask.dtype == np.uint8 and own.dtype != np.uint8 and found.params["label_names"]["aorta"] == 5
    assert module._as_type(np.array([0, 300]), "uint16", {"liver": 300}).tolist() == [0, 300]
    with pytest.raises(
        UsageError, match=r"result_dtype uint8: holds values up to 255, and liver \(300\) has a higher one"
    ):
        module._as_type(np.array([0, 300]), "uint8", {"spleen": 1, "liver": 300})


def test_an_organ_that_no_other_study_shows_is_refused(studies: list[Study], trained: Path, tmp_path: Path) -> None:
    scan = nib.Nifti1Image.from_filename(studies[1].image)
    drawn = np.zeros(scan.shape, np.uint8)
    drawn[4:9, 4:9, 2:5] = 9
    nib.save(nib.Nifti1Image(drawn, scan.affine), tmp_path / "heart.nii.gz")
    only = Study("case_02", studies[1].image, tmp_path / "heart.nii.gz", {"label_info": [{"name": "heart", "idx": 9}]})
    place = Workplace(tmp_path, {"heart": 9})
    wish = wanted({"organs": "heart,liver"}, Segmenter("mine", Method("adnet"), trained / "model.pt"))
    with pytest.raises(UsageError, match="organs liver, heart: no labelled study besides the one to segment shows all"):
        answer(wish, [studies[0], only, studies[2]], studies[2].image, place)


def test_what_a_run_warns_of_and_refuses_is_handed_on(
    studies: list[Study], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.segment

    def doubtful(*words: Any, **more: Any) -> Any:
        warnings.warn("a.nii.gz: looks odd.", InputWarning, stacklevel=2)
        warnings.warn("of a library", UserWarning, stacklevel=2)
        return real(*words, **more)

    monkeypatch.setattr(module, "segment", doubtful)
    assert asked(studies, trained, tmp_path).params["warnings"] == ["a.nii.gz: looks odd."]
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(studies[2].image.read_bytes()[:200])
    with pytest.raises(ScanError, match="broken.nii.gz: "):
        asked([*studies[:2], Study("broken", broken)], trained, tmp_path)


def test_renumbered_labels_are_dropped_and_made_again(studies: list[Study], trained: Path, tmp_path: Path) -> None:
    other = {"label_info": [{"name": name, "idx": 5 - place} for place, name in enumerate("abcde")]}
    turned = Study("case_01", studies[0].image, studies[0].label, other)
    declared = {name: place for place, name in enumerate("abcde", 1)}
    place, first = Workplace(tmp_path / "cache", declared), Study("z", studies[2].image)
    wish = wanted({"device": "cpu", "quality": False}, Segmenter("mine", Method("adnet"), trained / "model.pt"))
    assert answer(wish, [turned, first], first.image, place).params["label_names"] == declared
    (copy,) = place.labels.glob("*.nii.gz")
    drop_labels(place)
    assert not copy.exists()
    answer(wish, [turned, first], first.image, place)
    assert copy.exists()


def test_the_oldest_registrations_go_first(tmp_path: Path) -> None:
    for age, name in enumerate("abc"):
        (tmp_path / f"{name}.pt").write_bytes(bytes(100))
        os.utime(tmp_path / f"{name}.pt", (1000 - age, 1000 - age))
    assert keep_room(tmp_path, 300) == [] and keep_room(tmp_path / "none", 0) == []
    assert keep_room(tmp_path, 250) == [tmp_path / "c.pt"] and keep_room(tmp_path, 0) == [
        tmp_path / "b.pt",
        tmp_path / "a.pt",
    ]


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_masks_lie_where_their_scans_do(tmp_path: Path, ending: str) -> None:
    """Of a grid that is turned and shifted, voxel for voxel."""
    affine = np.array([[0, -2.0, 0, 7], [1.5, 0, 0, -3], [0, 0, 4, 11], [0, 0, 0, 1]])
    voxels = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)
    write_mask(tmp_path / f"mask{ending}", voxels, affine)
    read, where = read_scan(tmp_path / f"mask{ending}")
    np.testing.assert_array_equal(read, voxels)
    np.testing.assert_allclose(where, affine, atol=1e-5)
