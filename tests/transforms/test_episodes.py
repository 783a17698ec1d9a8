# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Episodes from supervoxels: the table, what may be drawn, and the window."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.transforms.sample_episode import SampleEpisode, SupervoxelTabled

SPACING = (1.5, 2.0, 8.0)


def volume(array: np.ndarray, spacing: tuple[float, ...] = SPACING) -> MetaTensor:
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    return MetaTensor(torch.from_numpy(array)[None], affine=affine)


def coordinates(shape: tuple[int, ...]) -> MetaTensor:
    """An image that says where each of its voxels lies: three channels."""
    return MetaTensor(torch.from_numpy(np.indices(shape).astype(np.float32)))


def item(supervoxels: np.ndarray, spacing: tuple[float, ...] = SPACING) -> dict[Any, Any]:
    data: dict[Any, Any] = {"image": coordinates(supervoxels.shape), "supervoxels": volume(supervoxels, spacing)}
    return SupervoxelTabled("supervoxels")(data)


def boxes(shape: tuple[int, int, int] = (40, 36, 8)) -> np.ndarray:
    array = np.zeros(shape, np.int32)
    array[4:14, 4:14, 0:4] = 1  # slices 0..3
    array[20:32, 20:32, [2, 3, 6]] = 2  # slices 2, 3, 6: 3 and 6 are neighbours in its list
    array[4:6, 20:22, 1:8] = 3  # too small
    array[25:35, 3:13, 5] = 4  # in one slice only
    array[16:19, 2:4, 4] = 5  # small in slice 4, large in slice 5
    array[14:24, 14:19, 5] = 5
    return array


def sampler(seed: int = 0, **arguments: Any) -> SampleEpisode:
    episode = SampleEpisode((16, 20), **{"min_area": 100.0, **arguments})
    episode.set_random_state(seed=seed)
    return episode


