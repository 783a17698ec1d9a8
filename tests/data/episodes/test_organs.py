# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which pairs and organs OrganNet's episodes are of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.transforms import Compose

from monai_fss.data import OrganEpisodes, ScanError, pair_items

VALUES = [3, 5, 9]


def pair(item: dict[str, Any]) -> dict[str, Any]:
    """A pair whose target shows the item's values, and whose anchor those of ``anchor``."""
    label, mask = torch.zeros(1, 4, 4, 4, dtype=torch.int32), torch.zeros(3, 1, 4, 4, 4, dtype=torch.uint8)
    for place, value in enumerate(VALUES):
        if value in item["target"]:
            label[0, place] = value
        if value in item["anchor"]:
            mask[place, 0, place] = 255
    return {"name": item["name"], "label": label, "anchor_mask": mask}


def episodes(items: list[dict[str, Any]], **more: Any) -> OrganEpisodes:
    return OrganEpisodes(items, [pair], VALUES, Compose([]), length=12, **more)


ITEMS = [
    {"name": "all", "target": VALUES, "anchor": VALUES},
    {"name": "no 9 in the anchor", "target": VALUES, "anchor": [3, 5]},
    {"name": "3 alone", "target": [3], "anchor": VALUES},
]


def test_each_round_has_every_organ_once_in_pairs_that_show_it() -> None:
    made = episodes(ITEMS, seed=4)
    assert made.shown == {3: [0, 1, 2], 5: [0, 1], 9: [0]}
    drawn = [(item["value"], item["way"], item["name"]) for item in map(made.__getitem__, range(60))]
    for start in range(0, 60, 3):
        assert sorted(value for value, _, _ in drawn[start : start + 3]) == VALUES
    assert all(VALUES[way] == value for value, way, _ in drawn)
    names = {value: {name for own, _, name in drawn if own == value} for value in VALUES}
    assert names[3] == {item["name"] for item in ITEMS} and names[9] == {"all"}
    orders = {tuple(value for value, _, _ in drawn[start : start + 3]) for start in range(0, 60, 3)}
    assert len(orders) > 2, "rounds have orders of their own"


def test_an_episode_is_a_function_of_its_number_and_the_seed() -> None:
    one, two, other = episodes(ITEMS, seed=1), episodes(ITEMS, seed=1), episodes(ITEMS, seed=2)

    def series(made: OrganEpisodes) -> list[tuple[int, str]]:
        return [(made[i]["value"], made[i]["name"]) for i in (7, 3, 11, 30, 2, 19)]

    assert series(one) == series(two) != series(other)


def test_organs_that_no_pair_shows_are_not_drawn_and_none_at_all_is_refused() -> None:
    made = episodes(ITEMS[1:])
    assert made.shown == {3: [0, 1], 5: [0]} and {made[i]["value"] for i in range(12)} == {3, 5}
    with pytest.raises(ScanError, match=r"none of 1 pairs shows one of \[3, 5, 9\] in both scans"):
        episodes([{"name": "nothing", "target": [3], "anchor": [5]}])


def test_pairs() -> None:
    scans = [{"image": f"{n}.nii.gz", "label": f"{n}_seg.nii.gz", "stamp": n, "case": n} for n in "abcd"]
    every = [(item["image"], item["anchor_image"], item["anchor_label"]) for item in pair_items(scans)]
    assert len(every) == 12 and ("a.nii.gz", "c.nii.gz", "c_seg.nii.gz") in every
    assert all(image != anchor for image, anchor, _ in every)
    some = pair_items(scans, 2, seed=3)
    assert [item["case"] for item in some] == ["a", "a", "b", "b", "c", "c", "d", "d"]
    assert all(item["image"] != item["anchor_image"] for item in some)
    assert some == pair_items(scans, 2, seed=3) != pair_items(scans, 2, seed=4)
    assert some[0]["stamp"] == f"a {some[0]['anchor_image'][0]}", "a pair is cached by both"
    with pytest.raises(ScanError, match=r"1 labelled scan\(s\) to learn from"):
        pair_items(scans[:1])
