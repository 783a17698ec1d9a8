# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What few-shot networks are trained on where organs are labelled that are not tested: episodes of two scans."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Randomizable, Transform

from monai_fss.data.episodes.organs import organ_of
from monai_fss.data.episodes.series import EpisodeDataset
from monai_fss.data.episodes.supervoxels import PreparedScans, SupervoxelEpisodes, episode_transform
from monai_fss.data.items import scan_item
from monai_fss.data.problems import InputWarning, ScanError
from monai_fss.transforms import SampleEpisode, ScanPadd, SliceRanged

__all__ = ["EPISODES", "LabelledEpisodes", "few_shot_episodes"]

EPISODES = ("pseudo_labels", "labels")
"""What a training configuration may have its episodes made of, see :func:`few_shot_episodes`."""


class LabelledEpisodes(EpisodeDataset):
    """One-way one-shot episodes of labelled organs: support and query show one organ, in two scans where two show it.

    The classical training of few-shot segmentation, by organs that are not tested: of ALPNet without self-supervision
    (Ouyang et al., ECCV 2020, and Ding et al., WACV 2023, Table 1) and of SE-Net (Roy et al., Medical Image Analysis
    59, 2020). Each round draws every organ once, in an order of its own, as :class:`OrganEpisodes` does, so that a rare
    organ is learnt as often as a frequent one; then two scans that show it, each with the same probability; then a
    place in each.

    Args:
        data: the data list, see :func:`monai_fss.data.training_items`, each with ``image`` and ``label``. Of an item
            that names a run of slices those alone are trained on; runs of one scan count by their places.
        prepare: from an item to ``image`` (1, H, W, D), ``position`` (P, H, W, D) and ``label`` (1, H, W, D), such as
            :meth:`monai_fss.data.PrepareSlices.labelled` gives; one or several transforms.
        sample: draws an episode of two scans, see :meth:`monai_fss.transforms.SampleEpisode.between`. Scans smaller
            than its window are padded, at 0, a position going on as at the border.
        augmentation, length, cache_dir, cache_num, seed: see :class:`SupervoxelEpisodes`.
        unseen: label values that are tested: they are background in the labels, and never drawn. Default: none.

    An item is as that of :class:`SupervoxelEpisodes`.

    Raises:
        ScanError: no organ but the unseen ones is large enough for an episode.

    Warns:
        InputWarning: an organ is too small for an episode in every scan, and not learnt.

    Attributes:
        data: the data list.
        scans: the prepared scans, their organs in ``supervoxels``.
        shown: for each organ that is drawn, by the file of a scan, the indices of its items and their odds for support
            and query.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        prepare: Callable | Sequence[Callable],
        sample: SampleEpisode,
        augmentation: Callable | Sequence[Callable],
        length: int,
        cache_dir: str | Path | None = None,
        cache_num: int = 64,
        seed: int = 0,
        unseen: Collection[int] = (),
    ) -> None:
        fixed: list[Any] = [
            prepare,
            SliceRanged(["image", "position", "label"]),
            _OrgansAsSegments(unseen),
            sample.measure(sample.supervoxels, sample.table),
            ScanPadd(["image", "supervoxels", "position"], sample.scan_size),
        ]
        own = {"image", "label"}
        self.data = data = [scan_item(item["image"], item["label"]) if item.keys() == own else item for item in data]
        scans: Any = PreparedScans(data, fixed, cache_dir, cache_num)
        self.scans: Any = scans
        super().__init__(scans, episode_transform(_Between(sample), augmentation), length, seed)
        self.shown = _shown(data, scans, sample)

    def __getitem__(self, index: int) -> Any:
        """Episode ``index`` of the series."""
        value = organ_of(index, list(self.shown), self.seed)
        state = np.random.RandomState(np.random.SeedSequence([self.seed, 0, index]).generate_state(4))
        supports, queries = self.shown[value]
        first = list(supports)[state.randint(len(supports))]
        others = [name for name in queries if name != first] or [first]
        second = others[state.randint(len(others))]
        support, query = _drawn(supports[first], state), _drawn(queries[second], state)
        shown = self.scans[support]
        pair = {"support": shown, "query": shown if query == support else self.scans[query]}
        self.transform.set_random_state(state=state)
        return self.transform({**pair, "value": value})


def few_shot_episodes(
    data: Sequence[Mapping[str, Any]],
    prepare: Any,
    pseudo_labels: Callable,
    sample: SampleEpisode,
    augmentation: Callable | Sequence[Callable],
    length: int,
    episodes: str = "pseudo_labels",
    unseen: Collection[int] = (),
    **more: Any,
) -> EpisodeDataset:
    """The episodes that a training configuration asks for.

    Args:
        data, prepare, sample, augmentation, length, more: see :class:`SupervoxelEpisodes`; ``prepare`` has a method
            ``labelled``.
        pseudo_labels: of the former.
        episodes: "pseudo_labels": :class:`SupervoxelEpisodes`, which looks at no label; "labels":
            :class:`LabelledEpisodes`.
        unseen: of the latter.

    Raises:
        ValueError: it is another word.
    """
    common: dict[str, Any] = {"sample": sample, "augmentation": augmentation, "length": length, **more}
    if episodes == "labels":
        return LabelledEpisodes(data, prepare.labelled(), unseen=unseen, **common)
    if episodes == "pseudo_labels":
        return SupervoxelEpisodes(data, prepare, pseudo_labels, **common)
    raise ValueError(f"episodes: {episodes!r} is unknown. Set {' or '.join(EPISODES)}.")


class _OrgansAsSegments(Transform):
    """``label`` becomes ``supervoxels``, (1, H, W, D) int32, where some values are background."""

    def __init__(self, unseen: Collection[int]) -> None:
        self.unseen = sorted(int(value) for value in unseen)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        label = item.pop("label")
        values = label.as_tensor().round().to(torch.int32)
        hidden = torch.isin(values, torch.tensor(self.unseen, dtype=torch.int32))
        item["supervoxels"] = MetaTensor(values.masked_fill(hidden, 0), affine=label.affine)
        return item


class _Between(Randomizable, Transform):
    """:meth:`SampleEpisode.between` of an item with ``support``, ``query`` and ``value``."""

    def __init__(self, sample: SampleEpisode) -> None:
        self.sample = sample

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> _Between:
        self.sample.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        return self.sample.between(data["support"], data["query"], data["value"])


_Odds = dict[str, dict[int, int]]


def _drawn(odds: Mapping[int, int], state: np.random.RandomState) -> int:
    """An item, as often as its odds say."""
    shares = np.fromiter(odds.values(), float)
    return int(state.choice(list(odds), p=shares / shares.sum()))


def _shown(
    data: Sequence[Mapping[str, Any]], scans: Sequence[Mapping[str, Any]], sample: SampleEpisode
) -> dict[int, tuple[_Odds, _Odds]]:
    """For each organ, by file, item to number of places: of supports, and of queries."""
    tables = [np.asarray(scans[index][sample.table]) for index in range(len(data))]
    values = sorted({int(value) for table in tables for value in np.flatnonzero(table.any(1)) if value})
    shown: dict[int, tuple[_Odds, _Odds]] = {}
    for value in values:
        sides: tuple[_Odds, _Odds] = ({}, {})
        for index, (item, table) in enumerate(zip(data, tables, strict=True)):
            for odds, support in zip(sides, (True, False), strict=True):
                if count := sample.places(table, value, support).size:
                    odds.setdefault(str(item["image"]), {})[index] = count
        if sides[0] and sides[1]:
            shown[value] = sides
    small = ", ".join(str(value) for value in values if value not in shown)
    advice = "Lower the least size in an episode (min_area, min_volume)"
    if not shown:
        found = f"organs that are large enough for an episode: {small} are not" if small else "organ to learn from"
        raise ScanError(
            f"labels: {len(data)} scans show no {found}. {advice}, or label other organs than those that are tested."
        )
    if small:
        text = f"labels: {small} is not learnt, since no scan shows enough of it for an episode. {advice}."
        warnings.warn(text, InputWarning, stacklevel=3)
    return shown
