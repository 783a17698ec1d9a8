# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scores of one network on one fold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from monai_fss.apps.results.entries import Entry
from monai_fss.inferers import Protocol, WaysOnGrid, told_slices, without_padding
from monai_fss.metrics import Score, score, strict_dice
from monai_fss.registration import Grid
from monai_fss.transforms import LargestComponentd, largest_component

__all__ = ["WAYS", "FoldScorer", "QualityFunction", "threshold_scores"]

WAYS = ("independent", "compete")
QualityFunction = Callable[[Any, Sequence[Mapping[str, Any]], Any, MetaTensor, list[int]], dict[int, float]]
"""(network, preprocessed support scans, preprocessed query image, its result (1, H, W, D), label values) -> quality of
each value."""


class FoldScorer:
    """Segments the queries of a fold by its support, and scores the result in each query's own grid.

    Args:
        preprocessing: of the bundle; items come with ``image``, ``label``, ``truth`` and ``case``.
        support: items of the labelled scans.
        queries: items of the scans to segment.
        names: label value to name, the classes to score. Those that the support does not show are left out, and
            listed in :attr:`left_out`.
        protocol: EP1 or EP2.
        quality: label-free quality of a result; default: none. See :data:`QualityFunction`.
        ways: "independent": each class by itself in binary, as the papers do; "compete": a voxel belongs to its most
            probable class, and each class keeps its largest piece, what users get.
    """

    def __init__(
        self,
        preprocessing: Any,
        support: Sequence[Mapping[str, Any]],
        queries: Sequence[Mapping[str, Any]],
        names: Mapping[int, str],
        protocol: Protocol,
        ways: str = "independent",
        quality: QualityFunction | None = None,
    ) -> None:
        if ways not in WAYS:
            raise ValueError(f"ways must be one of {', '.join(WAYS)}, got '{ways}'.")
        self.preprocessing = preprocessing
        self.support = [_without_truth(preprocessing(dict(item))) for item in support]
        self.queries = list(queries)
        shown = {int(v) for item in self.support for v in torch.unique(item["label"].as_tensor())}
        self.names = {value: name for value, name in names.items() if value in shown}
        self.left_out = [name for value, name in names.items() if value not in shown]
        self.protocol = protocol
        self.ways = ways
        self.quality = quality

    def probabilities(self, network: Any) -> Iterator[tuple[Mapping[str, Any], torch.Tensor]]:
        """Each query, preprocessed, with its probabilities (W, h, w, d) on the grid of the method."""
        network.eval()
        for item in self.queries:
            yield self._found(network, item)

    def entries(self, network: Any, method: str, fold: int, run: int, surface: bool = True) -> list[Entry]:
        """Score every query and class; nothing where the support shows none of the classes.

        Args:
            network: few-shot network.
            method: its name in the tables.
            fold, run: numbers of the fold and of the repetition.
            surface: also measure HD95, ASSD and the quality; floors of scattered voxels take long and are compared by
                Dice alone.
        """
        network.eval()
        scored = [self._scored(network, item, surface) for item in (self.queries if self.names else ())]
        return [replace(entry, method=method, fold=fold, run=run) for entries in scored for entry in entries]

    def _found(self, network: Any, item: Mapping[str, Any]) -> tuple[Mapping[str, Any], torch.Tensor]:
        query = self.preprocessing(dict(item))
        return query, self.protocol(network, self.support, query, list(self.names))

    def _scored(self, network: Any, item: Mapping[str, Any], surface: bool) -> list[Entry]:
        """The scores of one query. Nothing of it is kept: a scan and its labels at full resolution are large."""
        query, probability = self._found(network, item)
        truth, found = query["truth"], []
        spacing = np.linalg.norm(np.asarray(truth.affine)[:3, :3], axis=0).tolist()
        quality = self._quality(network, query, probability) if surface and self.quality else {}
        masks = self._masks(self._on(query, probability, Grid.of(truth)))
        for mask, (value, name) in zip(masks, self.names.items(), strict=True):
            known = np.asarray(truth[0]) == value
            entry = _entry(_score(mask, known, spacing, surface), query["case"], value, name)
            ml = float(mask.sum() * np.prod(spacing) / 1000)
            found.append(replace(entry, quality=quality[value], volume_ml=ml) if quality else entry)
        return found

    def _quality(self, network: Any, query: Mapping[str, Any], probability: torch.Tensor) -> dict[int, float]:
        """Label-free quality of what a user would get: one label map, the largest piece of each class."""
        assert self.quality is not None
        image = query["image"]
        label = torch.from_numpy(self._on(query, probability, Grid.of(image)).label(list(self.names)))[None]
        result = MetaTensor(LargestComponentd("label")({"label": label})["label"], affine=image.affine)
        return self.quality(network, self.support, image, result, list(self.names))

    def _on(self, query: Mapping[str, Any], probability: torch.Tensor, grid: Grid) -> WaysOnGrid:
        """The classes on a grid, each in the slices that the protocol is told."""
        told = told_slices(query["truth"], list(self.names)) if self.protocol.name == "ep1" else None
        return WaysOnGrid(*without_padding(probability, query["image"]), grid, allowed=told)

    def _masks(self, ways: WaysOnGrid) -> Iterator[np.ndarray]:
        """One mask after another; of classes that compete the largest piece."""
        numbers = range(len(self.names))
        if self.ways == "independent":
            yield from map(ways.mask, numbers)
            return
        label = ways.label([number + 1 for number in numbers])
        for number in numbers:
            yield largest_component(label == number + 1)


def threshold_scores(scorer: FoldScorer, network: Any, offsets: Sequence[float] | np.ndarray) -> np.ndarray:
    """Mean Dice over queries and classes, each by itself, for thresholds T + offset (Fig. 7 of the ADNet paper).

    A foreground probability p is 1 / (1 + exp(kappa (S - T))), so S < T + offset wherever p exceeds
    1 / (1 + exp(kappa offset)). Measured on the network's grid.

    Args:
        scorer: of one fold.
        network: ADNet, whose ``kappa`` and ``threshold`` are used.
        offsets: to the learned threshold.

    Returns:
        (len(offsets),), fractions.
    """
    cuts = [1 / (1 + np.exp(network.kappa * offset)) for offset in offsets]
    scores: list[list[float]] = []
    for query, probability in scorer.probabilities(network):
        truth = query["label"].as_tensor()[0]
        for way, value in enumerate(scorer.names):
            known = truth == value
            scores.append([strict_dice(probability[way] > cut, known) for cut in cuts])
    return np.nanmean(np.array(scores), axis=0)


def _score(mask: np.ndarray, known: np.ndarray, spacing: Sequence[float], surface: bool) -> Score:
    if surface:
        return score(mask, known, spacing)
    dice = strict_dice(mask, known)
    state = "scored" if known.any() else "absent_predicted" if mask.any() else "absent"
    return Score(dice, float("nan"), float("nan"), state)


def _entry(found: Score, case: str, value: int, name: str) -> Entry:
    return Entry(0, 0, case, value, name, "", found.dice, found.hd95, found.assd, found.state)


def _without_truth(item: Mapping[str, Any]) -> dict[str, Any]:
    """A labelled scan is not scored."""
    return {key: value for key, value in item.items() if key != "truth"}
