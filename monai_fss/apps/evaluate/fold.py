# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One fold of an evaluation: the bundle's own evaluator, and what a method must be better than."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.untrained import starting_network
from monai_fss.apps.methods.ct_window import guessed_window
from monai_fss.apps.methods.inference import inference_parser
from monai_fss.apps.methods.method import NO_PRIOR
from monai_fss.apps.methods.settings import device_setting
from monai_fss.data import FoldItems, Scan, support_items
from monai_fss.results import MASK_PASTE, UNTRAINED, Entry

if TYPE_CHECKING:
    from monai.bundle import ConfigParser
    from monai.inferers import Inferer

    from monai_fss.handlers import VolumeScores

__all__ = ["FoldTrial"]


class FoldTrial:
    """One model, or a method without one, on one fold: what ``segment`` would write, scored.

    Args:
        evaluation: what is evaluated.
        files: of the fold.
        names: label value to name of the classes that are tested and that the support shows.
        model: model file, or None for a method without.
        registrations: folder in which registrations are kept, by content.
        support: what is known of the first labelled scan, by which a method without a model chooses its window.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        files: FoldItems,
        names: dict[int, str],
        model: Path | None,
        registrations: Path,
        support: Scan | None = None,
    ) -> None:
        from monai_fss.data import load_model

        self.evaluation = evaluation
        self.files = files
        self.names = names
        self.model = model
        self.registrations = registrations
        self.support = support
        self.parser = self._parser(self._given())
        if model is not None:
            load_model(model, self.parser.get_parsed_content("network_def"))

    @property
    def method(self) -> str:
        """Its name in the tables."""
        one = self.evaluation
        name = one.name
        if one.joins_atlas != one.joins_by_default:
            name += " + atlas" if one.joins_atlas else " without prior"
        return f"{name} (oracle anchor)" if self.evaluation.anchor_rule == "oracle" else name

    def entries(self, fold: int, run: int) -> list[Entry]:
        """The method's scores; in the first run those of the baselines too, where they are wanted."""
        if not self.names:
            return []
        baselines = run == 0 and self.evaluation.baselines
        # Before anything is scored: its pre-trained weights may not be there.
        has_untrained = self.evaluation.method.is_few_shot and self.evaluation.is_trained
        untrained = self._untrained() if baselines and has_untrained else None
        self._scores.tolerances = self.evaluation.tolerances
        self.parser.get_parsed_content("evaluator").run()
        found = [replace(entry, fold=fold, run=run) for entry in self._scores.entries]
        if untrained is not None:
            inferer = self.parser.get_parsed_content("inferer")
            found += self._baseline(UNTRAINED, inferer, untrained, fold, run)
        return found + (self._baseline(MASK_PASTE, *self._pasting(), fold, run) if baselines else [])

    def curve(self) -> list[tuple[float, np.ndarray]]:
        """Learned threshold and Dice over thresholds around it; none for a method that learns no threshold, where the
        support shows no class, or where a prior joins the network: its threshold alone decides nothing then.
        """
        from monai_fss.apps.results.plots import OFFSETS
        from monai_fss.handlers import ThresholdScores
        from monai_fss.networks.nets import ADNet

        if not self.evaluation.method.is_few_shot or not self.names or self.evaluation.joins_atlas:
            return []
        network = self.parser.get_parsed_content("network_def")
        if not isinstance(network, ADNet):
            return []
        scores = ThresholdScores(OFFSETS, network.kappa, list(self.names))
        pairs = zip(self.files.items, self.files.labels, strict=True)
        labelled = [{**item, "label": label} for item, label in pairs]
        self._evaluate(labelled, self.parser.get_parsed_content("inferer"), network, scores)
        return [(float(network.threshold.detach()), scores.means())]

    @property
    def _scores(self) -> VolumeScores:
        return cast("VolumeScores", self.parser.get_parsed_content("scores"))

    def _given(self) -> dict[str, Any]:
        """Settings of the evaluation: those of ``segment``, and what it is scored by."""
        one, files = self.evaluation, self.files
        given: dict[str, Any] = {
            "items": files.items,
            "names": self.names,
            "labels": list(self.names),
            "query_labels::files": files.labels,
            "cache_dir": str(self.registrations),
            "cache_gb": None,  # other methods and runs ask for them too
            "protocol": one.protocol,
            "ep1_rule": one.ep1_rule,
            "ways": one.ways,
            "quality": one.quality,
            "method": self.method,
        }
        if one.method.needs_support:
            given |= {"support_image": files.support_images, "support_label": files.support_labels}
        if one.method.is_few_shot:
            given |= {"support_slices": one.support_slices}
        if one.prior is not None:
            given |= {"prior": None if one.prior == NO_PRIOR else one.prior}
        if one.prior_weight is not None:
            given |= {"prior_weight": one.prior_weight}
        return given | device_setting(one.device)

    def _parser(self, given: dict[str, Any]) -> ConfigParser:
        from monai_fss.data import read_model

        method = self.evaluation.method
        if self.model is not None:
            return inference_parser(method, read_model(self.model)["settings"], given, self.model, evaluates=True)
        settings = self.evaluation.settings
        if "window" not in settings and self.support is not None:
            settings = {**settings, **guessed_window(self.support, self.files.data.modality)}
        return inference_parser(method, {}, {**settings, **given}, method.bundle, evaluates=True)

    def _untrained(self) -> Any:
        """The network of the inference with weights as the training begins with; where a model is given, which does not
        say which they were, with random ones."""
        import torch

        torch.manual_seed(self.evaluation.seed)
        network = self._parser({}).get_parsed_content("network_def")
        if self.evaluation.model is None:
            network.load_state_dict(starting_network(self.evaluation).state_dict())
        return network

    def _pasting(self) -> tuple[Inferer, Any]:
        """The masks of the labelled slices, by the protocol of the evaluation."""
        from monai_fss.inferers import EP1Inferer, FewShotInferer, SupportSet
        from monai_fss.networks.nets import MaskPaste

        network = MaskPaste()
        if self.evaluation.protocol == "ep1":
            labels = self.parser.get_parsed_content("query_labels")
            rule = self.evaluation.ep1_rule
            return EP1Inferer(FewShotInferer(), self._scans, list(self.names), labels, rule=rule), network
        # Of a method that is given all slices: the union of all of them would be no mask of the organ anywhere.
        slices = self.evaluation.support_slices if self.evaluation.method.is_few_shot else "middle"
        return FewShotInferer(SupportSet.from_volumes(self._scans, list(self.names), slices)), network

    @cached_property
    def _scans(self) -> list[Any]:
        """The labelled scans, preprocessed."""
        if self.evaluation.method.is_few_shot:
            return cast("list[Any]", self.parser.get_parsed_content("support_scans"))
        before = self.parser.get_parsed_content("preprocessing").labelled()
        return [before(item) for item in support_items(self.files.support_images, self.files.support_labels)]

    def _baseline(self, name: str, inferer: Inferer, network: Any, fold: int, run: int) -> list[Entry]:
        """Scores of another network or inferer by the same post-processing."""
        from monai.transforms import Compose

        from monai_fss.handlers import VolumeScores
        from monai_fss.inferers import NativeLabeld
        from monai_fss.transforms import LargestComponentd

        one = self.evaluation
        labels = self.parser.get_parsed_content("query_labels")
        values = list(self.names)  # of pasted masks, and the ways of a network that is conditioned
        pieces = self.parser.get_parsed_content("pieces") if one.method.needs_support else None
        own = VolumeScores(
            self.names,
            values,
            labels,
            one.ways,
            one.protocol,
            pieces=pieces,
            surface=False,
            method=name,
            fold=fold,
            run=run,
            ep1_rule=one.ep1_rule,
        )
        steps = [NativeLabeld("pred", values), LargestComponentd("pred", pieces)]
        after = Compose(steps) if one.ways == "compete" else None
        self._evaluate(self.files.items, inferer, network, own, after)
        return own.entries

    def _evaluate(
        self, items: list[dict[str, Any]], inferer: Inferer, network: Any, handler: Any, after: Any = None
    ) -> None:
        """Run an evaluator like the bundle's."""
        from monai.data import DataLoader, Dataset
        from monai.engines import SupervisedEvaluator

        device, before = map(self.parser.get_parsed_content, ("device", "preprocessing"))
        if all("label" in item for item in items):
            before = before.labelled()
        loader = DataLoader(Dataset(items, before), batch_size=1)
        SupervisedEvaluator(
            device,
            loader,
            network.to(device),
            inferer=inferer,
            postprocessing=after,
            val_handlers=[handler],
            amp=self.parser.get_parsed_content("amp"),
        ).run()
