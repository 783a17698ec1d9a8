# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which labelled scans are learnt from: the share, the folder of labels, the classes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_fss.data import InputWarning, LearntScans, ScanError, check_learnt_scans, learnt_scans, write_json

NAMES = [f"case_{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11)]


def save(path: Path, values: Any) -> None:
    """A volume of 4 x 4 x 4 voxels that begins with these values."""
    array = np.zeros(64, np.int16)
    array[: len(values)] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(array.reshape(4, 4, 4), np.eye(4)).to_filename(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten labelled scans of organs 1 and 2; case_1 alone also shows 5."""
    folder = tmp_path / "data"
    for name in NAMES:
        save(folder / "images" / f"{name}.nii.gz", range(64))
        save(folder / "labels" / f"{name}.nii.gz", [1, 2, 5] if name == "case_1" else [1, 2])
    return folder


def names(found: LearntScans) -> tuple[list[str], list[str]]:
    return [case.name for case in found.training], [case.name for case in found.validation]


def test_all_scans_and_all_classes(data: Path) -> None:
    found = learnt_scans(data)
    assert names(found) == (NAMES, []) and found.labelled == 10
    assert found.values == [1, 2, 5] == found.kept and found.numbers == [1, 2, 3]
    first = found.items[0]
    assert first["image"] == str(data / "images" / "case_1.nii.gz") and first["case"] == "case_1"
    assert first["label"] == str(data / "labels" / "case_1.nii.gz") and first["stamp"]


def test_validation_is_held_out_first_and_never_more_than_half(data: Path) -> None:
    assert names(learnt_scans(data, val_queries=3)) == (NAMES[3:], NAMES[:3])
    few = learnt_scans(data, NAMES[:3], val_queries=3)
    assert names(few) == (NAMES[1:3], NAMES[:1]) and few.val_items[0]["truth"].endswith("case_1.nii.gz")
    assert names(learnt_scans(data, NAMES[:1], val_queries=3)) == (NAMES[:1], [])


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.1, 1), (0.24, 2), (0.25, 3), (0.3, 3), (1.0, 10)])
def test_a_share_is_rounded_and_at_least_one(fraction: float, count: int, data: Path) -> None:
    found = learnt_scans(data, fraction=fraction, seed=1)
    assert len(found.training) == count and names(found) == names(learnt_scans(data, scans=count, seed=1))


def test_a_share_is_drawn_by_the_seed_and_part_of_a_larger_one(data: Path) -> None:
    drawn = {seed: [names(learnt_scans(data, scans=n, seed=seed))[0] for n in range(1, 11)] for seed in range(6)}
    for shares in drawn.values():
        assert all(set(small) < set(large) for small, large in zip(shares, shares[1:], strict=False))
        assert all([name for name in NAMES if name in share] == share for share in shares), "in their order"
    assert len({tuple(shares[0]) for shares in drawn.values()}) > 2
    order = np.random.RandomState(3).permutation(10)
    assert drawn[3][3] == [NAMES[i] for i in sorted(order[:4])]


def test_scans_that_show_what_is_learnt_come_first(data: Path) -> None:
    for seed in range(5):
        assert names(learnt_scans(data, labels=[5], scans=1, seed=seed))[0] == ["case_1"]
    assert len(learnt_scans(data, labels=[5]).training) == 10, "the others show what is not the organ"


def test_labels_of_another_folder(data: Path, tmp_path: Path) -> None:
    for name in (*NAMES[4:6], "case_99"):
        save(tmp_path / "pseudo" / f"{name}.nii.gz", [2, 255])
    found = learnt_scans(data, label_dir=tmp_path / "pseudo", ignore=255, val_queries=1)
    assert names(found) == (NAMES[4:6], NAMES[:1])
    assert [item["label"] for item in found.items] == [str(tmp_path / "pseudo" / f"{n}.nii.gz") for n in NAMES[4:6]]
    assert found.val_items[0]["label"] == str(data / "labels" / "case_1.nii.gz")
    assert found.values == [2] and found.kept == [2, 255] and found.numbers == [1, -1]
    assert str(found) == "2 of 2 labelled scans (case_5, case_6), labels 2; validation on case_1"


def test_a_held_out_scan_is_not_learnt_from_by_its_pseudo_label(data: Path, tmp_path: Path) -> None:
    for name in NAMES:
        save(tmp_path / "pseudo" / f"{name}.nii.gz", [1])
    found = learnt_scans(data, label_dir=tmp_path / "pseudo", val_queries=2)
    assert names(found) == (NAMES[2:], NAMES[:2])


def test_a_class_that_the_share_does_not_show_is_left_out_with_a_warning(data: Path) -> None:
    settings = {"labels": [2, 5], "cases": NAMES, "val_queries": 0}
    found = learnt_scans(data, **settings)
    assert found.values == [2, 5] and found.unshown == ()
    seed = next(s for s in range(20) if "case_1" not in names(learnt_scans(data, scans=1, seed=s, **settings))[0])
    small = learnt_scans(data, scans=1, seed=seed, **settings)
    assert small.values == [2] and small.unshown == (5,)
    with pytest.warns(InputWarning, match="labels: 5 is not learnt, as none of the 1 scans learnt from shows it"):
        check_learnt_scans(data, scans=1, seed=seed, **settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"labels": [7, 1]}, "labels: 7 is in no label; they show 1, 2, 5. Choose from these."),
        ({"scans": 11}, "scans 11: but there are 10 labelled scans to learn from."),
        ({"scans": 2, "fraction": 0.5}, "scans 2, fraction 0.5: contradict each other."),
        ({"labels": [1], "ignore": 1}, "ignore 1: is among the labels to learn."),
        ({"cases": ["case_2"], "labels": [5]}, "labels: 5 is in no label; they show 1, 2."),
        ({"cases": ["case_9"]}, "has no case case_9"),
        ({"label_dir": "nowhere"}, "nowhere: does not exist."),
    ],
)
def test_what_cannot_be_right_is_refused(
    settings: dict[str, Any], says: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ScanError) as refused:
        learnt_scans(data, **settings)
    assert says in str(refused.value)
    with pytest.raises(SystemExit) as ended:
        check_learnt_scans(data, **settings)
    assert ended.value.code == 2 and says in capsys.readouterr().err


def test_nothing_labelled_is_refused(data: Path, tmp_path: Path) -> None:
    for name in NAMES:
        save(data / "labels" / f"{name}.nii.gz", [])
    with pytest.raises(ScanError, match="labels: no organ is shown by case_1, case_2"):
        learnt_scans(data)
    save(tmp_path / "pseudo" / "case_99.nii.gz", [1])
    with pytest.raises(ScanError, match="pseudo: has no label of case_1, case_2, .* name a folder of labels"):
        learnt_scans(data, label_dir=tmp_path / "pseudo")


def test_values_that_dataset_json_does_not_name_are_explained_or_refused(data: Path) -> None:
    write_json(data / "dataset.json", {"labels": {"liver": 1, "spleen": 2}})
    with pytest.raises(ScanError, match=r"case_1.nii.gz: has label values 5 that dataset.json does not name.*ignore=5"):
        learnt_scans(data)
    assert learnt_scans(data, ignore=5).values == [1, 2]
    assert learnt_scans(data, labels=[1, 5]).values == [1, 5]


def test_every_bad_label_is_named(data: Path) -> None:
    for name in NAMES[:2]:
        nib.Nifti1Image(np.zeros((4, 4, 5), np.int16), np.eye(4)).to_filename(data / "labels" / f"{name}.nii.gz")
    with pytest.raises(ScanError) as refused:
        learnt_scans(data)
    assert len(refused.value.problems) == 2 and "case_2.nii.gz: label has shape (4, 4, 5)" in str(refused.value)
