# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What an atlas teaches of a scan, against what is known of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from known_atlas import Known
from known_atlas import shifted_scan as scan
from monai.data import MetaTensor

from monai_fss.data import (
    DOUBT,
    InputWarning,
    ReadFramed,
    ReadTaughtScan,
    ScanError,
    fingerprint,
    fingerprints,
    save_taught_scan,
    taught_items,
    with_taught,
)
from monai_fss.inferers import Atlas, Teacher, remembered_scan
from monai_fss.inferers.students.teacher import agreed_label, dressed_as
from monai_fss.inferers.two_stage.priors import unpacked_atlases
from monai_fss.registration import DisplacementField, Grid, resample
from monai_fss.registration.body import RegistrationError


def known(**more: Any) -> Known:
    """An atlas of `scan` for which 10 mm are known, two voxels."""
    return Known([scan()], spacing=[5, 5, 5], sides=False, **more)


def test_a_scan_is_taught_by_its_mask_and_by_the_labelled_scan_dressed_as_it() -> None:
    query = scan(2, brightness=0.5)
    taught = Teacher(known())(query["image"])
    assert taught is not None
    image, label, dressed, own = (
        taught[key].as_tensor()[0] for key in ("image", "label", "synthesised_image", "synthesised_label")
    )
    assert set(label.unique().tolist()) == {0, 4} == set(own.unique().tolist()) - {DOUBT}
    assert (label == 4).sum() == 125 and torch.equal(own == 4, label == 4)
    assert image[label == 4].mean() == pytest.approx(0.4, abs=0.01)
    assert dressed[own == 4].mean() == pytest.approx(0.4, abs=0.01), "in the scan's intensities: half of its own"


def test_nothing_is_taught_where_opinions_differ() -> None:
    one, two = np.array([3, 3, 7, 0, 0], np.int32), np.array([3, 7, 0, 0, 3], np.int32)
    assert agreed_label([one]).tolist() == one.tolist()
    assert agreed_label([one, two]).tolist() == [3, DOUBT, DOUBT, 0, DOUBT]


def test_a_second_registration_leaves_out_what_it_puts_elsewhere() -> None:
    class Unsure(Known):
        """A second registration is 5 mm short."""

        def field(self, fixed: MetaTensor, moving: MetaTensor, settings: Any = None) -> DisplacementField:
            """10 or 5 mm along the first axis."""
            matrix = np.eye(4)
            matrix[0, 3] = -10.0 if settings is None else -5.0
            return DisplacementField.from_affine(matrix, self.grid(fixed))

    atlas = Unsure([scan()], spacing=[5, 5, 5], sides=False, refinement=None)
    taught = Teacher(atlas, {"preset": "fast"})(scan(2)["image"])
    assert taught is not None
    label = taught["label"].as_tensor()
    assert (label == 4).sum() == 100 and (label == DOUBT).sum() == 50, "a slice of 25 on each side"
    mask, second = taught["mask"].as_tensor() == 4, taught["second"].as_tensor() == 4
    assert torch.equal(mask.roll(-1, 1), second) and torch.equal(mask & second, label == 4)


def test_a_scan_of_which_one_registration_fails_is_left_out() -> None:
    class Failing(Known):
        """A second registration fails."""

        def field(self, fixed: MetaTensor, moving: MetaTensor, settings: Any = None) -> DisplacementField:
            """10 mm, or none."""
            if settings is not None:
                raise RegistrationError("nothing in common")
            return super().field(fixed, moving)

    teacher = Teacher(Failing([scan()], spacing=[5, 5, 5], sides=False), {"preset": "fast"})
    with pytest.warns(InputWarning, match="second registration fails: nothing in common"):
        assert teacher(scan(2)["image"]) is None


def test_it_is_said_where_in_the_labelled_scan_a_scan_lies() -> None:
    """By the affine part: the middle of the organ, voxels 5 to 9, 5 to 9 and 3 to 7, is the origin, 100 mm the
    unit. What lies 10 mm further in the scan is the same place."""
    taught = Teacher(known())(scan(2)["image"])
    assert taught is not None
    own, other = (found["to_labelled"].numpy() for found in (Teacher(known()).own(), taught))
    for millimetres, wanted in (((35, 35, 25), (0, 0, 0)), ((135, 35, 25), (1, 0, 0)), ((35, 25, 45), (0, -0.1, 0.2))):
        x, y, z = millimetres
        assert (own @ [x, y, z, 1])[:3] == pytest.approx(wanted)
        assert (other @ [x + 10, y, z, 1])[:3] == pytest.approx(wanted, abs=1e-6)


