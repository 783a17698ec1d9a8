# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Points are found again where a network knows the body's coordinates, and compared by what lies there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch
from known_prnet import SPACING, Known, scan
from monai.data import MetaTensor
from torch import nn

from monai_fss.inferers import PointLocaliser, SupportPoints
from monai_fss.inferers.points import patches as module
from monai_fss.inferers.points.neighbours import gaussian_average as averaged_ways
from monai_fss.inferers.points.patches import PatchGrid
from monai_fss.networks.nets import PRNet
from monai_fss.transforms import patch_around, smooth_spacing

unmatched = partial(PointLocaliser, match_levels=())  # what the networks find by themselves
SUPPORT, QUERY = scan((30, 40, 20), (0, 0, 0), 0.0), scan((36, 44, 24), (-8, 3, -9), 0.0)
POINTS, MOVED = np.array([[12, 15, 6], [25, 8, 15], [5, 30, 2]]), np.array([8, -3, 9])  # voxels, mm


def test_points_are_found_where_they_are() -> None:
    net = Known()
    localiser = unmatched(net, batch=2)
    support = localiser.support(SUPPORT, POINTS, [1, 1, 7])
    assert support.coarse is support.fine and net.positions == 0, "one network looks once"
    found = localiser(support, QUERY)
    assert found.voxels.tolist() == (POINTS + [4, -3, 3]).tolist()
    np.testing.assert_allclose(found.mm, POINTS * SPACING + MOVED, atol=0.01)
    assert found.values.tolist() == [1, 1, 7]
    np.testing.assert_allclose(found.similarity, 1, atol=1e-5)
    before = net.features
    localiser(support, QUERY)
    assert net.features == before + 3, "the support is looked at once, and features of the points found alone"


WIDE = scan((40, 60, 30), (0, 0, 0), 0.0)
INNER = np.array([[15.3, 25.0, 11.8], [22.0, 30.49, 15.0], [18.5, 35.5, 13.5], [20.1, 28.7, 16.2]])


@pytest.mark.parametrize(
    "coarse, fine",
    [((2, 1, 3), (4, 2.5, 3)), ((5, 4, 6), (1.5, 1.5, 2)), ((3, 3, 3), (3, 3, 3)), ((6, 5, 4), (2, 1, 3))],
)
@pytest.mark.parametrize("smooth", [25.0, None])
def test_every_network_has_its_own_voxel_size(
    coarse: Sequence[float], fine: Sequence[float], smooth: float | None
) -> None:
    localiser = unmatched(Known(spacing=coarse), Known(spacing=fine), smooth=smooth)
    support = localiser.support(WIDE, INNER, [1, 2, 3, 4])
    np.testing.assert_allclose(support.mm, INNER * SPACING, atol=1e-4)
    assert (np.abs(support.fine_rest) <= np.array(fine) / 2 + 1e-4).all()
    assert (np.abs(support.coarse_rest) <= np.array(coarse) / 2 + 1e-4).all()
    same = localiser(support, WIDE)
    np.testing.assert_allclose(same.mm, INNER * SPACING, atol=0.03)
    assert (np.abs(same.voxels - INNER) <= 0.52).all()
    other = scan((60, 80, 60), (-8, 3, -9), 0.0, (1.7, 0.9, 1.6))
    found = localiser(support, other)
    np.testing.assert_allclose(found.mm, INNER * SPACING + MOVED, atol=0.03)
    assert found.voxels.tolist() == np.rint((INNER * SPACING + MOVED) / [1.7, 0.9, 1.6]).astype(int).tolist()


def test_the_coarse_jump_reaches_the_points_themselves_not_their_patches() -> None:
    still = Known(gain=0.0, spacing=(1, 1, 1))  # says that every patch is the right one
    # starts in the interior: at the border the filter of the resampling counts zeros in
    localiser = unmatched(Known(spacing=(5, 4, 6)), still, spread=10, jumps=1, smooth=None)
    support = localiser.support(WIDE, INNER, [1, 2, 3, 4])
    assert np.abs(support.coarse_rest).max() > 1.8
    np.testing.assert_allclose(localiser(support, WIDE).mm, INNER * SPACING, atol=1.01)  # two roundings of 1 mm


