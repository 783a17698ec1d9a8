# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scores of what a bundle's evaluator segments, by the labels of the scans."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor, decollate_batch
from monai.data.utils import affine_to_spacing
from monai.engines import IterationEvents

from monai_fss.inferers import QueryLabels, WaysOnGrid, shown_slices, way_probabilities, without_padding
from monai_fss.inferers.ep1 import check_rule
from monai_fss.inferers.scans import scan_name
from monai_fss.metrics import Score, score, strict_dice, tolerance_mm
from monai_fss.registration import Grid
from monai_fss.results import Entry, Results, write_results
from monai_fss.transforms import SliceOrientationd, largest_component

__all__ = ["WAYS", "VolumeScores"]

WAYS = ("independent", "compete")


class VolumeScores:
    """Handler of a bundle's evaluator that scores each class of each scan at the scan's full resolution.

    Args:
        names: label value to name of the classes that are scored.
        values: label value of each way of the answer. A class that is not among them is found nowhere.
        labels: of the scans.
        ways: "independent": each class by itself in binary, as the papers do; "compete": what users get, the label map
            that the bundle's post-processing makes (``pred``), where a voxel belongs to its most probable class.
        protocol: "ep2"; or "ep1", by which a class counts in the slices alone that are told.
        quality: label-free quality of each value from the evaluator's output for one scan, such as the bundle's
            ``quality_score``. Default: none.
        pieces: as :class:`monai_fss.inferers.SaveMasks` has it, for classes that compete by EP1. Default: one of each.
        surface: also measure HD95, ASSD and NSD, and the quality. Scattered voxels take long: baselines are compared by
            Dice alone.
        method, fold, run: of the entries.
        ep1_rule: by which EP1 tells slices, see :func:`monai_fss.inferers.shown_slices`. Default: ADNet's.
        tolerances: of the normalised surface Dice, see :func:`monai_fss.metrics.tolerance_mm`. Default: FLARE's.

    Attributes:
        entries: one :class:`monai_fss.results.Entry` for each scan and class, since the evaluator was started.
    """

    def __init__(
        self,
        names: Mapping[int, str],
        values: Iterable[int],
        labels: QueryLabels,
        ways: str = "independent",
        protocol: str = "ep2",
        quality: Callable[[Mapping[str, Any]], Mapping[int, float]] | None = None,
        pieces: Mapping[int, int] | None = None,
        surface: bool = True,
        method: str = "",
        fold: int = 0,
        run: int = 0,
        ep1_rule: str = "shown",
        tolerances: Mapping[str, float] | None = None,
    ) -> None:
        if ways not in WAYS:
            raise ValueError(f"ways must be one of {', '.join(WAYS)}, got '{ways}'.")
        if protocol not in ("ep1", "ep2"):
            raise ValueError(f"protocol must be ep1 or ep2, got '{protocol}'.")
        check_rule(ep1_rule)
        self.names = {int(value): name for value, name in names.items()}
        self.values = [int(value) for value in values]
        self.labels = labels
        self.ways = ways
        self.protocol = protocol
        self.quality = quality
        self.pieces = dict(pieces or {})
        self.surface = surface
        self.method = method
        self.fold = fold
        self.run = run
        self.ep1_rule = ep1_rule
        self.tolerances = dict(tolerances or {})
        self.entries: list[Entry] = []
        self._logits: list[MetaTensor] = []

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._keep)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _start(self, engine: Engine) -> None:
        self.entries = []

    def _keep(self, engine: Engine) -> None:
        """The answer of the inferer, before it becomes a label map."""
        output: Any = engine.state.output
        self._logits = decollate_batch(output["pred"])

    def __call__(self, engine: Engine) -> None:
        """Score the scans of this iteration. Nothing of them is kept: at full resolution they are large."""
        outputs: Any = engine.state.output
        kept, self._logits = self._logits, []
        if outputs:  # none where a scan failed: the evaluator lists it, and says which
            for output, logits in zip(outputs, kept, strict=True):
                self.entries += self._scored(output, logits)

    def masks(self, output: Mapping[str, Any], logits: MetaTensor) -> Iterator[np.ndarray]:
        """One class after another: bool (H, W, D), in the orientation of :class:`QueryLabels`.

        Args:
            output: of the evaluator for one scan, after the post-processing.
            logits: (1 + W, h, w, d), the answer of the inferer.
        """
        if self.ways == "compete" and self.protocol == "ep2":
            label = np.asarray(SliceOrientationd("pred")({"pred": output["pred"].cpu()})["pred"][0])
            yield from (label == value for value in self.names)
            return
        truth = self.labels(output["image"])
        ways = self._on(output["image"], logits, Grid.of(truth))
        nowhere = np.zeros(truth.shape[1:], bool)
        if self.ways == "independent":
            for value in self.names:
                yield ways.mask(self.values.index(value)) if value in self.values else nowhere
            return
        label = ways.label([number + 1 for number in range(len(self.values))])
        for value in self.names:
            number = self.values.index(value) + 1 if value in self.values else -1
            yield largest_component(label == number, self.pieces.get(value, 1))

    def write(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        """Write ``results.json``, ``.csv`` and ``.md``, see :func:`monai_fss.results.write_results`.

        Args:
            folder: made when missing.
            settings: under which the scores were made; ``protocol`` (of EP1 with its rule) and ``ways`` are added.
        """
        own: dict[str, Any] = {"protocol": self.protocol, "ways": self.ways, "runs": 1}
        own |= {"ep1_rule": self.ep1_rule} if self.protocol == "ep1" else {}
        own |= {"tolerances": self.tolerances} if self.tolerances else {}
        write_results(folder, Results({**own, **settings}, self.entries))

    def _on(self, image: MetaTensor, logits: MetaTensor, grid: Grid) -> WaysOnGrid:
        seen, source = without_padding(logits.cpu(), cast(MetaTensor, image.cpu()))
        told = shown_slices(self.labels(image), self.values, self.ep1_rule) if self.protocol == "ep1" else None
        return WaysOnGrid(way_probabilities(seen), source, grid, allowed=told)

    def _scored(self, output: Mapping[str, Any], logits: MetaTensor) -> list[Entry]:
        truth, found = self.labels(output["image"]), []
        spacing = affine_to_spacing(np.asarray(truth.affine)).tolist()
        case = scan_name(output["image"])
        quality = self._quality(output, logits) if self.surface and self.quality else {}
        for mask, (value, name) in zip(self.masks(output, logits), self.names.items(), strict=True):
            known, tolerance = np.asarray(truth[0]) == value, tolerance_mm(name, self.tolerances)
            own = score(mask, known, spacing, tolerance) if self.surface else _dice_alone(mask, known)
            measured = (own.dice, own.hd95, own.assd, own.state)
            entry = Entry(self.fold, self.run, case, value, name, self.method, *measured, nsd=own.nsd)
            ml = float(mask.sum() * np.prod(spacing) / 1000)
            found.append(replace(entry, quality=quality.get(value, 0.0), volume_ml=ml) if quality else entry)
        return found

    def _quality(self, output: Mapping[str, Any], logits: MetaTensor) -> Mapping[int, float]:
        """Of what a user would get; by EP1, of what is left of it."""
        assert self.quality is not None
        if self.protocol == "ep2":
            return self.quality(output)
        told: dict[str, Any] = dict(output)
        for key in ("pred", "working"):
            if key in output:
                told[key] = self._told(output, logits, output[key])
        return self.quality(told)

    def _told(self, output: Mapping[str, Any], logits: MetaTensor, like: MetaTensor) -> MetaTensor:
        """The label map of EP1 on a grid, the largest piece of each class."""
        turned = SliceOrientationd("like")({"like": like.cpu()})["like"]
        label = self._on(output["image"], logits, Grid.of(turned)).label(self.values)
        kept = np.zeros_like(label)
        for value in self.values:
            kept[largest_component(label == value, self.pieces.get(value, 1))] = value
        return MetaTensor(torch.from_numpy(kept)[None], meta={**like.meta, "affine": turned.affine})


def _dice_alone(mask: np.ndarray, known: np.ndarray) -> Score:
    state = "scored" if known.any() else "absent_predicted" if mask.any() else "absent"
    return Score(strict_dice(mask, known), float("nan"), float("nan"), state)
