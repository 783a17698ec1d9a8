# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Counter-based episodes: the same item whenever and wherever it is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Randomizable, RandShiftIntensity, Transform
from torch.utils.data import DataLoader

from monai_fss.data.episodes.series import EpisodeDataset, EpisodeSampler


class Draw(Randomizable, Transform):
    """The volume's number and a random one."""

    def __call__(self, data: float) -> torch.Tensor:
        return torch.tensor([[data, self.R.uniform()]], dtype=torch.float64)


def dataset(length: int = 6, seed: int = 0, volumes: int = 4) -> EpisodeDataset:
    transform = Compose([Draw(), RandShiftIntensity(offsets=0.5, prob=0.5)])
    return EpisodeDataset([float(n) for n in range(volumes)], transform, length=length, seed=seed)


def series(data: EpisodeDataset, indices: Any) -> torch.Tensor:
    return torch.stack([torch.as_tensor(np.asarray(data[i])) for i in indices])


def test_an_item_is_the_same_in_every_instance_and_order() -> None:
    one, two = dataset(), dataset()
    forward = series(one, range(12))
    backward = series(two, reversed(range(12))).flip(0)
    assert torch.equal(forward, backward)
    assert torch.equal(one[3], two[3]) and torch.equal(one[3], one[3])


def test_items_seeds_and_epochs_differ() -> None:
    items = series(dataset(), range(60))
    assert len(set(items[:, 0, 1].tolist())) == 60
    assert not torch.equal(items[:6], series(dataset(seed=1), range(6)))


def test_the_first_items_of_the_series_are_pinned() -> None:
    """The series is part of what a resumed training relies on: it is defined by (seed, index) alone."""
    for index in range(3):
        state = np.random.RandomState(np.random.SeedSequence([5, index]).generate_state(4))
        assert int(
            np.floor(float(EpisodeDataset(range(9), Compose([Draw()]), 3, seed=5)[index][0, 0]))
        ) == state.randint(9)


def test_volumes_are_drawn_uniformly() -> None:
    data = EpisodeDataset([0.0, 1.0, 2.0, 3.0], Compose([Draw()]), length=1)
    counts = np.bincount([int(data[i][0, 0]) for i in range(800)], minlength=4)
    assert counts.min() > 150 and counts.max() < 250  # 200 +- 4 sd


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_workers_do_not_matter(workers: int, persistent: bool) -> None:
    data = dataset(length=8)
    sampler = EpisodeSampler(data)
    loader = DataLoader(data, batch_size=2, sampler=sampler, num_workers=workers, persistent_workers=persistent)
    for epoch in (0, 1, 4):  # 4: as after a resume
        sampler.set_epoch(epoch)
        got = torch.cat([batch.as_tensor() if hasattr(batch, "as_tensor") else batch for batch in loader])
        assert torch.equal(got, series(dataset(length=8), range(8 * epoch, 8 * epoch + 8)))


def test_epochs_are_disjoint_and_in_order() -> None:
    sampler = EpisodeSampler(dataset(length=5))
    epochs = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert epochs == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]
    assert len(sampler) == 5


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_processes_share_an_epoch_without_overlap(replicas: int) -> None:
    data = dataset(length=6)
    shares = [EpisodeSampler(data, num_replicas=replicas, rank=rank) for rank in range(replicas)]
    for epoch in range(2):
        for share in shares:
            share.set_epoch(epoch)
        lists = [list(share) for share in shares]
        assert sorted(i for own in lists for i in own) == list(range(6 * epoch, 6 * epoch + 6))
        assert {len(own) for own in lists} == {6 // replicas} == {len(share) for share in shares}
        # the k-th global batch is the same set of episodes as in one process
        assert sorted(own[0] for own in lists) == list(range(6 * epoch, 6 * epoch + replicas))


def test_errors_in_words() -> None:
    with pytest.raises(ValueError, match="no volume to draw episodes from. Give at least one training scan"):
        EpisodeDataset([], Compose([]), length=1)
    with pytest.raises(ValueError, match="at least one episode, got length 0"):
        dataset(length=0)
    with pytest.raises(ValueError, match="5 episodes do not divide among 2 processes"):
        EpisodeSampler(dataset(length=5), num_replicas=2, rank=0)
