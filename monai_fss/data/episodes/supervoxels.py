# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What self-supervised few-shot networks are trained on: scans with pseudo-labels, kept, and the episodes from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from monai.data import CacheDataset, PersistentDataset
from monai.data.utils import pickle_hashing
from monai.transforms import (
    Compose,
    ConcatItemsd,
    Lambdad,
    OneOf,
    RandomOrder,
    SelectItemsd,
    SomeOf,
    ToTensord,
)
from torch.utils.data import Subset

from monai_fss.data.episodes.series import EpisodeDataset, episode_indices
from monai_fss.data.items import scan_item
from monai_fss.transforms import SampleEpisode, ScanPadd, SliceRanged

__all__ = ["PreparedScans", "SupervoxelEpisodes", "episode_transform"]

QUERY = ("image", "position", "label")
SUPPORT = ("support_image", "support_position", "support_label")


class PreparedScans(CacheDataset):
    """Scans as transforms without randomness leave them: computed once, kept on disk, and the first ones in memory.

    MONAI's ``CacheDataset`` of a ``PersistentDataset``, whose files know the transforms that they came of; its default
    key ignores them.

    Args:
        data: the data list, see :func:`monai_fss.data.training_items`.
        transform: one, or several one after the other; a ``Compose`` among them is taken apart, since MONAI takes it
            for random.
        cache_dir: folder of the files. Default None: none are kept.
        cache_num: scans in memory. Default 64.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable | Sequence[Callable],
        cache_dir: str | Path | None = None,
        cache_num: int = 64,
    ) -> None:
        steps = Compose(_flat(transform))
        kept: dict[str, Any] = {"cache_num": cache_num, "copy_cache": False, "progress": False}
        if cache_dir is None:
            super().__init__(data, steps, **kept)
        else:
            files: Any = PersistentDataset(data, steps, cache_dir=cache_dir, hash_transform=pickle_hashing)
            super().__init__(files, [], **kept)


class SupervoxelEpisodes(EpisodeDataset):
    """One-way one-shot episodes of unlabelled scans, whose supervoxels stand for organs.

    Ouyang et al., "Self-supervision with superpixels", ECCV 2020; Hansen et al., "Anomaly detection-inspired few-shot
    medical image segmentation through self-supervision with supervoxels", Medical Image Analysis 2022.

    Args:
        data: the data list, see :func:`monai_fss.data.training_items`; of an item that names a run of slices, those
            alone are trained on, and each run counts by its slices, see :func:`monai_fss.data.episode_indices`. Of
            pairs of ``image`` and ``label`` and nothing else, as MONAI Label lists them, the images are taken.
        prepare: from an item to ``image`` (1, H, W, D) and ``position`` (P, H, W, D), such as
            :class:`monai_fss.data.PrepareSlices`; one or several transforms.
        pseudo_labels: makes ``supervoxels`` (1, H, W, D) of them, such as :class:`monai_fss.transforms.Supervoxelsd`.
        sample: draws an episode, such as :class:`monai_fss.transforms.SampleEpisode`. Scans smaller than its window
            are padded, at 0, a position going on as at the border.
        augmentation: random transforms of an episode whose image and position are apart, such as
            :class:`monai_fss.transforms.AugmentSides`; one or several.
        length: episodes in an epoch.
        cache_dir, cache_num: see :class:`PreparedScans`.
        seed: of the series of episodes.

    An item is a dict of tensors: ``image`` (1 + P, h, w), ``label`` (1, h, w), ``support_image`` (1, 1 + P, h, w),
    ``support_label`` (1, 1, h, w), the first axis of the support being the shots; in 3-D with a last axis d.

    Attributes:
        data: the data list.
        scans: the prepared scans.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        prepare: Callable | Sequence[Callable],
        pseudo_labels: Callable,
        sample: SampleEpisode,
        augmentation: Callable | Sequence[Callable],
        length: int,
        cache_dir: str | Path | None = None,
        cache_num: int = 64,
        seed: int = 0,
    ) -> None:
        pad = ScanPadd(["image", "supervoxels", "position"], sample.scan_size)
        table = sample.measure(sample.supervoxels, sample.table)
        fixed: list[Any] = [prepare, SliceRanged(["image", "position"]), pseudo_labels, table, pad]
        self.data = data = [scan_item(item["image"]) if item.keys() == {"image", "label"} else item for item in data]
        self.scans: Any = PreparedScans(data, fixed, cache_dir, cache_num)
        drawn: Any = Subset(self.scans, episode_indices(data, cast("Sequence[Any]", self.scans), sample))
        super().__init__(drawn, episode_transform(sample, augmentation), length, seed)


def episode_transform(sample: Callable, augmentation: Callable | Sequence[Callable]) -> Compose:
    """From what ``sample`` draws of to what :class:`monai_fss.networks.nets.FewShotNet` takes."""
    # One list: within another Compose transforms would draw from other seeds.
    return Compose([sample, *_flat(augmentation), *_batched()])


def _batched() -> list[Callable]:
    """From an episode with image and position apart to what :class:`monai_fss.networks.nets.FewShotNet` takes."""
    return [
        ToTensord([*QUERY, *SUPPORT], track_meta=False),
        ConcatItemsd(["image", "position"], "image"),
        ConcatItemsd(["support_image", "support_position"], "support_image"),
        SelectItemsd(["image", "label", "support_image", "support_label"]),
        Lambdad(["support_image", "support_label"], _as_shot, track_meta=False),
    ]


def _as_shot(array: Any) -> Any:
    return array[None]


def _flat(transforms: Callable | Sequence[Callable]) -> list[Callable]:
    """The transforms, in their order, of lists and of ``Compose`` objects within one another."""
    if isinstance(transforms, Compose) and not isinstance(transforms, (OneOf, RandomOrder, SomeOf)):
        return _flat(transforms.transforms)
    if isinstance(transforms, Sequence):
        return [step for part in transforms for step in _flat(part)]
    return [transforms]