def test_a_scan_is_resampled_once_for_each_voxel_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[float]] = []

    def counted(image: MetaTensor, spacing: Sequence[float]) -> MetaTensor:
        asked.append([round(s, 3) for s in spacing])
        return smooth_spacing(image, spacing)

    monkeypatch.setattr(module, "smooth_spacing", counted)
    for fine, sizes in (
        (None, [[2, 1, 3]]),
        (Known(), [[2, 1, 3]]),
        (Known(spacing=(3, 2, 3)), [[2, 1, 3], [3, 2, 3]]),
    ):
        localiser = unmatched(Known(), fine)
        support = localiser.support(SUPPORT, POINTS, [1, 2, 3])
        assert asked == sizes
        asked.clear()
        localiser(support, QUERY)
        assert asked == sizes
        asked.clear()


def test_a_second_network_makes_the_later_jumps_and_the_features() -> None:
    coarse, fine = Known(error=40.0), Known()
    query = QUERY.clone()
    query[4] = 0.6  # the coarse network is 40 mm off in such a tissue
    wrong = unmatched(coarse)(unmatched(coarse).support(SUPPORT, POINTS, [1, 2, 3]), query)
    assert (np.abs(wrong.voxels - POINTS - [4, -3, 3]) * SPACING).max() > 20
    before, localiser = coarse.features, unmatched(coarse, fine)
    found = localiser(localiser.support(SUPPORT, POINTS, [1, 2, 3]), query)
    assert found.voxels.tolist() == (POINTS + [4, -3, 3]).tolist()
    np.testing.assert_allclose(found.similarity, -(np.cos(0.6 * np.pi) ** 2), atol=1e-4)
    assert coarse.features == before and fine.features == 6


def test_every_fine_jump_starts_where_the_one_before_ended() -> None:
    query = QUERY.clone()
    query[4] = 0.6
    point = np.array([[15, 20, 10]])
    for jumps, left in ((1, 6), (2, 3)):
        # the coarse jump ends 12 mm before the point, a fine one goes half of the way
        fine = Known(gain=0.5)
        localiser = unmatched(Known(error=12.0), fine, jumps=jumps)
        found = localiser(localiser.support(SUPPORT, point, [1]), query)
        np.testing.assert_allclose(found.mm, point * SPACING + MOVED - left, atol=0.01)
        assert fine.positions == jumps
    assert localiser.jumps == 2 and unmatched(fine).jumps == 1


CLOSE = np.array([[16, 38, 11], [18, 33, 12], [14, 36, 9], [17, 39, 13]])


def test_an_outlier_goes_with_its_neighbours_and_is_compared_where_it_ends() -> None:
    places, truth = CLOSE * SPACING, CLOSE * SPACING + MOVED
    query = QUERY.clone()
    around(query, truth[0])[4] = 0.6  # the fine network is 30 mm off there
    ways = np.tile(MOVED, (4, 1)).astype(float)
    ways[0] -= 30
    coarse, fine = Known(), Known(error=30.0)
    off = unmatched(coarse, fine, jumps=1, smooth=0)
    support = off.support(SUPPORT, CLOSE, [1, 2, 1, 3])
    np.testing.assert_allclose(off(support, query).mm, places + ways, atol=0.01)

    weights = np.exp(-((places[:, None] - places[None]) ** 2).sum(-1) / (2 * 25**2))
    expected = places + weights @ ways / weights.sum(1, keepdims=True)
    assert 5 < (truth - expected)[0, 0] < 10, "of 30 mm"
    around(query, expected[0])[4] = 0.25
    found = unmatched(coarse, fine, jumps=1)(support, query)
    np.testing.assert_allclose(found.mm, expected, atol=0.01)
    assert found.voxels.tolist() == np.rint(expected / SPACING).astype(int).tolist()
    assert found.similarity[0] == pytest.approx(0.5, abs=1e-4), "cos(pi / 4) twice"
    assert off(support, query).similarity[0] == pytest.approx(1, abs=1e-4)
    narrow = unmatched(coarse, fine, jumps=1, smooth=0.5)(support, query)
    np.testing.assert_allclose(narrow.mm, places + ways, atol=0.01)


def around(image: MetaTensor, place: np.ndarray) -> MetaTensor:
    """The voxels next to a place, a view."""
    i, j, k = np.rint(place / SPACING).astype(int)
    return image[:, i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2]


def test_many_points_are_averaged_in_parts() -> None:
    rng = np.random.default_rng(0)
    places, ways = rng.uniform(0, 90, (1100, 3)), rng.normal(size=(1100, 3))
    averaged = averaged_ways(ways, places, 10.0)
    for index in (0, 511, 512, 1099):
        weights = np.exp(-((places - places[index]) ** 2).sum(1) / 200)
        np.testing.assert_allclose(averaged[index], (weights[:, None] * ways).sum(0) / weights.sum())


