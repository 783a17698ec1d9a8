# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Points move to where a scan looks like the labelled one around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from known_prnet import Known, scan
from monai.data import MetaTensor
from scipy.ndimage import uniform_filter

from monai_fss.inferers import PointLocaliser
from monai_fss.inferers.points.neighbours import gaussian_average as averaged_ways
from monai_fss.inferers.points.point_matching import PointMatcher


def textured(shift: Sequence[int] = (0, 0, 0), shape: Sequence[int] = (40, 36, 30)) -> MetaTensor:
    """Noise in voxels of 3 mm in channel 0, moved by whole voxels; coordinates that do not move with it."""
    noise = np.random.default_rng(0).random((80, 80, 80), dtype=np.float32)
    place = tuple(slice(20 - s, 20 - s + n) for s, n in zip(shift, shape, strict=True))
    image = scan(shape, (0, 0, 0), 0.0, spacing=(3, 3, 3))
    image[0] = torch.from_numpy(noise[place])
    return image


def test_points_move_to_where_the_scan_looks_alike() -> None:
    """The network sees no movement, the picture has moved by 6, -3 and 9 mm."""
    net = Known(spacing=(3, 3, 3))
    points = np.array([[12, 15, 12], [20, 18, 15], [25, 20, 14]])
    found = {}
    for rounds in (0, 1, 2):
        localiser = PointLocaliser(net, smooth=0, match_levels=[(15, 12, 3, 10)] * rounds)
        found[rounds] = localiser(localiser.support(textured(), points, [1, 1, 2]), textured((2, -1, 3)))
    assert found[0].voxels.tolist() == points.tolist()
    for rounds in (1, 2):
        np.testing.assert_allclose(found[rounds].mm, points * 3 + [6, -3, 9], atol=1e-3)


def test_a_second_round_searches_from_where_the_first_came_to() -> None:
    net, points = Known(spacing=(3, 3, 3)), np.array([[20, 18, 15]])
    for rounds, moved in ((1, False), (2, True)):
        localiser = PointLocaliser(net, smooth=0, match_levels=[(15, 6, 3, 10)] * rounds)
        # noise decays over no distance, so a smooth ramp of it leads the way: three voxels of 3 mm, two at a time
        query = textured((3, 0, 0))
        for image in (support := textured(), query):
            image[0] = torch.from_numpy(uniform_filter(np.asarray(image[0]), 5))
        found = localiser(localiser.support(support, points, [1]), query)
        assert (abs(found.mm[0, 0] - 69) < 1e-3) == moved


def test_a_coarse_level_leads_where_a_fine_one_does_not_reach() -> None:
    net, points = Known(spacing=(3, 3, 3)), np.array([[20, 18, 15]])
    fine, coarse = (15, 6, 3, 10), (30, 24, 6, 40)
    query = textured((5, -4, 0))
    for image in (support := textured(), query):
        image[0] = torch.from_numpy(uniform_filter(np.asarray(image[0]), 3))
    for levels, reached in (([fine], False), ([coarse, fine], True)):
        localiser = PointLocaliser(net, smooth=0, match_levels=levels)
        found = localiser(localiser.support(support, points, [1]), query)
        assert np.allclose(found.mm[0], [75, 42, 45], atol=1e-3) == reached


def test_what_fits_best_counts_most() -> None:
    ways, places = (
        np.array([[1.0, 0, 0], [3.0, 0, 0], [9.0, 0, 0]]),
        np.array([[0.0, 0, 0], [10.0, 0, 0], [500.0, 0, 0]]),
    )
    counts, near = np.array([0.5, 0.25, 0.0]), np.exp(-0.5)
    found = averaged_ways(ways, places, 10.0, counts)
    assert found[0, 0] == pytest.approx((0.5 * 1 + near * 0.25 * 3) / (0.5 + near * 0.25))
    assert found[2, 0] == pytest.approx(9), "alone, it has nothing else to go by"


def test_what_lies_beyond_the_scan_is_told_from_what_is_dark() -> None:
    image = MetaTensor(torch.zeros(1, 20, 20, 20), affine=torch.diag(torch.tensor([3.0, 3.0, 3.0, 1.0])))
    image[0, 1, 10, 10] = 1.0
    codes, _ = PointMatcher([(9, 6, 3, 10)]).templates(image, np.array([[0.0, 30.0, 30.0]]))
    cube = codes.reshape(7, 7, 7)
    assert (cube[:3] == 0).all() and (cube[3:] > 0).all(), "three voxels lie before the first"
    assert cube[4, 3, 3] == 255 and cube[3:].sum() == 4 * 49 - 1 + 255


@pytest.mark.parametrize("level", [(15, 12, 3, 10), (12, 24, 3, 10)])
def test_a_scan_that_ends_is_matched_by_what_both_show(level: Sequence[float]) -> None:
    """The query was cut 6 voxels before the point's surroundings end; by zeros beyond, it would be another place."""
    net, points = Known(spacing=(3, 3, 3)), np.array([[3, 18, 15], [4, 17, 13]])
    support, query = textured(), textured((2, -1, 1), (40, 36, 30))
    support[0, :, :, 18:] = 0.9  # bright, where the query has ended
    cut = MetaTensor(query.as_tensor()[:, :, :, :19].clone(), affine=query.affine)
    localiser = PointLocaliser(net, smooth=0, match_levels=[level])
    found = localiser(localiser.support(support, points, [1, 1]), cut)
    np.testing.assert_allclose(found.mm, points * 3 + [6, -3, 3], atol=1e-3)
