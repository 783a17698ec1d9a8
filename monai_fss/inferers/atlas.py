# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Segment without training: labelled scans are registered to the query, fused, and refined by its own appearance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor, decollate_batch
from monai.inferers import Inferer
from monai.utils import convert_to_dst_type

from monai_fss.data import ContentCache
from monai_fss.metrics import strict_dice
from monai_fss.registration.body import body_grid
from monai_fss.registration.field import DisplacementField
from monai_fss.registration.fusion import local_weighted_vote, majority_vote, pbaf, staple
from monai_fss.registration.grid import Grid, default_spacing
from monai_fss.registration.refinement import AppearanceRefinement, winners
from monai_fss.registration.register import register
from monai_fss.registration.resample import resample

__all__ = ["FUSIONS", "Atlas", "AtlasInferer", "CarriedBack"]

FUSIONS = ("soft", "majority", "local", "staple", "pbaf")
Item = Mapping[str, Any]


class Atlas:
    """One or several whole labelled scans that segment any other scan of the same region, without training.

    Each labelled scan is registered to the query (see :func:`monai_fss.registration.register`), its labels are warped,
    those of several scans fused, and the result is corrected by the query's own appearance
    (:class:`monai_fss.registration.AppearanceRefinement`). All of it happens on a grid of a few mm.

    Args:
        scans: preprocessed items with ``image`` (1, H, W, D), scaled to 0..1, and ``label`` (1, H, W, D).
        values: label values wanted. Default: all that occur.
        spacing: mm along the canonical axes of the grid that it works on. Default:
            :func:`monai_fss.registration.default_spacing`.
        nearest: use this many labelled scans, those that look most like the query after the registration. Default: all.
        fusion: "soft" (mean of the warped masks, default), "majority", "local" (locally weighted), "staple" or "pbaf",
            see :mod:`monai_fss.registration.fusion`. One scan alone needs none.
        refinement: None leaves the registered labels as they are.
        registration: further arguments of ``register``.
        cache: where registrations are kept, so that another run or organ costs nothing. Default: nowhere.

    Raises:
        ValueError: there is no scan, a value occurs in none of them, or ``fusion`` is not known.
    """

    def __init__(
        self,
        scans: Sequence[Item],
        values: Sequence[int] | None = None,
        spacing: Sequence[float] | None = None,
        nearest: int | None = None,
        fusion: str = "soft",
        refinement: AppearanceRefinement | None = AppearanceRefinement(),  # noqa: B008  (frozen)
        registration: Mapping[str, Any] | None = None,
        cache: ContentCache | None = None,
    ) -> None:
        present = sorted({int(v) for scan in scans for v in torch.unique(torch.as_tensor(scan["label"]))} - {0})
        wanted = present if values is None else [int(v) for v in values]
        missing = sorted(set(wanted) - set(present))
        if missing or not wanted:
            raise ValueError(
                f"label value(s) {missing or 'any'} do not occur in the {len(scans)} support scan(s); "
                f"present are {present}. Choose among them, or give another support scan."
            )
        if fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, got '{fusion}'.")
        if nearest is not None and nearest < 1:
            raise ValueError(f"nearest must be at least 1, got {nearest}.")
        self.scans = list(scans)
        self.values = tuple(wanted)
        self.spacing = spacing
        self.nearest = nearest
        self.fusion = fusion
        self.refinement = refinement
        self.registration = dict(registration or {})
        self.cache = cache

    def __call__(self, image: MetaTensor, evidence: MetaTensor | None = None) -> MetaTensor:
        """Segment a scan.

        Args:
            image: the query (C, H, W, D), channel 0 scaled to 0..1.
            evidence: further log-odds of each class (W, H', W', D'), a network's say, on any grid of the same world.

        Returns:
            probabilities (W, H, W, D) on the query's grid.
        """
        query = _first(image)
        grid = self.grid(query)
        fixed = resample(query, grid)[0].as_tensor().numpy()
        probabilities = self.propagate(query, grid, fixed)
        if self.refinement is not None:
            odds = None if evidence is None else resample(evidence, grid, padding="border").as_tensor().numpy()
            probabilities = self.refinement(fixed, probabilities, grid.spacing.tolist(), odds)
        return _on(probabilities, grid, Grid.of(query))

    def grid(self, image: MetaTensor) -> Grid:
        """The grid that the atlas works on for a scan: that of its registrations."""
        box = body_grid(image)
        return box.working(self.spacing or default_spacing(box))

    def propagate(self, query: MetaTensor, grid: Grid, fixed: np.ndarray) -> np.ndarray:
        """Registered and fused labels, (W, h, w, d) on the grid."""
        fields = [self.field(query, _first(scan["image"])) for scan in self.scans]
        images = [
            resample(_first(scan["image"]), grid, f)[0].as_tensor().numpy()
            for scan, f in zip(self.scans, fields, strict=True)
        ]
        chosen = self._nearest(fixed, images)
        masks = np.stack([self._masks(self.scans[i], grid, fields[i]) for i in chosen])
        if self.fusion == "soft" or len(chosen) == 1:
            return masks.mean(0)
        labels = np.stack([np.array([*self.values, 0])[winners(mask)] for mask in masks])
        stack = np.stack([images[i] for i in chosen])
        if self.fusion == "local":
            return local_weighted_vote(fixed, stack, labels, self.values)
        if self.fusion == "pbaf":
            return pbaf(fixed, stack, labels, self.values, spacing=grid.spacing.tolist(), normalise=True)
        return (majority_vote if self.fusion == "majority" else staple)(labels, self.values)

    def field(self, fixed: MetaTensor, moving: MetaTensor) -> DisplacementField:
        """Registration of one scan to another, from the cache where it is known."""
        settings = {**self.registration, "spacing": None if self.spacing is None else list(self.spacing)}
        if self.cache is None:
            return register(fixed, moving, **settings)
        known = self.cache("register", lambda: register(fixed, moving, **settings).tensors(), [fixed, moving], settings)
        return DisplacementField(**known)

    def carried_back(self, image: MetaTensor, label: MetaTensor) -> dict[int, float]:
        """Reverse accuracy of a segmented query (Valindria et al. 2017), by a registration of its own.

        The query is registered to each labelled scan, anew: the inverse of the field that made the result would lead
        back to the known label by construction. What its mask then covers there is compared with the known label.

        Args:
            image, label: the query and its result (1, H, W, D).

        Returns:
            Dice for each value, the mean over the labelled scans that show it; 0 where nothing was found.
        """
        query, scores = _first(image), {value: [0.0][:0] for value in self.values}
        for scan in self.scans:
            known = _first(scan["image"])
            grid, field = self.grid(known), self.field(known, query)
            for value in self.values:
                truth = _mask(scan["label"], value, grid, None) > 0.5
                if truth.any():
                    scores[value].append(strict_dice(_mask(label, value, grid, field) > 0.5, truth))
        return {value: float(np.mean(s)) if s else 0.0 for value, s in scores.items()}

    def _nearest(self, fixed: np.ndarray, images: Sequence[np.ndarray]) -> list[int]:
        order = sorted(range(len(images)), key=lambda i: float(np.abs(images[i] - fixed).mean()))
        return sorted(order[: self.nearest]) if self.nearest else sorted(order)

    def _masks(self, scan: Item, grid: Grid, field: DisplacementField) -> np.ndarray:
        return np.stack([_mask(scan["label"], value, grid, field) for value in self.values])


