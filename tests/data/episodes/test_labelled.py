# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which organs, scans and slices labelled episodes are of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Transform

from monai_fss.data import InputWarning, LabelledEpisodes, ScanError
from monai_fss.transforms import SampleEpisode, SampleVolumeEpisode, SupervoxelTabled

SHAPE, DEPTH = (1, 16, 16, 8), 8
BOXES = {2: (2, 4), 5: (7, 9), 7: (11, 13)}  # where an organ is in plane: 3 x 3 pixels of 1 mm^2


class Made(Transform):
    """A scan whose intensity names scan and slice, 100 scan + slice; of each organ the slices that an item lists."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        image = (100.0 * data["number"] + torch.arange(DEPTH)).expand(SHAPE).clone()
        label = torch.zeros(SHAPE)
        for value, slices in data["organs"].items():
            low, high = BOXES[value]
            for z in slices:
                label[0, low : high + 1, low : high + 1, z] = value
        place = torch.zeros(SHAPE)
        return {**data, "image": MetaTensor(image), "position": MetaTensor(place), "label": MetaTensor(label)}


def scan(number: int, organs: dict[int, list[int]], **more: Any) -> dict[str, Any]:
    return {"image": f"{number}.nii.gz", "number": number, "organs": organs, **more}


SCANS = [
    scan(0, {2: [1, 2, 3], 5: [2, 3], 7: [6]}),
    scan(1, {2: [4, 5], 5: [5]}),
    scan(2, {2: [0], 5: [1]}),
]


def episodes(data: list[dict[str, Any]], sample: SampleEpisode | None = None, **more: Any) -> LabelledEpisodes:
    sample = sample or SampleEpisode([8, 8], min_area=5, volume_keys=["image", "position"])
    return LabelledEpisodes(data, Made(), sample, Compose([]), length=12, **more)


def sides(episode: Mapping[str, torch.Tensor]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Scan and slice of the support and of the query."""
    support, query = (divmod(int(episode[key].flatten()[0]), 100) for key in ("support_image", "image"))
    return support, query


def organ_in(data: list[dict[str, Any]], scan: int, z: int, value: int) -> bool:
    return z in data[scan]["organs"].get(value, [])


@pytest.mark.parametrize("kept", [64, 0])
def test_support_and_query_are_slices_of_one_organ_in_two_scans(kept: int) -> None:
    made = episodes(SCANS, cache_num=kept)
    found = Counter()
    for index in range(90):
        episode = made[index]
        (first, z), (second, y) = sides(episode)
        organs = [v for v in (2, 5, 7) if organ_in(SCANS, first, z, v) and organ_in(SCANS, second, y, v)]
        assert organs, "both show an organ"
        assert episode["image"].shape == (2, 8, 8) and episode["support_image"].shape == (1, 2, 8, 8)
        assert episode["label"].sum() == episode["support_label"].sum() == 9, "3 x 3 pixels in either window"
        found[first == second, (first, second) if first != second else "one"] += 1
        assert (first, z) != (second, y) or organs == [7]
    # 2 and 5 are in three scans: all six ordered pairs come; 7 is in one slice of one scan
    pairs = {key[1] for key in found if not key[0]}
    assert pairs == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert found[True, "one"] == 30, "every organ once in each round of three"


def test_a_test_class_is_background_and_never_drawn() -> None:
    made = episodes(SCANS, unseen=[2, 7])
    assert list(made.shown) == [5]
    for index in range(20):
        (first, z), (second, y) = sides(made[index])
        assert organ_in(SCANS, first, z, 5) and organ_in(SCANS, second, y, 5) and first != second
    assert {int(v) for item in made.scans for v in item["supervoxels"].unique()} == {0, 5}


def test_runs_of_a_scan_alone_are_trained_on_and_count_by_their_places() -> None:
    """Setting 2 leaves slices 0 to 1 and 3 to 7 of one scan: 5 in one and in four of them."""
    organs = {5: [1, 4, 5, 6, 7], 2: [2]}
    data = [scan(0, organs, slices=[0, 2]), scan(0, organs, slices=[3, 8]), scan(1, {5: [0]})]
    made = episodes(data)
    supports, queries = made.shown[5]
    assert supports == queries == {"0.nii.gz": {0: 1, 1: 4}, "1.nii.gz": {2: 1}} and 2 not in made.shown
    drawn = Counter(z for side in map(sides, map(made.__getitem__, range(300))) for scan_, z in side if scan_ == 0)
    assert set(drawn) == {1, 4, 5, 6, 7}
    assert max(drawn.values()) < 2 * min(drawn.values()), "each of the five slices as often"


