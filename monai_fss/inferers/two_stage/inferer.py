# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whole scans in two stages: all organs coarsely, then each small one in its region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from monai_fss.inferers.found import with_found
from monai_fss.inferers.scans import each_scan
from monai_fss.inferers.windows import against_the_others, class_confidence
from monai_fss.registration import Grid

from .coarse import CoarseStage
from .fine import FineStage, fixed_point
from .priors import OrganPrior, unpacked_atlases
from .rois import SURE, Roi, box_on, select_roi

__all__ = ["TwoStageInferer"]

LEAST = 1e-6
"""Probability where there is nothing: logits stay finite."""


class TwoStageInferer(Inferer):
    """Segment scans by a :class:`monai_fss.networks.nets.TwoStageNet` (Valindria et al., MLMI 2018).

    The coarse network sees the whole scan, in windows. Of a small organ its probability, multiplied with the
    multi-atlas prior where there is one, gives a region (see :func:`monai_fss.inferers.two_stage.rois.select_roi`), in
    which the organ's own network decides; beyond it there is nothing of the organ. Large organs are the coarse stage's.
    A voxel that several claim is the most probable one's.

    Args:
        roi_size, fine_size: (H, W, D) of the windows of both stages.
        values: label value of each class but the background, in the coarse network's order.
        organs: the small ones among them.
        pixdim: mm of a voxel of the coarse stage. Default None: scans have it already.
        overlap: of neighbouring windows. Default 0.5.
        two_stage: Default true. False: the coarse stage alone; small organs by the product with the prior, if any.
        auto_context, prior_context: whether the fine networks see the coarse map, and after it the prior, 0 where there
            is none. Default: the coarse map alone.
        multi_atlas: whether there is a prior. Default: there is.
        atlas_only: the prior alone, of all classes, is the answer. Default: it is not.
        fixed_point: regions are found by :func:`monai_fss.inferers.two_stage.fine.fixed_point`. Default: they are not.
        threshold: of probability or product, above which a voxel belongs to a region. Default 0.2: the coarse stage
            is rarely sure of a small organ.
        margin: mm around what exceeds it. Default 16.
        registration: arguments of :func:`monai_fss.registration.register` for the prior.
        cache: keeps registrations, see :class:`monai_fss.data.ContentCache`.
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        fine_size: Sequence[int],
        values: Sequence[int],
        organs: Sequence[int],
        pixdim: float | Sequence[float] | None = None,
        overlap: float = 0.5,
        two_stage: bool = True,
        auto_context: bool = True,
        prior_context: bool = False,
        multi_atlas: bool = True,
        atlas_only: bool = False,
        fixed_point: bool = False,
        threshold: float = 0.2,
        margin: float = 16.0,
        registration: Mapping[str, Any] | None = None,
        cache: Any = None,
    ) -> None:
        self.coarse = CoarseStage(roi_size, pixdim, overlap)
        self.fine = FineStage(fine_size, overlap)
        self.auto_context, self.prior_context = auto_context, prior_context
        self.values, self.organs = [int(value) for value in values], [int(value) for value in organs]
        self.two_stage, self.multi_atlas, self.atlas_only = two_stage, multi_atlas, atlas_only
        self.fixed_point, self.threshold, self.margin = fixed_point, threshold, margin
        self.registration, self.cache = dict(registration or {}), cache
        self._prior: tuple[Any, OrganPrior] | None = None

    @torch.no_grad()
    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, 1, H, W, D) MetaTensor -> logits (B, 1 + W, H, W, D), background 0.

        :func:`monai_fss.inferers.found_in` has ``confidence``, the mean probability of each class's voxels, and
        ``notes``: of each small organ, by what its region was found.
        """
        if not isinstance(inputs, MetaTensor):
            raise TypeError("regions are measured in mm: give a MetaTensor, as LoadImage makes it.")
        network = getattr(network, "module", network)
        answers = [self._scan(image, network) for image in each_scan(inputs)]
        return with_found(torch.stack([one for one, _ in answers]), inputs, [found for _, found in answers])

    def _scan(self, image: MetaTensor, network: Any) -> tuple[torch.Tensor, dict[str, Any]]:
        coarse = self.coarse.image(image)
        prior = self.prior(network, coarse) if self.multi_atlas or self.atlas_only else {}
        if self.atlas_only:
            return self._by_the_prior(prior, coarse, image)
        logits = self.coarse.logits(coarse, network.coarse)
        answer = self.coarse.on(against_the_others(logits), coarse, image)
        found: dict[str, Any] = {"confidence": class_confidence(logits, self.values), "notes": {}}
        maps = logits.softmax(0)
        for organ in self.organs:
            way = self.values.index(organ) + 1
            if self.two_stage:
                own, note = self._in_its_region(image, coarse, maps[way], prior.get(organ), organ, network)
            elif organ in prior:
                own, note = product(maps[way].cpu(), prior[organ])
                own = self.coarse.on(own[None], coarse, image)[0]
            else:
                continue
            answer[way] = torch.logit(own.to(answer), eps=LEAST)
            inside = own[own > 0.5]
            found["confidence"][organ] = float(inside.mean()) if len(inside) else 0.0
            found["notes"][organ] = note
        return answer, found

    def _in_its_region(
        self, image: MetaTensor, coarse: MetaTensor, probability: torch.Tensor, prior: Any, organ: int, network: Any
    ) -> tuple[torch.Tensor, str]:
        """Probability of an organ on the image's grid, and by what its region was found."""
        grid, whole, net = Grid.of(coarse), Grid.of(image), network.fine[str(organ)]

        shown = [probability] if self.auto_context else []
        if self.prior_context:
            shown.append(torch.zeros_like(probability) if prior is None else prior.to(probability))
        context = torch.stack(shown) if shown else probability[None][:0]

        def segment(region: Roi) -> torch.Tensor:
            return self.fine(image, context, grid, region, net)

        found = None
        if self.fixed_point:
            mask = self.coarse.on(probability[None], coarse, image)[0].cpu().numpy() > 0.5
            found = fixed_point(mask, segment, self.margin, whole.spacing.tolist())
        if found is None:
            usual = network.remembered().get(f"usual{organ}")
            box = np.array([[0.0] * 3, [1.0] * 3]) if usual is None else usual.cpu().numpy()
            seen = probability.cpu().numpy()
            there = None if prior is None else prior.numpy()
            roi = box_on(select_roi(seen, there, self.threshold, self.margin, grid.spacing.tolist(), box), grid, whole)
            found = roi, segment(roi)
        own = torch.zeros(whole.shape, device=probability.device)
        own[found[0].slices] = found[1].to(own)
        return own, found[0].text

    def prior(self, network: Any, coarse: MetaTensor) -> dict[int, torch.Tensor]:
        """Prior probability (H, W, D) of each organ on the coarse grid; empty where no labelled scan is remembered."""
        if self._prior is None or self._prior[0] is not network:
            values = self.values if self.atlas_only else self.organs
            scans = unpacked_atlases(network.remembered())
            self._prior = network, OrganPrior(scans, values, self.registration, self.cache)
        prior = self._prior[1]
        if prior.atlas is None:
            return {}
        maps = prior(cast(MetaTensor, coarse.cpu()), Grid.of(coarse))
        return dict(zip(prior.values, maps, strict=True))

    def _by_the_prior(
        self, prior: Mapping[int, torch.Tensor], coarse: MetaTensor, image: MetaTensor
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        maps = torch.stack([prior.get(value, torch.zeros(coarse.shape[1:])) for value in self.values])
        there = self.coarse.on(maps, coarse, image)
        answer = torch.cat([torch.zeros_like(there[:1]), torch.logit(there, eps=LEAST)]).to(image.device)
        sure = [own[own > 0.5] for own in maps]
        confidence = [float(own.mean()) if len(own) else 0.0 for own in sure]
        return answer, {"confidence": dict(zip(self.values, confidence, strict=True)), "notes": {}}


def product(probability: torch.Tensor, prior: torch.Tensor) -> tuple[torch.Tensor, str]:
    """Direct multiplication: an organ by the coarse stage times the prior, against the same of what is not the organ.

    Args:
        probability, prior: of the organ, (H, W, D).

    Returns:
        p q / (p q + (1 - p)(1 - q)), 0 where both contradict each other wholly; and a note where the coarse stage was
        sure (:data:`monai_fss.inferers.two_stage.rois.SURE`) and nothing is left of that.
    """
    both, neither = probability * prior, (1 - probability) * (1 - prior)
    result = both / (both + neither).clamp(min=LEAST)
    sure = probability > SURE
    removed = bool(sure.any()) and not bool((result[sure] > 0.5).any())
    note = f"; it has nothing where the coarse map is above {SURE}, which was removed" if removed else ""
    return result, f"coarse map times prior{note}"
