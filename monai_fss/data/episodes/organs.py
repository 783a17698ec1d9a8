# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What OrganNet is trained on: pairs of labelled scans, of which each episode shows one organ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.transforms import Compose

from monai_fss.data.episodes.series import EpisodeDataset
from monai_fss.data.episodes.supervoxels import PreparedScans
from monai_fss.data.problems import ScanError

__all__ = ["OrganEpisodes", "organ_of", "pair_items"]


def pair_items(items: Sequence[Mapping[str, Any]], anchors: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs of labelled scans, each a target and an anchor.

    Args:
        items: of the labelled scans, with ``image``, ``label`` and ``stamp``.
        anchors: of each target, drawn at random. Default: all other scans. Each pair is a registration.
        seed: of the draw.

    Returns:
        items with ``image`` and ``label`` of the target, ``anchor_image`` and ``anchor_label``.

    Raises:
        ScanError: there are fewer than two scans.
    """
    if len(items) < 2:
        raise ScanError(f"{len(items)} labelled scan(s) to learn from, and a pair of two is the least. Label more.")
    pairs = []
    for number, target in enumerate(items):
        others = [item for item in items if item is not target]
        if anchors is not None and anchors < len(others):
            drawn = np.random.RandomState([seed, number]).choice(len(others), anchors, replace=False)
            others = [others[i] for i in sorted(drawn)]
        for anchor in others:
            names = {"anchor_image": anchor["image"], "anchor_label": anchor["label"]}
            pairs.append({**target, **names, "stamp": f"{target['stamp']} {anchor['stamp']}"})
    return pairs


class OrganEpisodes(EpisodeDataset):
    """Episodes of one organ each: a window of a target, and the same window of an anchor registered to it.

    Episodes that follow one another are of different organs, so that a batch mixes as many classes as it can (Zhou et
    al., OrganNet, section 3.2): each round draws every class once, in an order of its own, and a pair that shows it.

    Args:
        pairs: see :func:`pair_items`.
        prepare: from an item to a registered pair, see :class:`monai_fss.inferers.AnchorPair`; one or several.
        values: the classes; way w of ``anchor_mask`` is ``values[w]``.
        transform: random transforms of a pair to which ``way`` and ``value`` were added, the first cutting the window
            out, see :class:`monai_fss.transforms.SampleOrganWindow`.
        length: episodes in an epoch.
        cache_dir, cache_num: see :class:`PreparedScans`.
        seed: of the series of episodes.
        data: scans that the pairs are of, where the configuration names them here; not looked at. Default: not said.

    Raises:
        ScanError: no pair shows any class on both sides.

    Attributes:
        shown: for each class, the indices of the pairs that show it in target and anchor.
    """

    def __init__(
        self,
        pairs: Sequence[Mapping[str, Any]],
        prepare: Callable | Sequence[Callable],
        values: Sequence[int],
        transform: Compose,
        length: int,
        cache_dir: str | Path | None = None,
        cache_num: int = 64,
        seed: int = 0,
        data: Any = None,
    ) -> None:
        prepared: Any = PreparedScans(pairs, prepare, cache_dir, cache_num)
        super().__init__(prepared, transform, length, seed, data)
        self.pairs = prepared
        self.values = [int(value) for value in values]
        shown: dict[int, list[int]] = {value: [] for value in self.values}
        for index in range(len(self.pairs)):
            pair = self.pairs[index]
            for way, value in enumerate(self.values):
                if bool((pair["label"] == value).any()) and bool((pair["anchor_mask"][way, 0] > 127).any()):
                    shown[value].append(index)
        self.shown = {value: indices for value, indices in shown.items() if indices}
        if not self.shown:
            raise ScanError(
                f"labels: none of {len(self.pairs)} pairs shows one of {self.values} in both scans after registration. "
                "Check that the scans show the same part of the body."
            )

    def __getitem__(self, index: int) -> Any:
        """Episode ``index`` of the series."""
        value = organ_of(index, list(self.shown), self.seed)
        state = np.random.RandomState(np.random.SeedSequence([self.seed, 0, index]).generate_state(4))
        pair = self.pairs[self.shown[value][state.randint(len(self.shown[value]))]]
        self.transform.set_random_state(state=state)
        return self.transform({**pair, "value": value, "way": self.values.index(value)})


def organ_of(index: int, classes: Sequence[int], seed: int) -> int:
    """The class of an episode: each round has every class once, in an order of its own.

    Args:
        index: of the episode.
        classes: label values.
        seed: of the series.
    """
    rounds, place = divmod(index, len(classes))
    order = np.random.RandomState(np.random.SeedSequence([seed, 1, rounds]).generate_state(4))
    return classes[order.permutation(len(classes))[place]]
