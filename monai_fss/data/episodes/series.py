# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Counter-based episodes: item i is the same whenever, wherever and by whichever worker it is drawn.

And how often they are drawn from each volume.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader
from monai.transforms import Compose
from torch.utils.data import Dataset, DistributedSampler

from monai_fss.data.problems import InputWarning, ScanError
from monai_fss.transforms import NoEpisodeError

__all__ = ["EpisodeDataset", "EpisodeLoader", "EpisodeSampler", "episode_indices"]


class EpisodeDataset(Dataset):
    """Episodes drawn from volumes.

    Episode i takes everything that is random from a generator seeded with (seed, i): there is no random state to save,
    and a resumed training sees the episodes that an uninterrupted one would have seen, with any number of workers.

    Args:
        volumes: items that ``transform`` turns into episodes, usually a ``PersistentDataset`` or ``CacheDataset`` of
            preprocessed scans. Each is drawn with the same probability, as in the published code.
        transform: random transforms.
        length: episodes in an epoch. Indices beyond it are valid: epoch e holds e * length ... (see
            :class:`EpisodeSampler`).
        seed: of the whole series.
        data: what the volumes are made of, where a configuration names it here; not looked at. Default: not said.
    """

    def __init__(
        self, volumes: Sequence[Any], transform: Compose, length: int, seed: int = 0, data: Any = None
    ) -> None:
        if len(volumes) == 0:
            raise ValueError("there is no volume to draw episodes from. Give at least one training scan.")
        if length < 1:
            raise ValueError(f"an epoch needs at least one episode, got length {length}.")
        self.volumes = volumes
        self.transform = transform
        self.length = length
        self.seed = seed

    def __len__(self) -> int:
        """Episodes in one epoch."""
        return self.length

    def __getitem__(self, index: int) -> Any:
        """Episode ``index`` of the series."""
        words = np.random.SeedSequence([self.seed, index]).generate_state(4)
        state = np.random.RandomState(words)
        volume = self.volumes[state.randint(len(self.volumes))]
        self.transform.set_random_state(state=state)
        return self.transform(volume)


class EpisodeSampler(DistributedSampler):
    """Indices ``epoch * length + i``, i spread over the processes; MONAI's engines call ``set_epoch`` on it.

    Args:
        dataset: an :class:`EpisodeDataset`.
        num_replicas, rank: number of processes and this one's place. Default: of ``torch.distributed`` where it is
            initialised, else one process.
    """

    def __init__(self, dataset: EpisodeDataset, num_replicas: int | None = None, rank: int | None = None) -> None:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if not distributed:
            num_replicas, rank = num_replicas or 1, rank or 0
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=False)
        if len(dataset) % self.num_replicas:
            raise ValueError(f"{len(dataset)} episodes do not divide among {self.num_replicas} processes.")

    def __iter__(self) -> Iterator[int]:
        """Indices of this process in the epoch set by ``set_epoch``."""
        length = self.num_samples * self.num_replicas
        return iter(range(self.epoch * length + self.rank, (self.epoch + 1) * length, self.num_replicas))


class EpisodeLoader(DataLoader):
    """MONAI's ``DataLoader`` of the episodes of one process, in the order of :class:`EpisodeSampler`.

    Args:
        dataset: an :class:`EpisodeDataset`.
        batch_size: episodes in a batch. Default 1.
        num_workers: processes that draw; the episodes do not depend on it. They stay from epoch to epoch: epochs are
            short where a training resumes at the start of one. Default 0: none.
    """

    def __init__(self, dataset: EpisodeDataset, batch_size: int = 1, num_workers: int = 0) -> None:
        super().__init__(
            dataset,
            sampler=EpisodeSampler(dataset),
            batch_size=batch_size,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
        )


def episode_indices(
    items: Sequence[Mapping[str, Any]], volumes: Sequence[Mapping[str, Any]], sample: Callable[[Any], Any]
) -> list[int]:
    """Indices of the volumes to draw episodes from, for ``torch.utils.data.Subset``.

    Whole scans are there once each. A run of slices (see :func:`monai_fss.data.training_items`) is there once for each
    slice: where a scan leaves runs of 2 and 12 slices, the 2 would otherwise make half of its episodes. A run too short
    for any episode, such as one whose supervoxels show in one slice each, is not there.

    Args:
        items: the data list.
        volumes: what became of each item; only those of runs are looked at.
        sample: draws an episode from a volume, such as :class:`monai_fss.transforms.SampleEpisode`.

    Returns:
        indices, rising.

    Raises:
        ScanError: no run gives an episode.

    Warns:
        InputWarning: a run gives none.
    """
    result: list[int] = []
    for index, item in enumerate(items):
        if "slices" not in item:
            result.append(index)
            continue
        first, stop = item["slices"]
        try:
            sample(volumes[index])
        except NoEpisodeError as error:
            text = f"{item['image']}: slices {first} to {stop - 1} are not trained on: {error}"
            warnings.warn(text, InputWarning, stacklevel=2)
            continue
        result += [index] * (stop - first)
    if not result:
        raise ScanError(
            "test_classes: of what they leave of the scans no run of slices gives an episode. Leave out fewer classes, "
            "or lower the smallest size of a pseudo-label (min_area, min_volume)."
        )
    return result
