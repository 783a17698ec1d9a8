# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The stages before the last training of two-stage segmentation: coarse maps out of fold, priors, fine networks."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import nn

from monai_fss.data import (
    ContentCache,
    InputWarning,
    PreparedScans,
    load_model,
    read_model,
    read_organ_maps,
    save_organ_maps,
)
from monai_fss.data.files.organ_maps import PARTS
from monai_fss.engines.stages import DONE, run_stage
from monai_fss.inferers.two_stage.coarse import CoarseStage
from monai_fss.inferers.two_stage.priors import OrganPrior, chosen_atlases, packed_atlases, unpacked_atlases
from monai_fss.inferers.two_stage.rois import mean_box, select_roi
from monai_fss.networks.nets import TwoStageNet
from monai_fss.registration import Grid

__all__ = ["OrganStages", "in_turns"]


class OrganStages:
    """Run each stage, or find that it is done, and give a network what came of them.

    1. The labelled scans are divided into parts, every n-th scan in one, and for each part a coarse network is trained
       on the others: what the fine stages learn from is as uncertain as it will be in use. One scan alone has no
       others: its maps are of a network that has learnt from it, and the training says so.
    2. Of each scan a file is kept (:func:`monai_fss.data.save_organ_maps`): the small organs' coarse maps, a prior by
       other scans than itself, and their regions.
    3. For each small organ a fine network is trained in these regions.

    Every stage is a folder below ``root`` that is named by what it depends on, so that what is there and unchanged is
    used again, and each goes on where it was interrupted. Several processes divide parts, scans and organs.

    Args:
        bundle_root: folder of the bundle, with ``configs/train.yaml`` and ``configs/fine.yaml``.
        root: folder of the stages.
        items: of the labelled scans: ``image``, ``label``, ``case``.
        prepare: from an item to ``image`` and ``label`` on the grid of the fine stage.
        organs: label values of the small organs.
        values: label values of all classes.
        coarse: a network of the coarse stage, whose weights do not count.
        coarse_settings, fine_settings: of ``train.yaml`` and ``fine.yaml``.
        regions: ``roi_size``, ``pixdim`` (of the coarse stage; None where that is the scans'), ``threshold``,
            ``margin``, and ``registration``.
        two_stage: whether there are fine stages. Without, nothing is run.
        remember: whether the network is given labelled scans, for a prior.
        multi_atlas: whether regions are selected with a prior.
        parts: how many, at most one for each scan. Default 2, as in the paper's cross-validation.
        atlases: labelled scans of a prior, at most. Default None: all.
        device: of the stages.
        rank, processes: number of this process, and of all. Default: one.
    """

    def __init__(
        self,
        bundle_root: str | Path,
        root: str | Path,
        items: Sequence[Mapping[str, Any]],
        prepare: Callable,
        organs: Sequence[int],
        values: Sequence[int],
        coarse: nn.Module,
        coarse_settings: Mapping[str, Any],
        fine_settings: Mapping[str, Any],
        regions: Mapping[str, Any],
        two_stage: bool = True,
        remember: bool = True,
        multi_atlas: bool = True,
        parts: int = 2,
        atlases: int | None = None,
        device: Any = "cpu",
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.bundle_root, self.root = bundle_root, Path(root).absolute()
        self.items, self.prepare = list(items), prepare
        self.organs, self.values = [int(organ) for organ in organs], [int(value) for value in values]
        self.coarse, self.regions = coarse, dict(regions)
        self.coarse_settings, self.fine_settings = dict(coarse_settings), dict(fine_settings)
        self.two_stage, self.remember, self.multi_atlas = two_stage and bool(self.organs), remember, multi_atlas
        self.parts, self.atlases = min(parts, len(self.items)), atlases
        self.device, self.rank, self.processes = device, rank, processes
        self.folders: dict[str, list[Path]] = {"coarse": [], "fine": []}

    def run(self) -> OrganStages:
        """Run them; returns itself.

        Warns:
            InputWarning: there are too few scans for maps out of fold, or for a prior.
        """
        self._say_what_is_lost()
        if self.two_stage:
            jobs = [self._coarse_job(part) for part in range(self.parts)]
            self.folders["coarse"] = self._divided(jobs)
            self._divided([self._maps_job(number) for number in range(len(self.items))])
            self.folders["fine"] = self._divided([self._fine_job(organ) for organ in self.organs])
        return self

    def load(self, network: TwoStageNet) -> TwoStageNet:
        """Give a network the fine weights, and what it is to remember: usual places, and the scans of the prior."""
        for organ, folder in zip(self.organs, self.folders["fine"], strict=False):
            net: Any = network.fine[str(organ)]
            net.load_state_dict(read_model(folder / "model.pt")["model"])
        known = {f"usual{organ}": torch.from_numpy(self._usual[organ]) for organ in self.organs if self.two_stage}
        if self.remember:
            known |= self._atlases(None)
        return network.remember(known)

    def summary(self, network: TwoStageNet, patches: int) -> str:
        """Weights, patches and minutes of all stages, in words.

        Args:
            network: whose weights are counted.
            patches: of the last training.
        """
        weights = {name: _count(net) for name, net in (("coarse", network.coarse), ("fine", network.fine))}
        per = {key: own["steps"] * own["batch_size"] for key, own in self._schedules.items()}
        fold, fine = len(self.folders["coarse"]) * per["coarse"], len(self.folders["fine"]) * per["fine"]
        notes = [folder / DONE for kind in self.folders.values() for folder in kind]
        seconds = sum(map(_seconds, notes))
        return (
            f"weights: {weights['coarse']:,} coarse, {weights['fine']:,} fine ({len(self.folders['fine'])} organs); "
            f"patches: {patches:,} coarse, {fold:,} out of fold, {fine:,} fine, {patches + fold + fine:,} in all; "
            f"stages before: {seconds / 60:.1f} minutes"
        )

    @property
    def _schedules(self) -> dict[str, dict[str, int]]:
        return {"coarse": self.coarse_settings, "fine": self.fine_settings}

    @cached_property
    def scans(self) -> Any:
        """The labelled scans, prepared. (What MONAI keeps on disk has no affine any more.)"""
        return PreparedScans(self.items, self.prepare)

    def _say_what_is_lost(self) -> None:
        if len(self.items) > 1 or not (self.two_stage or self.remember):
            return
        text = f"{self.items[0]['case']}: is the only labelled scan."
        if self.two_stage:
            text += (
                " The fine stages learn from coarse maps of a network that has seen it, which are surer than others."
            )
        if self.remember:
            text += " The prior is of one atlas, and regions are learnt without."
        warnings.warn(f"{text} Label a second one.", InputWarning, stacklevel=3)

    def _divided(self, jobs: Sequence[Callable[[bool], Path]]) -> list[Path]:
        return in_turns(jobs, self.rank, self.processes)

    def _stage(self, config: str, name: str, settings: Mapping[str, Any], mine: bool) -> Path:
        return Path(run_stage(self.bundle_root, config, self.root, settings, self.device, mine, name))

    def _coarse_job(self, part: int) -> Callable[[bool], Path]:
        others = [item["case"] for number, item in enumerate(self.items) if number % self.parts != part]
        cases = others or [item["case"] for item in self.items]
        return lambda mine: self._stage("train", f"coarse{part}", {**self.coarse_settings, "cases": cases}, mine)

    def _fine_job(self, organ: int) -> Callable[[bool], Path]:
        def job(mine: bool) -> Path:
            cases = [str(item["case"]) for item in self.items if self._shows(item, organ)]
            settings = {**self.fine_settings, "organ": organ, "maps": str(self.maps), "cases": cases}
            return self._stage("fine", f"fine{organ}", settings, mine)

        return job

    def _shows(self, item: Mapping[str, Any], organ: int) -> bool:
        return bool((read_organ_maps(self.maps / f"{item['case']}.pt")["label"] == organ).any())

    @property
    def maps(self) -> Path:
        """Folder of what the fine stages learn from."""
        names = [folder.name for folder in self.folders["coarse"]]
        own = {
            "prior": self.multi_atlas,
            "content": list(PARTS),
            "atlases": self.atlases,
            "organs": self.organs,
            **self.regions,
        }
        words = json.dumps([names, own, [item["case"] for item in self.items]], sort_keys=True)
        return self.root / f"maps-{hashlib.sha256(words.encode()).hexdigest()[:12]}"

    def _maps_job(self, number: int) -> Callable[[bool], Path]:
        def job(mine: bool) -> Path:
            path = self.maps / f"{self.items[number]['case']}.pt"
            while not mine and not path.is_file():
                time.sleep(1)
            if not path.is_file():
                self._write_maps(number, path)
            return path

        return job

    def _write_maps(self, number: int, path: Path) -> None:
        """Coarse maps by the network that has not seen the scan, and regions with a prior by other scans."""
        scan, regions = self.scans[number], self.regions
        stage = CoarseStage(regions["roi_size"], regions["pixdim"])
        image = stage.image(scan["image"])
        network = TwoStageNet(deepcopy(self.coarse))
        load_model(self.folders["coarse"][number % self.parts] / "model.pt", network)
        network.coarse.eval().to(self.device)
        seen = MetaTensor(image.as_tensor().to(self.device), affine=image.affine)
        every = stage.logits(seen, network.coarse).softmax(0).cpu()
        maps = every[[self.values.index(organ) + 1 for organ in self.organs]]
        prior = self._prior(number, image) if self.multi_atlas else None
        grid = Grid.of(image)
        rois = [
            select_roi(
                maps[way].numpy(),
                None if prior is None else prior[way].numpy(),
                regions["threshold"],
                regions["margin"],
                grid.spacing.tolist(),
                self._usual[organ],
            )
            for way, organ in enumerate(self.organs)
        ]
        boxes = torch.from_numpy(np.stack([[roi.low, roi.high] for roi in rois]))
        shown = {"maps": maps, "priors": torch.zeros_like(maps) if prior is None else prior}
        affine = torch.from_numpy(grid.affine)
        kept = {**scan, **{name: MetaTensor(own, affine=affine) for name, own in shown.items()}}
        save_organ_maps(path, kept, boxes, self.organs, [roi.text for roi in rois])

    def _prior(self, number: int, image: MetaTensor) -> torch.Tensor | None:
        """Of a training scan by others, (S, h, w, d); None where there are none."""
        scans = unpacked_atlases(self._atlases(number))
        cache = ContentCache(self.root / "registrations")
        prior = OrganPrior(scans, self.organs, self.regions["registration"], cache)
        return None if prior.atlas is None else prior(image, Grid.of(image))

    def _atlases(self, without: int | None) -> dict[str, torch.Tensor]:
        chosen = chosen_atlases(len(self.items), self.atlases, without)
        return packed_atlases([self.scans[index] for index in chosen], self.regions["pixdim"])

    @cached_property
    def _usual(self) -> dict[int, np.ndarray]:
        labels = [np.asarray(scan["label"][0]) for scan in self.scans]
        return {organ: mean_box(label == organ for label in labels) for organ in self.organs}


def in_turns(jobs: Sequence[Callable[[bool], Path]], rank: int = 0, processes: int = 1) -> list[Path]:
    """Divide jobs among processes that share a folder: each does its own first, and then waits for the others'.

    Args:
        jobs: called with whether it is this process's own; if not, it waits for what comes of it. Returns that.
        rank, processes: number of this process, and of all.

    Returns:
        what came of each, in the order of the jobs.
    """
    found: dict[int, Path] = {}
    for mine in (True, False):
        for number, job in enumerate(jobs):
            if (number % processes == rank) == mine:
                found[number] = job(mine)
    return [found[number] for number in range(len(jobs))]


def _seconds(note: Path) -> float:
    """What a stage says that it took."""
    with note.open("rb") as stream:
        return float(json.load(stream).get("seconds", 0))


def _count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())
