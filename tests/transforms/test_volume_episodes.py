# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Episodes of volumes: the table in mm^3, which windows may be drawn, and what is cut."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_fss.transforms import SampleVolumeEpisode, SupervoxelVolumeTabled

SPACING = (1.25, 1.25, 7.7)


def item(supervoxels: np.ndarray, spacing: tuple[float, ...] = SPACING) -> dict[Any, Any]:
    """The image says where each of its voxels lies: three channels."""
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    data: dict[Any, Any] = {
        "image": MetaTensor(torch.from_numpy(np.indices(supervoxels.shape).astype(np.float32))),
        "supervoxels": MetaTensor(torch.from_numpy(supervoxels)[None], affine=affine),
    }
    return SupervoxelVolumeTabled("supervoxels")(data)


def sampler(seed: int = 0, size: tuple[int, int, int] = (16, 20, 10), **arguments: Any) -> SampleVolumeEpisode:
    episode = SampleVolumeEpisode(size, **arguments)
    episode.set_random_state(seed=seed)
    return episode


def first_slices(drawn: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Where the windows of support and query begin, read from the third coordinate."""
    return int(drawn["support_image"][2].min()), int(drawn["image"][2].min())


def test_table_equals_counted_volumes() -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 5, size=(7, 9, 4)).astype(np.int32)
    table = item(array, (1.5, 2.0, 8.0))["table"]
    assert table.dtype == torch.float32 and table.shape == (5, 4)
    for identity, z in np.ndindex(5, 4):
        assert table[identity, z].item() == pytest.approx((array[..., z] == identity).sum() * 24.0)


def test_table_of_a_sheared_grid_and_without_an_affine() -> None:
    affine = torch.tensor([[2.0, 0, 3, 0], [0, 2, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]])
    data: dict[Any, Any] = {"supervoxels": MetaTensor(torch.ones(1, 2, 3, 2, dtype=torch.int32), affine=affine)}
    table = SupervoxelVolumeTabled("supervoxels", new_key="ml")(data)["ml"]
    torch.testing.assert_close(table[1], torch.tensor([120.0, 120.0]))  # 6 voxels of 20 mm^3
    with pytest.raises(ValueError, match=r"must be a MetaTensor: its affine says how many mm\^3"):
        SupervoxelVolumeTabled("supervoxels")({"supervoxels": torch.ones(1, 2, 2, 2, dtype=torch.int32)})


def column() -> np.ndarray:
    """Supervoxel 1: 60 voxels in each of slices 8..13 of 30; 2: 200 in slices 20 and 21; 3: 199 in slices 0 and 1."""
    array = np.zeros((40, 44, 30), np.int32)
    array[2:8, 2:12, 8:14] = 1
    array[20:30, 20:30, 20:22] = 2
    array[30:39, 30:41, 0:2] = 3
    array[30, 30, 0:2] = 0  # 98
    array[31, 30, 0] = 4
    return array


def test_windows_by_hand() -> None:
    """Ten slices hold more than 200 voxels of 1 where they hold four of its six slices."""
    episode, table = sampler(), np.asarray(item(column())["table"])
    seen: dict[int, Counter[int]] = {1: Counter(), 2: Counter()}
    queries: Counter[int] = Counter()
    twice = 0
    for _ in range(1200):
        identity, support, query = episode._draw(table)
        seen[identity][support] += 1
        queries[query] += 1
        twice += support == query
    # 1: windows from slice s to s + 9 with at least four of 8..13: s + 9 >= 11 and s <= 10. 2: 100 voxels in each of
    # two slices are not more than 200 (the limit is exclusive), so nothing of 2; 3 and 4 are too small.
    assert sorted(seen[1]) == list(range(2, 11)) and not seen[2]
    assert min(seen[1].values()) > 90  # 1,200 / 9, about 133 each
    assert set(queries) == set(range(2, 11)) and min(queries.values()) > 90
    assert 90 < twice < 180, "the support's own window is as likely as another"


def test_the_limit_is_in_mm3_whatever_the_spacing() -> None:
    array = np.zeros((40, 40, 12), np.int32)
    array[:20, :20, 4] = 1  # 400 voxels
    table = np.asarray(item(array, (1.0, 1.0, 6.0))["table"])  # 2,400 mm^3: not more than 2,406.25
    with pytest.raises(ValueError, match=r"none of 1 supervoxels has more than 2406 mm\^3 in 10 slices. Lower"):
        sampler()._draw(table)
    table = np.asarray(item(array, (1.0, 1.0, 6.1))["table"])
    assert sampler()._draw(table)[0] == 1
    assert sampler(min_volume=2399.0)._draw(np.asarray(item(array, (1.0, 1.0, 6.0))["table"]))[0] == 1


def test_the_query_is_within_reach_in_the_list() -> None:
    table = np.zeros((2, 100), np.float32)
    table[1, :40], table[1, 60:] = 3000, 3000  # windows that begin at 40..50 hold nothing
    listed = [s for s in range(91) if table[1, s : s + 10].any()]
    assert listed == [*range(40), *range(51, 91)]
    episode, apart = sampler(reach=3), Counter[int]()
    for _ in range(700):
        _, support, query = episode._draw(table)
        apart[listed.index(query) - listed.index(support)] += 1
    assert set(apart) == {-3, -2, -1, 0, 1, 2, 3} and min(apart.values()) > 60  # the published code: 0 as well
    far = {abs(listed.index(q) - listed.index(s)) for _, s, q in (sampler(i)._draw(table) for i in range(200))}
    assert max(far) <= 50 < 80 and max(far) > 45


def test_supervoxels_are_drawn_uniformly_whatever_their_size() -> None:
    table = np.zeros((4, 30), np.float32)
    table[1, 3], table[2, :], table[3, 20:25] = 2500, 90_000, 9000
    episode = sampler()
    seen = Counter(episode._draw(table)[0] for _ in range(900))
    assert set(seen) == {1, 2, 3} and min(seen.values()) > 240 and max(seen.values()) < 360


def test_both_sides_show_the_supervoxel_and_are_cut_from_the_volume() -> None:
    array = column()
    array[20:30, 20:30, 18:24] = 2
    data, episode = item(array), sampler()
    places: Counter[tuple[int, ...]] = Counter()
    for _ in range(60):
        drawn = episode(data)
        identities = set()
        for prefix in ("support_", ""):
            image, label = drawn[prefix + "image"], drawn[prefix + "label"]
            assert image.shape == (3, 16, 20, 10) and label.shape == (1, 16, 20, 10)
            y, x, z = (image[k].long().numpy() for k in range(3))
            own = array[y, x, z]
            assert label.any()
            (identity,) = set(own[label[0].bool().numpy()].tolist())
            np.testing.assert_array_equal(label[0].numpy(), own == identity)
            identities.add(identity)
            places[(identity, y.min(), x.min())] += 1
        assert len(identities) == 1
    assert {place[0] for place in places} == {1, 2} and len(places) > 15  # the windows move


def test_a_supervoxel_that_wanders_is_in_both_windows() -> None:
    """From one corner to the other over 40 slices: a common cut would miss it on one side."""
    array = np.zeros((80, 80, 40), np.int32)
    for z in range(40):
        array[z : z + 12, 2 * z : 2 * z + 2, z] = 1
    data, episode = item(array), sampler()
    apart = []
    for _ in range(50):
        drawn = episode(data)
        assert drawn["label"].any() and drawn["support_label"].any()
        apart.append(abs(float(drawn["image"][1].min() - drawn["support_image"][1].min())))
    assert max(apart) > 20


def cuts(array: np.ndarray, count: int) -> list[tuple[int, int, float]]:
    """First row and column of the support's cuts, and voxels of the mask."""
    data, episode = item(array), sampler()
    drawn = [episode(data) for _ in range(count)]
    return [
        (int(d["support_image"][0].min()), int(d["support_image"][1].min()), float(d["support_label"].sum()))
        for d in drawn
    ]


def test_a_cut_contains_the_supervoxel_anywhere_within_these_limits() -> None:
    array = np.zeros((40, 50, 6), np.int32)
    array[20:30, 22:28, 1:5] = 1
    found = cuts(array, 300)  # 16 x 20: rows 14 to 20, columns 8 to 22 can begin a cut
    assert {voxels for *_, voxels in found} == {10 * 6 * 4}
    assert {row for row, *_ in found} == set(range(14, 21)) and {column for _, column, _ in found} == set(range(8, 23))


def test_a_cut_at_the_border_lies_within_the_scan() -> None:
    array = np.zeros((40, 50, 6), np.int32)
    array[0:10, 40:50, :] = 1
    found = cuts(array, 100)
    assert {column for _, column, _ in found} == {30} and {row for row, *_ in found} == {0}


def test_of_a_supervoxel_larger_than_a_cut_there_is_as_much_as_there_is_room_for() -> None:
    array = np.zeros((40, 50, 6), np.int32)
    array[5:35, 10:18, :] = 1  # 30 rows, of which a cut has 16
    found = cuts(array, 200)
    assert {voxels for *_, voxels in found} == {16 * 8 * 6}
    assert {row for row, *_ in found} == set(range(5, 20))


def test_a_cut_of_a_ring_is_never_empty() -> None:
    array = np.zeros((60, 60, 6), np.int32)
    array[4:56, 4:56] = 1
    array[6:54, 6:54] = 0
    assert min(voxels for *_, voxels in cuts(array, 100)) > 0


def test_a_scan_of_few_slices_is_taken_whole_as_both_sides() -> None:
    array = np.zeros((20, 20, 6), np.int32)
    array[:15, :15, 1:4] = 1
    drawn = sampler()(item(array))
    assert drawn["image"].shape == (3, 16, 20, 6) and first_slices(drawn) == (0, 0)
    assert torch.equal(drawn["image"][2], drawn["support_image"][2])


def test_every_volume_key_is_cut_alike_and_comes_as_a_plain_tensor() -> None:
    data = item(column())
    data["position"] = MetaTensor(data["image"][:2] * 2)
    drawn = sampler(volume_keys=("image", "position"))(data)
    assert set(drawn) == {"image", "support_image", "position", "support_position", "label", "support_label"}
    assert torch.equal(drawn["position"], drawn["image"][:2] * 2)
    assert torch.equal(drawn["support_position"], drawn["support_image"][:2] * 2)
    assert all(type(value) is torch.Tensor and value.dtype == torch.float32 for value in drawn.values())


def test_the_same_state_draws_the_same_episode() -> None:
    data = item(column())
    plain = {key: torch.as_tensor(np.asarray(value)) for key, value in data.items()}  # as a cache keeps them
    one, two = sampler(7), sampler(7)
    for _ in range(5):
        a, b = one(data), two(plain)
        assert all(torch.equal(a[key], b[key]) for key in a)


def test_it_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"spatial_size must be \(H, W, slices\), each at least 1, got \(16, 20\)"):
        SampleVolumeEpisode((16, 20))
    with pytest.raises(ValueError, match=r"min_volume \(mm\^3\) must be positive and reach at least 1, got 0, 50"):
        SampleVolumeEpisode((16, 20, 10), min_volume=0)
    with pytest.raises(ValueError, match="reach at least 1, got 1.0, 0"):
        SampleVolumeEpisode((16, 20, 10), min_volume=1.0, reach=0)
    array = np.zeros((20, 18, 12), np.int32)
    array[:18, :18] = 1
    with pytest.raises(ValueError, match=r"slices of \(20, 18\) are smaller than the window \(16, 20\). Pad"):
        sampler()(item(array))
