# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scribbles are thin, lie where they should, and in as few slices as asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import distance_transform_edt, label

from monai_fss.transforms import ScribblesFromMaskd, grow_scribbles, scribbles_from_mask

ALL = np.ones((3, 3))


def disc(size: int, radius: float, centre: tuple[float, float]) -> np.ndarray:
    y, x = np.indices((size, size))
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def blocks(image: np.ndarray) -> int:
    """How many 2 x 2 squares are full."""
    return int((image[:-1, :-1] & image[1:, :-1] & image[:-1, 1:] & image[1:, 1:]).sum())


def thinned(mask: np.ndarray) -> np.ndarray:
    """The scribble of a mask of one slice."""
    return scribbles_from_mask(mask[..., None], (1, 1, 1))[..., 0] != 0


def test_a_bar_becomes_its_middle_line() -> None:
    mask = np.zeros((11, 40), bool)
    mask[3:8, 4:36] = True
    found = thinned(mask)
    rows, columns = np.nonzero(found)
    assert set(rows[(columns > 8) & (columns < 31)]) == {5}
    assert columns.min() <= 7 and columns.max() >= 32 and len(columns) == np.ptp(columns) + 1


@pytest.mark.parametrize("seed", range(4))
def test_skeletons_are_thin_inside_and_as_connected(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((48, 48), bool)
    for _ in range(6):
        mask |= disc(48, rng.uniform(2, 9), tuple(rng.uniform(8, 40, 2)))
    found = thinned(mask)
    assert (found & ~mask).sum() == 0 and found.sum() < 0.25 * mask.sum() and blocks(found) <= 2
    pieces, count = label(mask, ALL)
    assert label(found, ALL)[1] == count
    assert all(found[pieces == i].any() for i in range(1, count + 1))


def test_a_ring_stays_a_ring_and_a_speck_a_speck() -> None:
    ring = disc(40, 15, (20, 20)) & ~disc(40, 9, (20, 20))
    found = thinned(ring)
    assert label(~found)[1] == 2 and blocks(found) == 0
    speck = np.zeros((6, 6), bool)
    speck[2:4, 2:4] = True
    speck[0, 0] = speck[5, 4:] = True
    found = thinned(speck)
    assert found[0, 0] and found[5, 4:].any() and found[2:4, 2:4].any() and not (found & ~speck).any()


def organs() -> np.ndarray:
    mask = np.zeros((48, 48, 12), np.int16)
    for z in range(1, 10):
        mask[..., z][disc(48, 8, (16, 16))] = 1
    for z in range(4, 6):
        mask[..., z][disc(48, 5, (34, 30))] = 7
    return mask


def test_slices_are_spread_over_each_class() -> None:
    mask = organs()
    found = scribbles_from_mask(mask, (1.0, 1.0, 3.0), slices=3)
    assert found.dtype == np.int16 and set(np.unique(found)) == {0, 1, 7}
    assert np.flatnonzero((found == 1).any(axis=(0, 1))).tolist() == [2, 5, 8]
    assert np.flatnonzero((found == 7).any(axis=(0, 1))).tolist() == [4, 5]
    assert ((found == mask) | (found == 0)).all()
    assert len(np.flatnonzero((scribbles_from_mask(mask, (1, 1, 3)) == 1).any(axis=(0, 1)))) == 5


def test_background_lines_run_around_at_a_distance() -> None:
    mask, spacing = organs(), (1.0, 1.0, 3.0)
    found = scribbles_from_mask(mask, spacing, slices=3, background=9, margin=6.0)
    far = distance_transform_edt(mask == 0, sampling=spacing)
    around = [2, 4, 5, 8]
    lines = found[..., around] == 9
    assert lines.any(axis=(0, 1)).all() and far[..., around][lines].min() >= 6
    assert far[..., around][lines].max() < 8.5
    assert np.flatnonzero((found > 0).any(axis=(0, 1))).tolist() == [0, 2, 4, 5, 7, 8, 11]
    assert np.array_equal(np.where(found == 9, 0, found), scribbles_from_mask(mask, spacing, slices=3))


def test_background_lines_cross_what_lies_beyond_the_ends() -> None:
    """Class 1 (slices 1 to 9) ends 6 mm below slice 11 and 3 mm above slice 0; class 7 (4 and 5) in 2 and 7."""
    found = scribbles_from_mask(organs(), (1.0, 1.0, 3.0), slices=3, background=9, margin=6.0)
    across = np.zeros((48, 48), bool)
    across[2:31, 16] = True  # the disc's 8 to 24 and 6 more
    assert np.array_equal(found[..., 0] == 9, across) and np.array_equal(found[..., 11] == 9, across)
    beside = np.argwhere(found[..., 7] == 9)
    assert set(beside[:, 1]) == {30} and (beside[0, 0], beside[-1, 0]) == (23, 45)  # the disc's 29 to 39 and 6 more
    assert len(beside) == 23


def test_beyond_an_end_where_another_class_lies_close_the_line_is_cut_to_what_is_free() -> None:
    mask = np.zeros((20, 30, 6), np.int16)
    mask[8:11, 12:18, 0:2] = 1
    mask[:, :, 3] = 2
    mask[9, 8:10, 3] = 0
    found = scribbles_from_mask(mask, (1.0, 1.0, 5.0), background=3, margin=10.0)
    assert np.argwhere(found[..., 3] == 3).tolist() == [[9, 8], [9, 9]]
    mask[9, 8:10, 3] = 2
    assert not (scribbles_from_mask(mask, (1.0, 1.0, 5.0), background=3)[..., 3] == 3).any()


def test_a_growth_ends_with_the_organ_where_its_tissue_goes_on() -> None:
    image = np.full((32, 32, 24), 0.2, np.float32)
    image[10:22, 12:20] = 0.8  # a vessel through the whole scan, of which slices 8 to 15 are labelled
    mask = np.zeros(image.shape, np.int16)
    mask[10:22, 12:20, 8:16] = 1
    drawn = scribbles_from_mask(mask, (1, 1, 1), background=2, margin=4.0)
    assert np.flatnonzero((drawn == 2).any(axis=(0, 1))).tolist() == [4, 8, 10, 12, 13, 15, 19]
    open_ended = np.where(mask.any(axis=(0, 1)), drawn, 0)
    shown = [
        np.flatnonzero((grow_scribbles(image, s, (1, 1, 1), 2, limit=20.0)[0] == 1).any(axis=(0, 1)))
        for s in (drawn, open_ended)
    ]
    assert (shown[0].min(), shown[0].max()) == (5, 18), "the corners of the vessel's end are nearer to its scribble"
    assert (shown[1].min(), shown[1].max()) == (0, 23)


def test_as_a_transform() -> None:
    affine = torch.diag(torch.tensor([-1.0, 1.0, 3.0, 1.0]))
    data = {"label": MetaTensor(torch.from_numpy(organs())[None], affine=affine)}
    result = ScribblesFromMaskd("label", slices=2, background=9)(data)["label"]
    assert np.array_equal(np.asarray(result[0]), scribbles_from_mask(organs(), (1, 1, 3), 2, 9))
    assert torch.equal(result.affine, affine.double())
    with pytest.raises(ValueError, match="label: must be a MetaTensor"):
        ScribblesFromMaskd("label")({"label": torch.zeros(1, 4, 4, 4)})


@pytest.mark.parametrize(
    ("mask", "more"),
    [(np.zeros((4, 4, 2)), {}), (np.ones((4, 4, 2)), {"background": 1}), (np.ones((4, 4, 2)), {"slices": 0})],
)
def test_arguments_are_checked(mask: np.ndarray, more: dict) -> None:
    with pytest.raises(ValueError, match=r"mask: has the values \[.*\], background .* Label something"):
        scribbles_from_mask(mask, (1, 1, 1), **more)
