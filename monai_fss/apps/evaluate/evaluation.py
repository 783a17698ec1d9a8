# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What is evaluated, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from monai_fss.apps.methods.bundles import config_keys
from monai_fss.apps.methods.method import NO_PRIOR, Method

__all__ = ["Evaluation"]


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated, and how.

    Args:
        method: what is evaluated.
        data: data set folder.
        protocol: "ep1" or "ep2".
        ep1_rule: how EP1 divides a query's slices, see :func:`monai_fss.inferers.chunks`. Default: "shown", ADNet's.
        split: see :func:`monai_fss.data.make_folds`.
        ways: "independent" or "compete".
        runs: repetitions; run r has seed ``seed + r``.
        fold: one fold alone.
        setting: 1: train on all slices; 2: on those that show no class that is tested, see
            :func:`monai_fss.apps.evaluate.groups.training_groups`.
        groups: label values that setting 2, or a training by labelled organs, leaves out together, all of them scored.
            Default: CRAPNet's, whole, of which those that are scored are tested.
        labels: label values that are scored. Default: all.
        anchor_rule: which labelled scans are shown at test, see :data:`.anchors.ANCHOR_RULES`. Default: "split", those
            of the split.
        supports: labelled scans of each fold, see :func:`monai_fss.data.make_folds`.
        support_slices: labelled slices of EP2.
        model: a model file for all folds; None: train one for each fold and run on the fold's training cases.
        prior: "atlas": combine the network with the registered labelled scan; "none": the network alone. Default: as
            the bundle has it.
        prior_weight: of the network's log-odds then. Default: the bundle's.
        quality: also measure the label-free quality of each mask, to compare it with the Dice score.
        baselines: also measure what a method must be better than, see :mod:`monai_fss.results.baselines`.
        seed: of the first run.
        device: "cpu" or "cuda"; None: cuda where there is one.
        settings: of the bundle's ``configs/train.yaml``; the method's own values go before them.
        command: as typed, for the result file.
        spread: what the deviations in the tables are over, see :data:`monai_fss.results.SPREADS`; the scores do not
            depend on it.
        transductive: train on the images of the queries too, never on their labels. Default: they are not seen before.
        tolerances: of the normalised surface Dice, organ to mm, see :func:`monai_fss.metrics.tolerance_mm`. Default:
            FLARE's.
        cache_dir: folder of prepared scans and of the stages of trainings, each named by what it depends on. Default:
            ``cache`` below that of the models.
    """

    method: Method
    data: str
    protocol: str = "ep2"
    ep1_rule: str = "shown"
    split: str = "within"
    ways: str = "independent"
    runs: int = 1
    fold: int | None = None
    setting: int = 1
    groups: tuple[tuple[int, ...], ...] = ()
    labels: tuple[int, ...] | None = None
    supports: int = 1
    support_slices: int | str = "middle"
    model: str | None = None
    prior: str | None = None
    prior_weight: float | None = None
    quality: bool = False
    baselines: bool = True
    seed: int = 0
    device: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    spread: str = "folds"
    anchor_rule: str = "split"
    tolerances: dict[str, float] = field(default_factory=dict)
    transductive: bool = False
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", {**self.settings, **self.method.values})

    @property
    def name(self) -> str:
        """The method's, such as "crapnet:blocks=7"."""
        return self.method.name

    @property
    def joins_by_default(self) -> bool:
        """Whether the bundle combines its network with the atlas where nothing else is said."""
        return self.method.has_prior and config_keys([self.method.inference_file])["prior"] is not None

    @property
    def joins_atlas(self) -> bool:
        """Whether the network is combined with the atlas."""
        return self.joins_by_default if self.prior is None else self.prior != NO_PRIOR

    @property
    def weight(self) -> float:
        """Of the network's log-odds beside the atlas."""
        if self.prior_weight is not None:
            return self.prior_weight
        return float(config_keys([self.method.inference_file])["prior_weight"])

    @property
    def known(self) -> dict[str, Any]:
        """Every setting of the method's configuration, as it is evaluated."""
        return self.method.settings(self.settings)

    @property
    def learns_organs(self) -> bool:
        """Whether it trains networks by labelled organs, which must be others than those that are tested."""
        return self.model is None and self.known.get("episodes") == "labels"

    @property
    def is_grouped(self) -> bool:
        """Whether a training leaves test classes out, so that they are tested in groups, each by one of its own."""
        return self.setting == 2 or self.learns_organs

    @property
    def is_trained(self) -> bool:
        """Whether a training takes steps: not of a method that is not trained, nor with ``steps`` 0."""
        return self.method.is_trained and self.known.get("steps") != 0
