# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scribbles become points, points of another scan become pseudo-masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate

from monai_fss.inferers import LocatedPoints, ScribblePropagation, SupportPoints, found_in, scribble_points
from monai_fss.transforms import grow_scribbles, remove_leaks

SHAPE, SPACING = (24, 20, 8), (2.0, 2.0, 4.0)
GROWTH = {"limit": 30.0, "intensity_weight": 0.5, "iterations": 4}


def scan(name: str = "query") -> MetaTensor:
    """A bright and a less bright box before a dark ground."""
    image = torch.zeros(1, *SHAPE)
    image[:, 4:12, 4:14, 2:6] = 1.0
    image[:, 14:20, 4:14, 2:6] = 0.5
    found = MetaTensor(image, affine=torch.diag(torch.tensor([*SPACING, 1.0])))
    found.meta["filename_or_obj"] = f"folder/{name}.nii.gz"
    return found


# Two points of the first box, one of the second, three of the ground.
VOXELS = np.array([[8, 8, 3], [8, 9, 4], [17, 8, 4], [1, 1, 0], [22, 18, 7], [13, 17, 4]])
VALUES = np.array([1, 1, 2, 9, 9, 9])


def support() -> SupportPoints:
    nothing = torch.zeros(len(VALUES), 3)
    mm = (VOXELS * SPACING).astype(np.float32)
    rest = np.zeros_like(mm)
    seen = [nothing] * 4
    return SupportPoints(VOXELS.astype(np.float32), mm, VALUES, *seen, rest, rest, torch.zeros(0), rest)


class Found:
    """A localiser that finds every point where it is, with the similarity that it is told."""

    def __init__(self, similarity: Any) -> None:
        self.similarity = np.asarray(similarity, dtype=float)
        self.asked = 0

    def __call__(self, points: SupportPoints, image: MetaTensor) -> LocatedPoints:
        self.asked += 1
        return LocatedPoints(VOXELS, points.mm, points.values, self.similarity)


def propagation(similarity: Any = (0.9,) * 6, **settings: Any) -> ScribblePropagation:
    localiser: Any = Found(similarity)
    own = {"margin": 100.0, "growth": GROWTH, "tolerance": None} | settings
    return ScribblePropagation(localiser, support(), "own", background=9, **own)


def test_scribbles_lie_where_they_were_drawn_whatever_the_grid() -> None:
    """Voxel (2, 5, 1) of a grid of 1 x 2 x 3 mm that is flipped and shifted against that of the image."""
    drawn = torch.zeros(1, 10, 10, 4)
    drawn[0, 2, 5, 1] = 7
    own = np.array([[-1.0, 0, 0, 30], [0, 2, 0, 4], [0, 0, 3, -6], [0, 0, 0, 1]])
    image = MetaTensor(torch.zeros(1, 8, 8, 8), affine=np.diag([4.0, 4.0, 4.0, 1.0]))
    voxels, values = scribble_points(MetaTensor(drawn, affine=own), image)
    np.testing.assert_allclose(voxels, [[28 / 4, 14 / 4, -3 / 4]])
    assert values.tolist() == [7]


def test_of_many_points_of_a_class_some_are_taken() -> None:
    drawn = torch.zeros(1, 50, 2, 2)
    drawn[0, :, 0, 0], drawn[0, :3, 1, 1] = 1, 2
    image = MetaTensor(torch.zeros(1, 50, 2, 2), affine=torch.eye(4))
    voxels, values = scribble_points(MetaTensor(drawn, affine=torch.eye(4)), image, most=5)
    assert np.bincount(values).tolist() == [0, 5, 3]
    assert voxels[values == 1, 0].tolist() == [0, 12, 24, 37, 49], "spread over the line"


def test_a_pseudo_mask_is_what_grows_from_the_points() -> None:
    inferer, image = propagation(), scan()
    mask = inferer(list_data_collate([{"image": image}])["image"])
    assert isinstance(mask, MetaTensor) and tuple(mask.shape) == (1, 1, *SHAPE)
    scribbles = np.zeros(SHAPE, np.int16)
    scribbles[tuple(VOXELS.T)] = VALUES
    expected, _ = grow_scribbles(np.asarray(image[0]), scribbles, SPACING, 9, **GROWTH)
    assert np.array_equal(np.asarray(mask[0, 0]), expected)
    assert (expected[4:12, 4:14, 2:6] == 1).all() and (expected[15:20, 4:14, 2:6] == 2).all()
    found = found_in(decollate_batch(mask)[0])
    assert found["missing"] == [] and inferer.values == [1, 2]
    cleaned = propagation(tolerance=0.1).pseudo_mask(image)[0][0].numpy()
    assert np.array_equal(cleaned, remove_leaks(expected, np.asarray(image[0]), scribbles, 0.1))
    assert 0 < (cleaned != expected).sum() < 200, "edges are rounded"
    assert found["located"]["values"] == VALUES.tolist()


def test_points_of_organs_must_be_alike_those_of_the_background_need_not() -> None:
    inferer = propagation((0.9, 0.9, 0.4, 0.0, 0.0, 0.0))
    made, found = inferer.pseudo_mask(scan())
    mask = np.asarray(made[0])
    assert set(np.unique(mask)) == {0, 1} and found["missing"] == [2]
    assert mask[1, 1, 0] == 0 and mask[13, 17, 4] == 0, "the background's points hold it back"
    alone = propagation((0.9, 0.9, 0.4, 0.0, 0.0, 0.0), tau=0.3)
    assert set(np.unique(np.asarray(alone.pseudo_mask(scan())[0]))) == {0, 1, 2}


def test_where_nothing_is_alike_there_is_no_mask() -> None:
    inferer = propagation((0.1,) * 6)
    mask, found = inferer.pseudo_mask(scan())
    assert not mask.any() and found["missing"] == [1, 2]


def test_the_scan_with_the_scribbles_is_not_searched() -> None:
    inferer: Any = propagation((0.0,) * 6)
    mask, found = inferer.pseudo_mask(scan("own"))
    assert inferer.localiser.asked == 0 and set(np.unique(np.asarray(mask))) == {0, 1, 2}
    assert set(found["located"]["similarity"]) == {1.0}
    inferer.pseudo_mask(scan())
    assert inferer.localiser.asked == 1


def test_a_plain_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="points are found in mm: give a MetaTensor"):
        propagation()(torch.zeros(1, 1, *SHAPE))