def slices_of(drawn: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Support and query slice, read from the third coordinate."""
    support, query = drawn["support_image"][2].unique(), drawn["image"][2].unique()
    assert len(support) == len(query) == 1
    return int(support), int(query)


def test_table_equals_counted_areas() -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 6, size=(7, 9, 5)).astype(np.int32)
    array[array == 4] = 0  # an id without a voxel
    table = item(array)["table"]
    assert table.dtype == torch.float32 and table.shape == (6, 5)
    for identity in range(6):
        for z in range(5):
            count = sum(array[y, x, z] == identity for y in range(7) for x in range(9))
            assert table[identity, z].item() == pytest.approx(count * 1.5 * 2.0)


def test_table_measures_oblique_pixels() -> None:
    angle = np.radians(30)
    affine = np.eye(4)
    affine[:3, :3] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]] @ np.diag(
        SPACING
    )
    array = np.ones((2, 3, 2), np.int32)
    data: dict[Any, Any] = {"supervoxels": MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(affine))}
    table = SupervoxelTabled("supervoxels", new_key="areas")(data)["areas"]
    torch.testing.assert_close(table, torch.tensor([[0.0, 0.0], [18.0, 18.0]]))


def test_table_needs_an_affine() -> None:
    with pytest.raises(ValueError, match="must be a MetaTensor: its affine"):
        SupervoxelTabled("supervoxels")({"supervoxels": torch.ones(1, 2, 2, 2, dtype=torch.int32)})


def test_episodes_are_what_they_should_be() -> None:
    array, min_area = boxes(), 100.0
    data, episode = item(array), sampler(min_area=100.0)
    lists = {i: np.flatnonzero((array == i).any(axis=(0, 1))).tolist() for i in range(1, 6)}
    seen: Counter[int] = Counter()
    orders: Counter[bool] = Counter()
    for _ in range(300):
        drawn = episode(data)
        support, query = slices_of(drawn)
        y, x = (drawn["support_image"][k].long() for k in (0, 1))
        assert torch.equal(drawn["support_image"][:2], drawn["image"][:2])  # the same window
        own = array[y, x, support]
        assert drawn["support_label"].any()
        (identity,) = set(own[drawn["support_label"][0].bool().numpy()].tolist())
        np.testing.assert_array_equal(drawn["support_label"][0].numpy(), own == identity)
        np.testing.assert_array_equal(drawn["label"][0].numpy(), array[y, x, query] == identity)
        assert abs(lists[identity].index(support) - lists[identity].index(query)) == 1
        assert (array[..., support] == identity).sum() * 3.0 >= min_area
        seen[identity] += 1
        orders[support < query] += 1
    assert set(seen) == {1, 2, 5}  # 3 is too small, 4 has one slice
    assert min(orders.values()) > 60


def test_the_small_slice_of_a_pair_is_never_the_support() -> None:
    array = np.where(boxes() == 5, 1, 0).astype(np.int32)
    data, episode = item(array), sampler()
    assert {slices_of(episode(data)) for _ in range(50)} == {(5, 4)}


def test_supervoxels_are_drawn_uniformly_whatever_their_size() -> None:
    array = np.zeros((40, 40, 9), np.int32)
    array[:12, :12, :2] = 1
    array[14:38, 14:38, :9] = 2
    array[:12, 20:32, 3:6] = 3
    data, episode = item(array), sampler()
    seen: Counter[int] = Counter()
    for _ in range(600):
        identity, _, _ = episode._draw(np.asarray(data["table"]))
        seen[identity] += 1
    assert set(seen) == {1, 2, 3} and min(seen.values()) > 150 and max(seen.values()) < 250  # 200 +- 4.3 sd


def test_the_window_holds_the_whole_of_a_supervoxel_of_half_its_size() -> None:
    array = np.zeros((64, 64, 2), np.int32)
    data_of = {}
    for corner in ((0, 0), (30, 25), (56, 54)):  # at the border, inside
        grown = array.copy()
        grown[corner[0] : corner[0] + 8, corner[1] : corner[1] + 10] = 1
        data_of[corner] = item(grown)
    episode = sampler()
    places = set()
    for corner, data in data_of.items():
        for _ in range(40):
            drawn = episode(data)
            assert drawn["support_label"].sum() == drawn["label"].sum() == 80
            places.add((corner, *drawn["image"][:2, 0, 0].int().tolist()))
    assert len(places) > 30  # the window moves
    assert drawn["image"].shape == (3, 16, 20) and drawn["label"].shape == (1, 16, 20)


def test_the_window_meets_a_ring_that_is_larger_than_it() -> None:
    y, x = np.indices((80, 80))
    radius = np.hypot(y - 40, x - 40)
    array = np.repeat(((radius > 30) & (radius < 36)).astype(np.int32)[..., None], 3, axis=2)
    data, episode = item(array), sampler()
    for _ in range(60):
        assert episode(data)["support_label"].any()


def test_every_volume_key_is_cut_alike() -> None:
    data = item(boxes())
    data["position"] = MetaTensor(data["image"][:2] * 2)
    drawn = sampler(volume_keys=("image", "position"))(data)
    assert set(drawn) == {"image", "support_image", "position", "support_position", "label", "support_label"}
    assert torch.equal(drawn["position"], drawn["image"][:2] * 2)
    assert torch.equal(drawn["support_position"], drawn["support_image"][:2] * 2)
    assert all(type(value) is torch.Tensor and value.dtype == torch.float32 for value in drawn.values())


def test_plain_arrays_are_drawn_from_like_metatensors() -> None:
    data = item(boxes())
    plain = {key: torch.as_tensor(np.asarray(value)) for key, value in data.items()}
    plain["supervoxels"] = np.asarray(data["supervoxels"])
    one, two = sampler(3)(data), sampler(3)(plain)
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_same_state_draws_the_same_episode() -> None:
    data = item(boxes())
    one, two = sampler(7), sampler(7)
    for _ in range(5):
        a, b = one(data), two(data)
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_nothing_to_draw_is_an_error_in_words() -> None:
    with pytest.raises(ValueError, match=r"none of 5 supervoxels has two slices and 5000 mm\^2 .* Lower min_area"):
        sampler(min_area=5000.0)(item(boxes()))
    with pytest.raises(ValueError, match="none of 0 supervoxels"):
        sampler()(item(np.zeros((40, 36, 3), np.int32)))


def test_episodes_of_one_slice_twice() -> None:
    """pSSL: support and query are the same slice, any in which the pseudo-label is large enough."""
    array = boxes()
    data, episode = item(array), sampler(same_slice=True)
    seen: Counter[tuple[int, int]] = Counter()
    for _ in range(600):
        drawn = episode(data)
        support, query = slices_of(drawn)
        assert support == query
        assert torch.equal(drawn["support_image"], drawn["image"])
        assert torch.equal(drawn["support_label"], drawn["label"]) and drawn["label"].any()
        y, x = (drawn["image"][k].long() for k in (0, 1))
        (identity,) = set(array[y, x, support][drawn["label"][0].bool().numpy()].tolist())
        np.testing.assert_array_equal(drawn["label"][0].numpy(), array[y, x, support] == identity)
        seen[identity, support] += 1
    assert set(seen) == {(1, z) for z in range(4)} | {(2, 2), (2, 3), (2, 6), (4, 5), (5, 5)}  # 3 is too small
    per_identity = [sum(n for (i, _), n in seen.items() if i == identity) for identity in (1, 2, 4, 5)]
    assert min(per_identity) > 105 and max(per_identity) < 195  # 150 +- 4.2 sd, whatever their number of slices


def test_superpixels_of_a_volume_of_one_slice() -> None:
    array = np.zeros((40, 36, 1), np.int32)
    array[4:14, 4:14] = 3
    drawn = sampler(same_slice=True)(item(array))
    assert slices_of(drawn) == (0, 0) and drawn["label"].sum() == 100
    with pytest.raises(ValueError, match=r"none of 3 superpixels has 301 mm\^2 in a slice. Lower min_area"):
        sampler(same_slice=True, min_area=301.0)(item(array))


def test_min_area_is_positive_and_inclusive() -> None:
    with pytest.raises(ValueError, match=r"min_area must be positive \(mm\^2\), got 0"):
        SampleEpisode((4, 4), min_area=0)
    array = np.zeros((20, 20, 2), np.int32)
    array[:10, :10] = 1
    sampler(min_area=300.0)(item(array))
    with pytest.raises(ValueError, match="none of 1 supervoxels"):
        sampler(min_area=300.5)(item(array))


def test_a_slice_smaller_than_the_window_is_an_error_in_words() -> None:
    array = np.zeros((40, 18, 2), np.int32)
    array[:10, :10] = 1
    with pytest.raises(ValueError, match=r"slices of \(40, 18\) are smaller than the window \(16, 20\). Pad"):
        sampler()(item(array))
