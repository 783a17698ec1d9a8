# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Setting 2: which slices are left to train on, however a scan is stored, and what cannot be left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bad_files import good_image, save_nifti
from monai.data.utils import pickle_hashing
from monai.transforms import Compose, LoadImaged, Spacingd
from scipy.spatial.transform import Rotation

from monai_fss.data import (
    InputWarning,
    ScanError,
    check_left_out,
    labelled_organs,
    left_out_classes,
    training_items,
)
from monai_fss.transforms import SliceOrientationd

SHAPE = (10, 9, 16)
# Value to slices, along S. Free of 1 and 2 are 0, 1, 5, 7, 8, 11 to 15: slice 5 has no free neighbour.
SLICES = {1: (2, 3, 4), 2: (6,), 3: (0, 3, 9, 10), 4: (9, 10)}
FREE_OF_124 = [[0, 2], [7, 9], [11, 16]]


def label(slices: dict[int, tuple[int, ...]]) -> np.ndarray:
    """Each value shows in one voxel of each of its slices, at a place of its own."""
    array = np.zeros(SHAPE, np.uint8)
    for value, where in slices.items():
        array[value, 2 * value - 1, list(where)] = value
    return array


def write(folder: Path, name: str, slices: dict[int, tuple[int, ...]] | None, codes: str = "RAS") -> None:
    """A case whose axes are stored in the order and direction of ``codes``."""
    arrays: dict[str, np.ndarray] = {"images": good_image(1, SHAPE)}
    if slices is not None:
        arrays["labels"] = label(slices)
    way = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    for part, array in arrays.items():
        stored: Any = nib.Nifti1Image(array, np.diag([2.0, 2.5, 6.0, 1.0])).as_reoriented(way)
        save_nifti(folder / part / f"{name}.nii.gz", np.asarray(stored.dataobj), stored.affine)


def ranges(items: list[dict[str, Any]]) -> list[list[int]]:
    return [item["slices"] for item in items]


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPI", "SPR", "IAR", "AIL", "PSR"])
def test_runs_are_those_that_training_sees_whatever_the_stored_order(codes: str, tmp_path: Path) -> None:
    write(tmp_path, "a", SLICES, codes)
    assert ranges(training_items(tmp_path, None, [1, 2, 4])) == FREE_OF_124
    assert ranges(training_items(tmp_path, None, [2])) == [[0, 6], [7, 16]]
    assert ranges(training_items(tmp_path, None, [3])) == [[1, 3], [4, 9], [11, 16]]
    assert ranges(training_items(tmp_path, None, [4, 2, 1, 3])) == [[7, 9], [11, 16]]


def test_an_item_for_each_run_and_in_setting_1_the_items_as_they_were(tmp_path: Path) -> None:
    for name, slices in (("a", {1: (3,)}), ("b", {2: (5,)}), ("c", {1: (0,)})):
        write(tmp_path, name, slices)
    whole = training_items(tmp_path)
    assert [item.keys() for item in whole] == [{"image", "stamp"}] * 3
    assert training_items(tmp_path, None, None) == whole
    runs = training_items(tmp_path, ["c", "a", "b"], [1])
    a, b, c = whole
    assert runs == [
        c | {"slices": [1, 16]},
        a | {"slices": [0, 3]},
        a | {"slices": [4, 16]},
        b | {"slices": [0, 16]},
    ]
    assert len({pickle_hashing(item) for item in [*whole, *runs]}) == 7  # each has a cache file of its own


def affine_of(kind: str) -> np.ndarray:
    """6 mm across slices: upright, tilted within what counts as axial, oblique, or sheared as by a gantry."""
    scale = np.diag([2.0, 2.5, 6.0])
    turn = {"tilted": 15, "oblique": 40}.get(kind, 0)
    linear = Rotation.from_euler("x", turn, degrees=True).as_matrix() @ scale
    if kind == "sheared":
        linear[1, 2] = 6 * np.tan(np.radians(20))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear, (-40, 31, 7)
    return affine


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("kind", ["upright", "tilted", "oblique", "sheared"])
@pytest.mark.filterwarnings("ignore::monai_fss.data.InputWarning")
def test_no_slice_left_holds_any_of_a_class_after_the_spacing_of_the_bundles(
    kind: str, order: tuple[int, int, int], tmp_path: Path
) -> None:
    array, affine = label(SLICES).transpose(order), affine_of(kind)[:, [*order, 3]]
    array = np.flip(array, 1)  # and a stored axis backwards
    affine[:3, 3] += affine[:3, 1] * (array.shape[1] - 1)
    affine[:3, 1] *= -1
    shown = np.isin(array, (1, 2, 4))
    # The image is bright where the classes are: what is left of it must be dark.
    save_nifti(tmp_path / "images" / "a.nii.gz", (shown * 1000).astype(np.int16), affine)
    save_nifti(tmp_path / "labels" / "a.nii.gz", array, affine)
    items = training_items(tmp_path, None, [1, 2, 4])
    load = Compose(
        [
            LoadImaged("image", ensure_channel_first=True, image_only=True),
            SliceOrientationd("image"),
            Spacingd("image", pixdim=(1.5, 1.5, -1), mode="bilinear"),
        ]
    )
    volume = load(items[0])["image"]
    bright = np.asarray(volume.amax((0, 1, 2)))
    kept = np.zeros(volume.shape[-1], bool)
    for first, stop in ranges(items):
        assert stop <= len(kept)
        kept[first:stop] = True
    assert bright[kept].max() < 1.5  # of 1000
    if kind == "sheared":  # set upright, 16 slices 6 mm apart are 15 of 6 mm / cos(20)
        assert len(kept) == 15 and ranges(items) == [[11, 15]]
    else:
        assert ranges(items) == FREE_OF_124 and kept.sum() == 9
        assert bright[[z for z in range(16) if not kept[z] and z != 5]].min() > 20