def test_points_beyond_the_query_end_at_its_border() -> None:
    query = scan((10, 10, 6), (0, 0, 0), 0.0)
    localiser = unmatched(Known())
    found = localiser(localiser.support(SUPPORT, POINTS, [1, 2, 3]), query)
    assert found.voxels.tolist() == [[9, 9, 5], [9, 8, 5], [5, 9, 2]]
    np.testing.assert_allclose(found.mm, np.array(found.voxels) * SPACING, atol=0.01)
    elsewhere = localiser(localiser.support(SUPPORT, POINTS, [1, 2, 3]), scan((10, 10, 6), (500, 0, 0), 0.0))
    assert elsewhere.voxels[:, 0].tolist() == [0, 0, 0]


def test_starts_lie_in_the_body_near_the_middle() -> None:
    query = QUERY.clone()
    query[0] = 0
    query[0, 20, 25, 12] = 1
    localiser = unmatched(Known(), starts=3, spread=4)
    assert localiser._starts(PatchGrid.of(query, SPACING, (4, 6, 2))).tolist() == [[20, 25, 12]] * 3
    starts = unmatched(Known(), starts=7, spread=6)._starts(PatchGrid.of(QUERY, SPACING, (4, 6, 2)))
    assert len(starts) == 7 and len(np.unique(starts, axis=0)) == 7
    assert (np.abs(starts - [18, 22, 12]) * SPACING <= 6).all()
    query[0] = 0
    assert localiser._starts(PatchGrid.of(query, SPACING, (4, 6, 2))).tolist() == [[18, 22, 12]]


def test_with_the_network_itself() -> None:
    torch.manual_seed(0)
    coarse = PRNet((32, 16, 16), base=2, spacing=(2, 2, 1.5), bfloat16=False)
    fine = PRNet((16, 16, 32), base=2, spacing=(1.5, 1, 2), bfloat16=False)
    image = MetaTensor(torch.rand(1, 24, 24, 20), affine=torch.eye(4))
    localiser = unmatched(coarse, fine, batch=3)
    support = localiser.support(image, np.array([[12, 12, 10], [3, 4, 5]]), [1, 2])
    assert support.anatomical.shape == (2, 8) and support.pixel.shape == (2, 2)
    assert not support.fine.requires_grad
    found = localiser(support, image)
    assert found.voxels.shape == (2, 3) and (found.voxels >= 0).all() and (found.voxels < [24, 24, 20]).all()
    assert np.isfinite(found.similarity).all() and not coarse.training and not fine.training
    again = localiser(support, image)
    assert np.array_equal(found.mm, again.mm) and np.array_equal(found.similarity, again.similarity)


def test_the_support_lives_in_the_buffers_of_a_network() -> None:
    localiser = unmatched(Known(spacing=(4, 3, 3)), Known(spacing=(3, 2, 3)))
    support = localiser.support(WIDE, INNER, [1, 2, 2, 9])
    holder, empty = nn.Module(), nn.Module()
    for name, value in support.state().items():
        holder.register_buffer(name, value)
        empty.register_buffer(name, torch.zeros_like(value))
    empty.load_state_dict(holder.state_dict())
    kept = SupportPoints.from_state(dict(empty.named_buffers()))
    assert kept.state().keys() == support.state().keys() and len(kept.state()) == 11
    for name, value in support.state().items():
        assert type(getattr(kept, name)) is type(getattr(support, name))
        assert getattr(kept, name).dtype == getattr(support, name).dtype
        assert torch.equal(kept.state()[name], value), name
    assert np.array_equal(localiser(kept, WIDE).mm, localiser(support, WIDE).mm)
    support.state()["mm"].zero_()
    assert support.mm.any(), "a copy"


def test_places_of_the_grid_are_those_of_the_scan() -> None:
    affine = np.array([[-1.9, 0.4, 0.1, 50], [0.3, 1.1, 0.0, -20], [0.1, 0.0, 2.8, 5], [0, 0, 0, 1]])  # sheared too
    voxels = np.stack([*np.indices((30, 40, 20)), np.ones((30, 40, 20))])
    world = np.einsum("ij,jhwd->ihwd", affine, voxels)[:3].astype(np.float32)
    image = MetaTensor(torch.from_numpy(world), affine=torch.from_numpy(affine))
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    grid = PatchGrid.of(image, (3, 3, 3.5), (5, 4, 3))
    assert grid.shape.tolist() == list(grid.inside.shape[1:]) == list(smooth_spacing(image, (3, 3, 3.5)).shape[1:])
    places = np.array([[30.2, 22.1, 25.0], [26.0, 26.4, 33.3]])
    centres, rests = grid.nearest(places)
    np.testing.assert_allclose(grid.places(centres) + rests, places)
    assert (np.abs(rests) < 2.5).all()
    seen = grid.inside[:, centres[:, 0], centres[:, 1], centres[:, 2]].T.numpy()
    np.testing.assert_allclose(seen, (grid.places(centres) / sizes) @ affine[:3, :3].T + affine[:3, 3], atol=0.01)
    beyond, rest = grid.nearest(np.array([[-500.0, 20.0, 900.0]]))
    assert (beyond >= 0).all() and (beyond < grid.shape).all() and rest[0, 0] < -300


