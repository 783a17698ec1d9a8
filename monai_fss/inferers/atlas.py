# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Segment without training: labelled scans are registered to the query, fused, and refined by its own appearance."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from monai_fss.data import ContentCache, InputWarning
from monai_fss.metrics import mask_signs, strict_dice
from monai_fss.registration.body import RegistrationError, body_grid
from monai_fss.registration.field import DisplacementField
from monai_fss.registration.fusion import fuse, volume_preserving_vote
from monai_fss.registration.grid import Grid, default_spacing, scale_of
from monai_fss.registration.reduced import LARGE
from monai_fss.registration.refinement import AppearanceRefinement, winners
from monai_fss.registration.register import PRESETS, quick_registration, register
from monai_fss.registration.resample import antialiased, resample
from monai_fss.registration.run_parallel import run_parallel
from monai_fss.registration.sides import EXCHANGED, side_ratio
from monai_fss.transforms import count_pieces

from .labelled import LabelledScan, seen, warn_thin, why_unseen
from .scans import scan_name
from .support import wanted_values

__all__ = ["FUSIONS", "Atlas", "Placed"]

SIDES = (
    "the scan fits the labelled one better with left and right exchanged. Check the orientation in its header before "
    "you trust the sides of paired organs"
)
SIDE_BY_SIDE = 16
"""Organs that are carried back at once: the field is looked up once for all of them."""
FUSIONS = ("pbaf", "soft", "majority", "local", "staple")
Item = Mapping[str, Any]
Placed = tuple[LabelledScan, DisplacementField]
Decide = Callable[[np.ndarray, Grid, list[Placed]], tuple[np.ndarray, np.ndarray]]


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
        fusion: of several scans: "pbaf" (default: the best of the five on abdominal CT), "soft" (mean of the warped
            masks that keeps the organs' volumes), "majority", "local" (locally weighted) or "staple", see
            :mod:`monai_fss.registration.fusion`. One scan alone needs none.
        refinement: None leaves the registered labels as they are.
        registration: further arguments of ``register``.
        back: arguments of the ``register`` of :meth:`reverse_accuracy`. Default:
            :func:`monai_fss.registration.quick_registration`, as it need only tell good results from bad ones.
        cache: where registrations are kept, so that another run or organ costs nothing. Default: nowhere.
        sides: look whether the query fits better with left and right exchanged, as a wrong header has it: kidneys would
            change places and look right otherwise. Default: do so; it takes some seconds.

    Raises:
        ValueError: there is no scan, a value occurs in none of them, or ``fusion`` is not known.
    """

    def __init__(
        self,
        scans: Iterable[Item],
        values: Sequence[int] | None = None,
        spacing: Sequence[float] | None = None,
        nearest: int | None = None,
        fusion: str = "pbaf",
        refinement: AppearanceRefinement | None = AppearanceRefinement(),  # noqa: B008  (frozen)
        registration: Mapping[str, Any] | None = None,
        back: Mapping[str, Any] | None = None,
        cache: ContentCache | None = None,
        sides: bool = True,
    ) -> None:
        labelled = [LabelledScan.of(scan) for scan in scans]
        wanted = wanted_values([scan.boxes.keys() for scan in labelled], values)
        if fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, got '{fusion}'.")
        if nearest is not None and nearest < 1:
            raise ValueError(f"nearest must be at least 1, got {nearest}.")
        warn_thin(labelled, wanted)
        self.scans = labelled
        self.values = tuple(wanted)
        self.spacing = spacing
        self.nearest = nearest
        self.fusion = fusion
        self.refinement = refinement
        self.registration = dict(registration or {})
        self.back = quick_registration(self.registration) if back is None else dict(back)
        self.cache = cache
        self.sides = sides
        self.workers = torch.get_num_threads()

    @cached_property
    def pieces(self) -> dict[int, int]:
        """In how many pieces the labelled scans show each value, see :func:`monai_fss.transforms.count_pieces`."""
        return count_pieces(scan.label for scan in self.scans)

    def __call__(self, image: MetaTensor, evidence: MetaTensor | None = None, prefetch: bool = False) -> MetaTensor:
        """Segment a scan.

        Args:
            image: the query (C, H, W, D), channel 0 scaled to 0..1.
            evidence: further log-odds of each class (W, H', W', D'), such as a network's, on any grid of the world.
            prefetch: whether the quality will be asked for too: the registration of :meth:`reverse_accuracy` runs
                beside the other one, where there is a cache that keeps it and the scan is not large; and
                ``meta["signs"]`` has the :class:`monai_fss.metrics.MaskSigns` of each value that was found.

        Returns:
            probabilities (W, h, w, d) on the grid that the atlas works on, see :meth:`grid`; the affine says where it
            lies. They are smooth enough to be looked at on the query's grid. ``meta["left_out"]`` says why a class is 0
            everywhere although it was asked for: {value: reason}; empty where all were found. ``meta["doubt"]`` says
            why the whole answer is doubtful, and is there only then.

        Warns:
            InputWarning: a labelled scan, or all of them, cannot be registered, or an organ lies outside the query.
                The others are done all the same. Left and right may be exchanged.
        """
        return self.segment(image, partial(self.decide, evidence=evidence), prefetch)

    def segment(self, image: MetaTensor, decide: Decide, prefetch: bool = False) -> MetaTensor:
        """As a call, with another rule of what becomes of the registered scans than fusion and refinement.

        Args:
            image, prefetch: see there.
            decide: is given the query on the atlas's grid, (h, w, d), this grid, and the labelled scans with their
                registrations, at least one; it returns probabilities (W, h, w, d) there, and which ways none of these
                scans puts there, bool (W,).

        Returns:
            what a call does.
        """
        query = seen(image)
        if prefetch and image[0].numel() <= LARGE:  # of a large scan one after the other: it takes memory enough
            self._prefetch(query)
        placed, failures = self.placed(query)
        if not placed:
            result = MetaTensor(torch.zeros(len(self.values), 1, 1, 1), query.affine, {"signs": {}})
            return self._left_out(result, dict.fromkeys(self.values, f"not registered: {'; '.join(failures)}"), image)
        grid = self.grid(query)
        fixed = resample(query, grid).as_tensor()[0].numpy()
        probabilities, unseen = decide(fixed, grid, placed)
        missing = [value for value, own in zip(self.values, unseen, strict=True) if own]
        outside = {value: why_unseen(value, placed, grid) for value in missing}
        probabilities[unseen] = 0
        smooth = antialiased(torch.from_numpy(probabilities), grid, Grid.of(image))
        result = self._left_out(MetaTensor(smooth, affine=torch.from_numpy(grid.affine)), outside, image)
        if prefetch:
            shown = [resample(scan.image, grid, field).as_tensor()[0].numpy() for scan, field in placed]
            signs = mask_signs(winners(probabilities), probabilities, fixed, shown, grid.spacing.tolist())
            result.meta["signs"] = {self.values[way]: own for way, own in signs.items()}
        if self.sides and self._side_ratio(query, placed[0][0].image) < EXCHANGED:
            result.meta["doubt"] = SIDES
            warnings.warn(f"{scan_name(image)}: {SIDES}", InputWarning, stacklevel=3)
        return result

    def decide(
        self, fixed: np.ndarray, grid: Grid, placed: list[Placed], evidence: MetaTensor | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """By fusion and refinement, see :meth:`segment`; ``evidence`` as in a call."""
        probabilities = self.fused(placed, grid, fixed)
        # Not one labelled scan puts a voxel of it into the query.
        unseen = probabilities.reshape(len(probabilities), -1).max(1) < 0.5 / len(placed)
        if self.refinement is not None:
            odds = None if evidence is None else resample(evidence, grid, padding="border").as_tensor().numpy()
            steps = grid.spacing / scale_of(grid)  # its lengths are made for human scans
            probabilities = self.refinement(fixed, probabilities, steps.tolist(), odds)
        return probabilities, unseen

    def _side_ratio(self, query: MetaTensor, scan: MetaTensor) -> float:
        if self.cache is None:
            return side_ratio(query, scan)
        known = self.cache("sides", lambda: {"ratio": torch.tensor(side_ratio(query, scan))}, [query, scan], {})
        return float(known["ratio"])

    def grid(self, image: MetaTensor) -> Grid:
        """The grid that the atlas works on for a scan: that of its registrations."""
        box = body_grid(image)
        return box.working(self.spacing or default_spacing(box))

    def placed(self, query: MetaTensor) -> tuple[list[Placed], list[str]]:
        """The labelled scans with their registrations to a query (1, H, W, D), and why others have none."""
        found = run_parallel([partial(self.field, query, scan.image) for scan in self.scans])
        placed, failures = [], []
        for scan, outcome in zip(self.scans, found, strict=True):
            if isinstance(outcome, DisplacementField):
                placed.append((scan, outcome))
                continue
            failures.append(str(outcome))
            text = f"{scan_name(query)}: the labelled scan {scan_name(scan.image)} is left out: {outcome}"
            warnings.warn(text, InputWarning, stacklevel=4)
        return placed, failures

    def fused(self, placed: list[Placed], grid: Grid, fixed: np.ndarray) -> np.ndarray:
        """Registered and fused labels, (W, h, w, d) on the grid."""
        images: list[np.ndarray] = []
        fewer = self.nearest is not None and self.nearest < len(placed)
        if fewer or (len(placed) > 1 and self.fusion in ("local", "pbaf")):
            images = [resample(scan.image, grid, f).as_tensor()[0].numpy() for scan, f in placed]
        chosen = self._nearest(fixed, images) if fewer else range(len(placed))
        warped = (placed[i][0].masks(self.values, grid, placed[i][1]) for i in chosen)  # one at a time: they are large
        shown = np.array([[v in placed[i][0].boxes for v in self.values] for i in chosen])
        if self.fusion == "soft" or len(chosen) == 1:
            masks = next(warped)[None] if len(chosen) == 1 else np.stack(list(warped))
            return volume_preserving_vote(masks, shown, grid.spacing.tolist())
        labels = np.stack([np.array([*self.values, 0])[winners(mask)] for mask in warped])
        stack = np.stack([images[i] for i in chosen]) if images else None
        return fuse(self.fusion, labels, shown, self.values, fixed, stack, grid.spacing.tolist())

    def _left_out(self, result: MetaTensor, reasons: dict[int, str], image: MetaTensor) -> MetaTensor:
        """Say which classes are missing, in a warning and in the result's meta data."""
        if reasons:
            values = ", ".join(map(str, reasons))
            text = f"{scan_name(image)}: label value(s) {values} left out: {'; '.join(dict.fromkeys(reasons.values()))}"
            warnings.warn(text, InputWarning, stacklevel=3)
        result.meta["left_out"] = reasons
        return result

    def field(
        self, fixed: MetaTensor, moving: MetaTensor, settings: Mapping[str, Any] | None = None
    ) -> DisplacementField:
        """Registration of one scan to another, from the cache where it is known.

        Args:
            fixed, moving: (1, H, W, D), scaled to 0..1.
            settings: arguments of ``register``. Default: those of the atlas.
        """
        settings = {
            **(self.registration if settings is None else settings),
            "spacing": None if self.spacing is None else list(self.spacing),
        }
        work = partial(register, fixed, moving, **settings, workers=self.workers)
        if self.cache is None:
            return work()
        # What a preset means may change from version to version, what is kept under its name may not.
        preset = PRESETS.get(settings.get("preset", "accurate"))
        key = {**settings, "work": asdict(preset) if preset else None}
        known = self.cache("register", lambda: work().tensors(), [fixed, moving], key)
        return DisplacementField(**known)

    def _prefetch(self, query: MetaTensor) -> None:
        """Register there and back side by side, where there is a cache that keeps it for when it is asked for."""
        if self.cache is not None:
            there = [partial(self.field, query, scan.image) for scan in self.scans]
            back = [partial(self.field, scan.image, query, self.back) for scan in self.scans]
            run_parallel([*there, *back])

    def reverse_accuracy(self, image: MetaTensor, label: MetaTensor) -> dict[int, float]:
        """Reverse accuracy of a segmented query (Valindria et al. 2017), by a registration of its own.

        The query is registered to each labelled scan, anew: the inverse of the field that made the result would lead
        back to the known label by construction. What its mask then covers there is compared with the known label.

        Args:
            image: the query (C, H, W, D), channel 0 scaled to 0..1.
            label: its result (1, H', W', D'), on any grid of the same world.

        Returns:
            Dice for each value, the mean over the labelled scans that show it; 0 where nothing was found, or where
            the query cannot be registered to a labelled scan.
        """
        result = LabelledScan.of({"image": image, "label": label})
        scores: dict[int, list[float]] = {value: [] for value in self.values}
        found = [value for value in self.values if value in result.boxes]
        scans = self.scans if found else []
        fields = run_parallel([partial(self.field, scan.image, result.image, self.back) for scan in scans])
        for scan, field in zip(scans, fields, strict=True):
            if isinstance(field, RegistrationError):
                warnings.warn(
                    f"{scan_name(image)}: quality 0, since it cannot be carried back: {field}", InputWarning, 2
                )
                return dict.fromkeys(self.values, 0.0)
            grid = self.grid(scan.image)
            for first in range(0, len(found), SIDE_BY_SIDE):
                some = found[first : first + SIDE_BY_SIDE]
                truths, masks = scan.masks(some, grid) > 0.5, result.masks(some, grid, field) > 0.5
                for value, truth, mask in zip(some, truths, masks, strict=True):
                    if truth.any():
                        scores[value].append(strict_dice(mask, truth))
        return {value: float(np.mean(s)) if s else 0.0 for value, s in scores.items()}

    def _nearest(self, fixed: np.ndarray, images: Sequence[np.ndarray]) -> list[int]:
        order = sorted(range(len(images)), key=lambda i: float(np.abs(images[i] - fixed).mean()))
        return sorted(order[: self.nearest])
