# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scribbles are thin, lie where they should, and in as few slices as asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import distance_transform_edt, label

from monai_fss.transforms import ScribblesFromMaskd, scribbles_from_mask, thinned

ALL = np.ones((3, 3))


def disc(size: int, radius: float, centre: tuple[float, float]) -> np.ndarray:
    y, x = np.indices((size, size))
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def blocks(image: np.ndarray) -> int:
    """How many 2 x 2 squares are full."""
    return int((image[:-1, :-1] & image[1:, :-1] & image[:-1, 1:] & image[1:, 1:]).sum())


def test_a_bar_becomes_its_middle_line() -> None:
    mask = np.zeros((11, 40), bool)
    mask[3:8, 4:36] = True
    found = thinned(mask)
    rows, columns = np.nonzero(found)
    assert set(rows) == {5} and columns.min() <= 7 and columns.max() >= 32 and len(columns) == np.ptp(columns) + 1


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
    assert thinned(speck).sum() >= 1 and not thinned(np.zeros((5, 5))).any()


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
    lines = found == 9
    assert lines.any() and far[lines].min() >= 6 and far[lines].max() < 8.5
    assert np.flatnonzero(lines.any(axis=(0, 1))).tolist() == np.flatnonzero((found > 0).any(axis=(0, 1))).tolist()
    assert np.array_equal(np.where(lines, 0, found), scribbles_from_mask(mask, spacing, slices=3))


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