class AtlasInferer(Inferer):
    """An :class:`Atlas` where MONAI expects an inferer; the network is not asked.

    Args:
        atlas: the labelled scans.
    """

    def __init__(self, atlas: Atlas) -> None:
        self.atlas = atlas

    def __call__(self, inputs: torch.Tensor, network: Any = None, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(B, C, H, W, D) MetaTensor -> logits (B, 1 + W, H, W, D), background 0."""
        if not isinstance(inputs, MetaTensor):
            raise TypeError("the atlas needs to know where the scan lies: give a MetaTensor, as LoadImage makes it.")
        results = []
        for image in decollate_batch(inputs):
            odds = torch.logit(self.atlas(image.cpu()).as_tensor(), eps=1e-6)
            results.append(torch.cat([torch.zeros_like(odds[:1]), odds]))
        # With the meta data of the scans, as MONAI's inferers return it: what follows names and places results by it.
        return convert_to_dst_type(torch.stack(results), inputs)[0]


class CarriedBack:
    """:meth:`Atlas.carried_back` for what an inference evaluator puts out.

    Args:
        atlas: the labelled scans.
    """

    def __init__(self, atlas: Atlas) -> None:
        self.atlas = atlas

    def __call__(self, output: Mapping[str, Any]) -> dict[int, float]:
        """Score one scan: ``image`` as preprocessed, and the result ``working`` (1, H, W, D) on the same grid."""
        image = output["image"].cpu()
        label = MetaTensor(torch.as_tensor(output["working"].cpu()), affine=image.affine)
        return self.atlas.carried_back(image, label)


def _first(image: MetaTensor) -> MetaTensor:
    """The intensities alone, without the coordinates that a network may be given."""
    return image[:1]


def _mask(label: MetaTensor, value: int, grid: Grid, field: DisplacementField | None) -> np.ndarray:
    mask = MetaTensor((label == value).as_tensor().float(), affine=label.affine)
    return resample(mask, grid, field)[0].as_tensor().numpy()


def _on(probabilities: np.ndarray, grid: Grid, target: Grid) -> MetaTensor:
    """Probabilities on another grid, class by class for the sake of memory."""
    result = torch.empty((len(probabilities), *target.shape))
    for way, probability in enumerate(probabilities):
        volume = MetaTensor(torch.from_numpy(probability)[None], affine=torch.from_numpy(grid.affine))
        result[way] = resample(volume, target)[0].as_tensor()
    return MetaTensor(result, affine=torch.from_numpy(target.affine))