def test_a_scan_without_a_run_is_left_out_by_name(tmp_path: Path) -> None:
    write(tmp_path, "a", {1: tuple(range(0, 16, 2))})
    write(tmp_path, "b", {2: (4,)})
    with pytest.warns(InputWarning, match=r"a\.nii\.gz: has no two neighbouring slices that show none of 1\. a is not"):
        items = training_items(tmp_path, None, [1])
    assert ranges(items) == [[0, 16]] and Path(items[0]["image"]).name == "b.nii.gz"


def test_superpixels_need_no_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "a", {1: tuple(range(0, 16, 2))})
    write(tmp_path, "b", {1: tuple(range(16))})
    with pytest.warns(InputWarning, match=r"b\.nii\.gz: has no slice that shows none of 1\. b is not trained on"):
        items = training_items(tmp_path, None, [1], shortest=1)
    assert ranges(items) == [[z, z + 1] for z in range(1, 16, 2)]
    with pytest.raises(ScanError, match="no scan has a slice that shows none of 1. Leave out fewer"):
        training_items(tmp_path, ["b"], [1], shortest=1)


def test_what_cannot_be_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a", SLICES)
    write(tmp_path, "b", None)
    write(tmp_path, "c", {1: tuple(range(16))})
    with pytest.raises(
        ScanError, match=r"b\.nii\.gz: has no label, so .* Add labels/b\.nii\.gz, or do not train on it"
    ):
        training_items(tmp_path, None, [1])
    with pytest.raises(ScanError, match=r"labels: no training scan shows 5, 9; they show 1, 2, 3, 4\. Correct test_cl"):
        training_items(tmp_path, ["a", "c"], [5, 1, 9])
    with pytest.raises(ScanError, match="no scan has two neighbouring slices that show none of 1. Leave out fewer"):
        training_items(tmp_path, ["c"], [1])
    with pytest.raises(ScanError, match=r"test_classes: are empty in setting 2\. Give label values"):
        training_items(tmp_path, ["a"], [])
    save_nifti(tmp_path / "labels" / "a.nii.gz", label(SLICES) * 0.5)
    with pytest.raises(ScanError, match=r"a\.nii\.gz: label has \d+ fractional values"):
        training_items(tmp_path, ["a"], [1])


def test_the_check_of_the_bundles_says_so_in_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "a", SLICES)
    write(tmp_path, "b", None)
    check_left_out(tmp_path, None, None)
    check_left_out(tmp_path, ["a"], [1])
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit) as stop:
        check_left_out(tmp_path, None, [1])
    assert stop.value.code == 2
    assert "b.nii.gz: has no label" in capsys.readouterr().err
    save_nifti(tmp_path / "labels" / "b.nii.gz", label(SLICES)[..., :12], np.diag([2.0, 2.5, 6.0, 1.0]))
    with pytest.raises(SystemExit):
        check_left_out(tmp_path, None, [1])
    assert "b.nii.gz: label has shape (10, 9, 12), its image" in capsys.readouterr().err


def test_settings_that_go_together() -> None:
    assert left_out_classes(1, []) is None
    assert left_out_classes(2, [2, 3]) == [2, 3]


@pytest.mark.parametrize(
    ("setting", "classes", "says"),
    [
        (3, [], "setting=3: is unknown. Give 1, or 2 to leave out"),
        ("2", [1], "setting='2': is unknown"),
        (True, [], "setting=True: is unknown"),
        (2, [], "setting=2: leaves nothing out without test classes. Give label values"),
        (1, [2], r"test_classes=\[2\]: would be ignored in setting 1. Give setting=2"),
        (2, [1, 0], r"test_classes=\[1, 0\]: 0 is no label value"),
        (2, ["liver"], "liver is no label value"),
    ],
)
def test_settings_that_do_not(setting: Any, classes: list[Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        left_out_classes(setting, classes)


def test_labelled_episodes_have_items_of_labelled_scans_with_their_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In setting 1 test classes are named too: their slices stay, their labels are not learnt."""
    write(tmp_path, "a", SLICES)
    write(tmp_path, "b", {1: (2,), 4: (5,)})
    write(tmp_path, "c", None)
    whole = training_items(tmp_path, labelled=True)
    assert [Path(item["label"]).parent.name + "/" + Path(item["label"]).name for item in whole] == [
        "labels/a.nii.gz",
        "labels/b.nii.gz",
    ]
    runs = training_items(tmp_path, ["a"], [1, 2, 4], labelled=True)
    assert ranges(runs) == FREE_OF_124 and all(item["label"] == whole[0]["label"] for item in runs)
    assert left_out_classes(1, [2, 4], labelled=True) is None and left_out_classes(2, [2, 4], labelled=True) == [2, 4]
    assert labelled_organs(tmp_path, None, [2]) == {1: ["a", "b"], 3: ["a"], 4: ["a", "b"]}
    check_left_out(tmp_path, None, None, 1, [2])
    with pytest.raises(SystemExit) as ended:
        check_left_out(tmp_path, ["b"], None, 1, [1, 4])
    assert ended.value.code == 2
    assert "1 labelled training scans show no organ but 1, 4, which are tested" in capsys.readouterr().err
