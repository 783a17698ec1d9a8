# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One fold of an evaluation: the method, its floors, and what is scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.methods.bundles import device_setting, is_trained, needs_support
from monai_fss.apps.methods.ct_window import ct_window
from monai_fss.apps.methods.inference import inference_parser
from monai_fss.apps.results.entries import Entry
from monai_fss.apps.results.floors import MASK_PASTE, UNTRAINED
from monai_fss.data import DatasetFolder, Fold, case_item
from monai_fss.engines.workflows import parser_values

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

    from monai_fss.apps.evaluate.scorer import QualityFunction
    from monai_fss.inferers import FewShotVolumeInferer, Protocol

__all__ = ["FoldTrial", "protocol_of"]


class FoldTrial:
    """One model, or a method without one, on one fold.

    Args:
        evaluation: what is evaluated.
        data: data set.
        fold: its support and queries.
        names: of the label values that are tested.
        model: model file, or None for a method without.
        registrations: folder in which registrations are kept, by content.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        data: DatasetFolder,
        fold: Fold,
        names: dict[int, str],
        model: Path | None,
        registrations: Path,
    ) -> None:
        from monai_fss.apps.evaluate.scorer import FoldScorer
        from monai_fss.data import load_model
        from monai_fss.inferers import PriorProtocol

        self.evaluation = evaluation
        self.model = model
        parser = self._parser(data, registrations)
        parser.update(parser_values(device_setting(evaluation.device)))
        self.network = parser.get_parsed_content("network")
        protocol = protocol_of(evaluation, parser)
        if model is None:
            protocol = _atlas_protocol(evaluation, parser)
        else:
            self.network = load_model(model, self.network)
            if not needs_support(evaluation.bundle):
                protocol = _located_protocol(parser)
        if evaluation.prior:
            settings = parser.get_parsed_content("atlas_settings")
            protocol = PriorProtocol(protocol, settings, evaluation.prior_weight)
        support = [case_item(data.cases[name]) for name in fold.support]
        queries = [case_item(data.cases[name]) for name in fold.queries]
        before = parser.get_parsed_content("preprocessing")
        quality = _quality(evaluation, parser) if evaluation.quality else None
        self.scorer = FoldScorer(before, support, queries, names, protocol, evaluation.ways, quality)

    def _parser(self, data: DatasetFolder, registrations: Path) -> Any:
        from monai_fss.data import read_model

        kept = {"cache_dir": str(registrations)}
        if self.model is not None:
            return inference_parser(self.evaluation.bundle, read_model(self.model)["settings"], kept, self.model)
        settings = {**kept, **ct_window(data.modality), **self.evaluation.settings}
        return inference_parser(self.evaluation.bundle, {}, settings, self.evaluation.bundle)

    @property
    def method(self) -> str:
        """Its name in the tables."""
        return " + ".join(filter(None, [self.evaluation.name, self.evaluation.prior]))

    def entries(self, fold: int, repetition: int) -> list[Entry]:
        """The network's scores; in the first run those of the floors too, where they are wanted."""
        from monai_fss.inferers import EP1, EP2
        from monai_fss.networks.nets import MaskPaste

        found = self.scorer.entries(self.network, self.method, fold, repetition)
        if repetition > 0 or not self.evaluation.floors:
            return found
        if self.model is not None and needs_support(self.evaluation.bundle):
            found += self.scorer.entries(self._untrained(), UNTRAINED, fold, repetition, surface=False)
        self.scorer.protocol = EP1() if self.evaluation.protocol == "ep1" else EP2(_pasted(self.evaluation))
        return found + self.scorer.entries(MaskPaste(), MASK_PASTE, fold, repetition, surface=False)

    def curve(self) -> list[tuple[float, np.ndarray]]:
        """Learned threshold and Dice over thresholds around it; none for a method that learns no threshold, where the
        support shows no class, or where a prior joins the network: its threshold alone decides nothing then.
        """
        from monai_fss.apps.evaluate.scorer import threshold_scores
        from monai_fss.apps.results.plots import OFFSETS
        from monai_fss.networks.nets import ADNet

        if not isinstance(self.network, ADNet) or not self.scorer.names or self.evaluation.prior:
            return []
        return [(float(self.network.threshold.detach()), threshold_scores(self.scorer, self.network, OFFSETS))]

    def _untrained(self) -> Any:
        import torch

        from monai_fss.data import read_model

        torch.manual_seed(self.evaluation.seed)
        model = cast("Path", self.model)
        parser = inference_parser(self.evaluation.bundle, read_model(model)["settings"], {}, model)
        return parser.get_parsed_content("network_def").to(next(self.network.parameters()).device)


def protocol_of(evaluation: Evaluation, parser: ConfigParser | None = None) -> Protocol:
    """The protocol of a method that is conditioned on labelled slices; ``parser`` knows a 3-D network's windows."""
    from monai_fss.inferers import EP1, EP2, FewShotVolumeInferer

    windows = FewShotVolumeInferer() if parser is None else _windows(parser)
    return EP1(windows=windows) if evaluation.protocol == "ep1" else EP2(evaluation.support_slices, windows=windows)


def _windows(parser: ConfigParser) -> FewShotVolumeInferer:
    from monai_fss.inferers import FewShotVolumeInferer

    return FewShotVolumeInferer(**{key: parser[key] for key in ("roi_size", "overlap") if key in parser})


def _atlas_protocol(evaluation: Evaluation, parser: Any) -> Protocol:
    from monai_fss.inferers import AtlasProtocol

    return AtlasProtocol(evaluation.protocol, parser.get_parsed_content("atlas_settings"))


def _located_protocol(parser: Any) -> Protocol:
    from monai_fss.inferers import LocatedProtocol

    return LocatedProtocol(parser.get_parsed_content("inferer"), parser["values"])


def _pasted(evaluation: Evaluation) -> int | str:
    """Slices of the floor :data:`MASK_PASTE`: the union of all of them would be no mask of the organ anywhere."""
    slices_are_labelled = is_trained(evaluation.bundle) and needs_support(evaluation.bundle)
    return evaluation.support_slices if slices_are_labelled else "middle"


def _quality(evaluation: Evaluation, parser: Any) -> QualityFunction:
    """The quality that ``segment`` reports: by a registration of its own, or by the network the other way round."""
    from monai_fss.inferers import Atlas, reverse_accuracy

    settings = None if is_trained(evaluation.bundle) else parser.get_parsed_content("atlas_settings")
    slices = "middle" if evaluation.protocol == "ep1" else evaluation.support_slices

    def quality(network: Any, support: Any, image: Any, label: Any, values: list[int]) -> dict[int, float]:
        if settings is not None:
            return Atlas(support, values, **settings).carried_back(image, label)
        return reverse_accuracy(
            network, {"image": image, "label": label}, support, values, slices, windows=_windows(parser)
        )

    return quality