def test_beyond_the_labelled_scan_nothing_is_taught() -> None:
    atlas, query = known(), scan(2)
    grid = atlas.grid(query["image"])
    placed, _ = atlas.placed(query["image"])
    dressed, label = dressed_as(np.full(grid.shape, 0.3, np.float32), grid, placed[0], [4])
    places = np.indices(grid.shape).reshape(3, -1).T @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    beyond = (places[:, 0] - 10 < -2.5).reshape(grid.shape)  # the labelled scan begins half a voxel before 0
    assert beyond.any() and (label[beyond] == DOUBT).all() and not dressed[beyond].any()
    assert (label[~beyond] != DOUBT).all()


def test_files_are_read_as_they_were_written(tmp_path: Any) -> None:
    teacher = Teacher(known())
    taught = teacher(scan(2)["image"])
    assert taught is not None
    save_taught_scan(tmp_path / "b.pt", taught)
    save_taught_scan(tmp_path / "a.pt", teacher.own())
    items = taught_items(tmp_path, ["a", "b", "c"], "a")
    assert [(item["taught"][-4], item["image"]) for item in items] == [
        ("a", "image"),
        ("b", "image"),
        ("b", "synthesised_image"),
    ], "c could not be registered"
    assert len(taught_items(tmp_path, ["a", "b"], "a", pseudo=False)) == 2
    own, _, dressed = (ReadTaughtScan()(item) for item in items)
    assert torch.equal(dressed["label"], taught["synthesised_label"]) and torch.equal(own["label"] == 4, OWN)
    assert torch.allclose(dressed["image"], taught["synthesised_image"], atol=1e-3)
    frames = [ReadTaughtScan()(item)["to_labelled"] for item in items]
    assert torch.equal(frames[1], frames[2]) and torch.equal(frames[1], taught["to_labelled"])
    framed = with_taught([{"case": "b", "label": "x"}, {"case": "c"}], tmp_path)
    assert [item["case"] for item in framed] == ["b"], "c could not be registered"
    read = ReadFramed()(framed[0])
    assert read["label"] == "x" and torch.equal(read["to_labelled"], taught["to_labelled"])
    (tmp_path / "b.pt").write_bytes(b"")
    with pytest.raises(ScanError, match="b.pt: is missing or damaged"):
        ReadTaughtScan()(items[1])
    with pytest.raises(ScanError, match=r"has no c\.pt, the labelled scan"):
        taught_items(tmp_path, ["a"], "c")


OWN = Teacher(known()).own()["label"] == 4


def test_the_labelled_scan_is_remembered_as_the_atlas_wants_it() -> None:
    kept = unpacked_atlases(remembered_scan(scan(), [5, 5, 5]))
    atlas = Atlas(kept, spacing=[5, 5, 5])
    assert atlas.values == (4,)
    grid = Grid.of(scan()["image"])
    assert np.array_equal(atlas.scans[0].masks([4], grid)[0] > 0.5, scan()["label"][0].numpy() == 4)
    assert np.prod(kept[0]["label"].shape) < 400, "cut to the organ"


def test_a_scan_that_was_taught_by_is_known_again(tmp_path: Any) -> None:
    """By what an inferer sees of it; no other is taken for it, neither on another grid nor with one other voxel."""
    atlas = known()
    for case, query in (("b", scan(2)), ("c", scan(1))):
        taught = Teacher(atlas)(query["image"])
        assert taught is not None
        save_taught_scan(tmp_path / f"{case}.pt", taught)
    kept = fingerprints(tmp_path, ["b", "none", "c"])
    assert kept.shape == (2, 32) and kept.dtype == torch.uint8 and not torch.equal(*kept)
    shown = resample(scan(2)["image"], atlas.grid(scan(2)["image"]))
    assert torch.equal(fingerprint(shown), kept[0]) and torch.equal(fingerprint(shown.as_tensor()), kept[0])
    assert not torch.equal(fingerprint(shown.as_tensor().flatten()[None]), kept[0])
    shown[0, 3, 3, 3] += 0.01
    assert not torch.equal(fingerprint(shown), kept[0])
    assert fingerprints(tmp_path, ["none"]).shape == (0, 32)
