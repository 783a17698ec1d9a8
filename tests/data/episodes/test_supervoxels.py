# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scans are prepared once, and episodes are those of the transforms one after the other."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, OneOf, Randomizable, RandShiftIntensityd, Transform

from monai_fss.data import EpisodeDataset, EpisodeLoader, PreparedScans, SupervoxelEpisodes
from monai_fss.transforms import AugmentSides, SampleEpisode, SampleVolumeEpisode, SupervoxelTabled


class Made(Transform):
    """A scan of a number: image and position. Notes what it is asked for (not in itself: a cache looks at that)."""

    asked: ClassVar[list[int]] = []

    def __init__(self, depth: int = 6) -> None:
        self.depth = depth

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        self.asked.append(data["number"])
        shape = (1, 12, 12, self.depth)
        image = torch.rand(shape, generator=torch.Generator().manual_seed(data["number"]))
        place = torch.linspace(-1, 1, 12)[None, :, None, None].expand(shape).clone()
        return {**data, "image": MetaTensor(image), "position": MetaTensor(place)}


class Boxes(Transform):
    """Pseudo-labels."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        labels = torch.zeros_like(data["image"].as_tensor(), dtype=torch.int32)
        labels[:, 1:5, 1:5] = 1
        labels[:, 6:11, 6:11] = 2
        return {**data, "supervoxels": MetaTensor(labels)}


class Shift(Randomizable, Transform):
    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        return {**data, "image": data["image"] + self.R.uniform()}


DATA = [{"number": number} for number in range(3)]
SAMPLE: dict[str, Any] = {"volume_keys": ["image", "position"]}


@pytest.mark.parametrize("on_disk", [False, True])
def test_scans_are_prepared_once(on_disk: bool, tmp_path: Path) -> None:
    cache = tmp_path / "cache" if on_disk else None
    Made.asked.clear()
    scans = PreparedScans(DATA, [Compose([Made()]), Boxes()], cache, cache_num=3)
    first = [scans[index]["image"] for index in range(3)]
    assert sorted(Made.asked) == [0, 1, 2] and scans[2]["supervoxels"].max() == 2
    again = PreparedScans(DATA, [Made(), Boxes()], cache, cache_num=3)
    assert all(torch.equal(again[index]["image"], first[index]) for index in range(3))
    assert len(Made.asked) == (3 if on_disk else 6)
    assert len(list((tmp_path / "cache").glob("*.pt"))) == (3 if on_disk else 0)


def test_files_of_other_transforms_are_not_taken(tmp_path: Path) -> None:
    assert PreparedScans(DATA, Made(6), tmp_path)[0]["image"].shape[-1] == 6
    assert PreparedScans(DATA, Made(4), tmp_path)[0]["image"].shape[-1] == 4


def episodes(**more: Any) -> SupervoxelEpisodes:
    own: dict[str, Any] = {"sample": SampleEpisode([8, 8], 4.0, **SAMPLE), "augmentation": [Shift()], "length": 5}
    return SupervoxelEpisodes(DATA, Made(), Boxes(), **{**own, "seed": 7, **more})


def test_an_episode_is_what_its_transforms_draw_by_hand() -> None:
    """The transforms have one seed each, of the state of (seed, index), in the order of the list."""
    found = episodes()[3]
    state = np.random.RandomState(np.random.SeedSequence([7, 3]).generate_state(4))
    scan = SupervoxelTabled("supervoxels")(Boxes()(Made()(DATA[state.randint(3)])))
    sample, shift = SampleEpisode([8, 8], 4.0, **SAMPLE), Shift()
    for transform in (sample, shift):
        transform.set_random_state(seed=int(state.randint(2**32, dtype="uint32")))
    drawn = shift(sample(scan))
    assert found.keys() == {"image", "label", "support_image", "support_label"}
    assert torch.equal(found["image"], torch.cat([drawn["image"], drawn["position"]]))
    assert torch.equal(found["support_image"][0], torch.cat([drawn["support_image"], drawn["support_position"]]))
    assert torch.equal(found["label"], drawn["label"]) and torch.equal(
        found["support_label"][0], drawn["support_label"]
    )
    assert all(type(value) is torch.Tensor for value in found.values())


def test_augmentation_in_a_compose_draws_as_in_a_list() -> None:
    jitter = RandShiftIntensityd("position", 0.3, prob=1)
    one, other = episodes(augmentation=[Shift(), jitter]), episodes(augmentation=Compose([Shift(), Compose([jitter])]))
    assert all(torch.equal(one[2][key], other[2][key]) for key in one[2])
    whole = AugmentSides(Shift(), position_jitter=0.1)
    assert len(episodes(augmentation=whole).transform.transforms) == 1 + 5 + 5
    assert len(episodes(augmentation=OneOf([Shift(), jitter])).transform.transforms) == 1 + 1 + 5, "a choice stays one"


@pytest.mark.parametrize("three", [False, True])
def test_small_scans_are_padded_to_the_window(three: bool) -> None:
    sample = SampleVolumeEpisode([16, 14, 9], 4.0, **SAMPLE) if three else SampleEpisode([16, 14], 4.0, **SAMPLE)
    made = episodes(sample=sample, augmentation=[])
    scan = made.scans[0]
    assert scan["image"].shape == scan["supervoxels"].shape == (1, 16, 14, 9 if three else 6)
    assert scan["image"][0, 0].max() == 0 and scan["position"][0, 0].max() == -1, "a position goes on as at the border"
    assert made[0]["image"].shape == ((2, 16, 14, 9) if three else (2, 16, 14))


class NoPosition(Made):
    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        made = super().__call__(data)
        return {**made, "position": made["position"][:0]}


def test_small_scans_without_a_position_are_padded_too() -> None:
    sample = SampleVolumeEpisode([16, 14, 9], 4.0, **SAMPLE)
    made = SupervoxelEpisodes(DATA, NoPosition(), Boxes(), sample, [], 5)
    assert made.scans[0]["position"].shape == (0, 16, 14, 9) and made[0]["image"].shape == (1, 16, 14, 9)


def test_the_loader_gives_the_episodes_of_an_epoch_in_order() -> None:
    loader = EpisodeLoader(EpisodeDataset([1.0], Compose([lambda x: x + 1]), length=4), batch_size=2)
    assert [batch.tolist() for batch in loader] == [[2.0, 2.0]] * 2
    loader.sampler.set_epoch(3)
    assert list(loader.sampler) == [12, 13, 14, 15] and not loader.persistent_workers