def test_the_support_shows_the_least_area_and_the_query_may_show_less() -> None:
    data = [scan(0, {2: [1]}), scan(1, {2: [1]})]
    thin = Made()

    class Thin(Transform):
        def __call__(self, item: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
            made = thin(item)
            if item["number"] == 1:
                made["label"][0, 3:] = 0  # one of its three rows is left
            return made

    sample = SampleEpisode([8, 8], min_area=4, volume_keys=["image", "position"])
    made = LabelledEpisodes(data, Thin(), sample, Compose([]), length=4)
    assert made.shown == {2: ({"0.nii.gz": {0: 1}}, {"0.nii.gz": {0: 1}, "1.nii.gz": {1: 1}})}
    for index in range(8):
        assert sides(made[index]) == ((0, 1), (1, 1))


def test_organs_too_small_are_named_and_none_at_all_is_refused() -> None:
    data = [scan(0, {2: [1]}), scan(1, {2: [1]})]
    sample = SampleEpisode([8, 8], min_area=10, volume_keys=["image", "position"])
    with pytest.raises(ScanError, match="2 scans show no organs that are large enough for an episode: 2 are not"):
        episodes(data, sample)
    with pytest.raises(ScanError, match="2 scans show no organ to learn from"):
        episodes(data, unseen=[2])

    class Grown(Transform):
        def __call__(self, item: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
            made = Made()(item)
            made["label"][0, 6:11, 6:11, 2] = 5
            return made

    with pytest.warns(InputWarning, match="labels: 2 is not learnt, since no scan shows enough of it"):
        made = LabelledEpisodes(data, Grown(), sample, Compose([]), length=4)
    assert list(made.shown) == [5]


def test_an_episode_is_a_function_of_its_number_and_the_seed() -> None:
    one, two, other = episodes(SCANS, seed=1), episodes(SCANS, seed=1), episodes(SCANS, seed=2)

    def series(made: LabelledEpisodes) -> list[Any]:
        return [sides(made[i]) for i in (7, 3, 11, 30, 2, 19)]

    assert series(one) == series(two) != series(other)


def test_volumes_are_windows_of_slices_of_two_scans() -> None:
    sample = SampleVolumeEpisode([8, 8, 2], min_volume=17, volume_keys=["image", "position"])
    made = episodes(SCANS, sample)
    # more than 17 mm^3 are two slices of 9: 2 in slices 1 to 3 and 4 to 5, 5 in 2 to 3 of scan 0 alone
    assert made.shown == {
        2: ({"0.nii.gz": {0: 2}, "1.nii.gz": {1: 1}}, {"0.nii.gz": {0: 2}, "1.nii.gz": {1: 1}}),
        5: ({"0.nii.gz": {0: 1}}, {"0.nii.gz": {0: 1}}),
    }
    seen = set()
    for index in range(24):
        episode = made[index]
        assert episode["image"].shape == (2, 8, 8, 2) and episode["label"].sum() == 18
        seen.add(sides(episode))
    assert seen == {((0, z), (1, 4)) for z in (1, 2)} | {((1, 4), (0, z)) for z in (1, 2)} | {((0, 2), (0, 2))}


def test_between_never_takes_one_slice_twice_where_there_are_two() -> None:
    item = SupervoxelTabled("supervoxels")({"supervoxels": MetaTensor(Made()(SCANS[0])["label"].to(torch.int32))})
    item |= {"image": Made()(SCANS[0])["image"]}
    sample = SampleEpisode([8, 8], min_area=5)
    for seed in range(20):
        drawn = sample.set_random_state(seed=seed).between(item, item, 5)
        assert {int(drawn[key].max()) for key in ("image", "support_image")} == {2, 3}
    assert sample.places(np.asarray(item["table"]), 9).size == 0