def test_patches_have_zeros_beyond_the_scan() -> None:
    volume = torch.rand(2, 7, 5, 6)
    grid = PatchGrid.of(MetaTensor(volume, affine=torch.eye(4)), (1, 1, 1), (8, 5, 16))
    centres = np.array([[0, 0, 0], [6, 4, 5], [3, 2, 1]])
    for size in ((8, 5, 16), (3, 4, 7)):
        expected = torch.stack([patch_around(volume, c, size) for c in centres.tolist()])
        assert torch.equal(grid.patches(centres, size), expected)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="starts 0 and batch 8 must be at least 1, jumps 1 at least 0"):
        unmatched(Known(), starts=0)
    with pytest.raises(ValueError, match="starts 8 and batch 8 must be at least 1, jumps -1 at least 0"):
        unmatched(Known(), jumps=-1)
    with pytest.raises(ValueError, match="spread 40.0 and smooth -1 must be at least 0 mm"):
        unmatched(Known(), smooth=-1)
    with pytest.raises(ValueError, match=r"\(24, 2, 3, 10\) is \(radius, search, spacing, smooth\) in mm"):
        PointLocaliser(Known(), match_levels=[(24, 2, 3, 10)])
    with pytest.raises(ValueError, match="voxels: 3 points for 2 values"):
        unmatched(Known()).support(SUPPORT, POINTS, [1, 2])
    with pytest.raises(ValueError, match="voxels: 0 points for 0 values"):
        unmatched(Known()).support(SUPPORT, np.zeros((0, 3)), [])
    points = unmatched(Known()).support(SUPPORT, POINTS, [1, 2, 3])
    with pytest.raises(ValueError, match="7110 voxels in 2 cubes are compared, and it has 0 in 0"):
        PointLocaliser(Known())(points, QUERY)
    localiser = unmatched(Known())
    with pytest.raises(ValueError, match="must be a MetaTensor"):
        localiser(localiser.support(SUPPORT, POINTS, [1, 2, 3]), torch.zeros(5, 9, 9, 9))


def test_points_that_are_not_compared_are_alike() -> None:
    net, query = Known(), QUERY.clone()
    query[4] = 0.3
    support = unmatched(net).support(SUPPORT, POINTS, [1, 9, 1])
    net.features = 0
    found = unmatched(net, unrated=[9])(support, query)
    assert net.features == 2 and found.similarity[1] == 1
    np.testing.assert_allclose(found.similarity[[0, 2]], np.cos(0.3 * np.pi) ** 2, atol=1e-4)


def test_places_that_anything_has_found_are_compared() -> None:
    coarse, net, query = Known(spacing=(5, 4, 6)), Known(), QUERY.clone()
    localiser = unmatched(coarse, net, unrated=[9])
    support = localiser.support(SUPPORT, POINTS, [1, 1, 9])
    places, before = POINTS * SPACING + MOVED, coarse.positions + coarse.features
    around(query, places[1])[4] = 0.25
    similarity = localiser.compare(support, query, places)
    np.testing.assert_allclose(similarity, [1, 0.5, 1], atol=1e-4)
    np.testing.assert_allclose(localiser.compare(support, query, places[[1, 0, 2]]), [0.5, 1, 1], atol=1e-4)
    assert similarity.dtype == np.float32 and net.features == 2 + 2 + 3 and coarse.positions + coarse.features == before
    np.testing.assert_allclose(localiser.compare(support, query, places - 500)[:2], [1, 1], atol=1e-4)
    with pytest.raises(ValueError, match=r"mm: has shape \(2, 3\), the support's points \(3, 3\). Give one each"):
        localiser.compare(support, query, places[:2])
    with pytest.raises(ValueError, match="must be a MetaTensor"):
        localiser.compare(support, torch.zeros(5, 9, 9, 9), places)
