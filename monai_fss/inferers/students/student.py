# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A student and the atlas that has taught it, together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import ensure_tuple_rep

from monai_fss.data import fingerprint
from monai_fss.inferers.atlas import Atlas, Placed
from monai_fss.inferers.atlas_inferer import AtlasInferer
from monai_fss.inferers.found import found_in
from monai_fss.inferers.labelled import LabelledScan, seen
from monai_fss.inferers.prior import log_odds, with_weight
from monai_fss.inferers.students.teacher import own_frame
from monai_fss.inferers.two_stage.priors import unpacked_atlases
from monai_fss.inferers.windows import WindowInferer
from monai_fss.metrics import MaskSigns, expected_dice, mask_signs, strict_dice
from monai_fss.registration.grid import Grid, scale_of
from monai_fss.registration.refinement import AppearanceRefinement, winners
from monai_fss.registration.resample import resample
from monai_fss.transforms import labelled_position, smooth_spacing

__all__ = ["LEARNT_FROM", "StudentAgreement", "StudentInferer", "student_sees", "student_share", "trusted"]

UNLEARNT, LEARNT = 0.7, 0.8
"""Dice of a student's mask of the labelled scan, up to which it is not believed, and from which on it is."""


LEARNT_FROM = "learnt_from"
"""Name by which a network remembers :func:`monai_fss.data.fingerprints` of the scans that it has learnt from."""


@dataclass(frozen=True)
class _Known:
    """Of a network: the atlas of the labelled scan, how far its log-odds are believed, and what it has learnt from."""

    network: Any
    atlas: Atlas
    refinement: AppearanceRefinement
    trust: torch.Tensor
    trust_of_large: torch.Tensor
    fingerprints: torch.Tensor

    def has_learnt(self, fixed: np.ndarray) -> bool:
        """Whether a query on the atlas's grid is one of the scans that it was taught by."""
        own = fingerprint(torch.from_numpy(fixed)[None])
        return bool((self.fingerprints == own).all(1).any())


class StudentInferer(AtlasInferer):
    """Segment by a student, and by the labelled scan that its network remembers.

    The scan is registered as an atlas does it. What the student says of an organ counts as far as it has learnt it, see
    :func:`trusted`, and how depends on whether the scan is one of those that it has learnt from:

    - If not, its probability stands in the registered mask's place by a share, see :func:`student_share`, and both are
      refined by the query's own appearance (:class:`monai_fss.registration.AppearanceRefinement`). It says where an
      organ is; its outline, coarser than the atlas's, does not count further.
    - If so, it repeats there what the atlas has taught it, and its log-odds join the refinement of the atlas's masks.

    How far student and atlas agree without each other tells how good a mask is.

    Args:
        pixdim: mm of a voxel that the student has learnt from, one number or three.
        roi_size, values, overlap: see :class:`monai_fss.inferers.WindowInferer`.
        weight: of the student's log-odds in a scan that it has learnt from. Default 1.
        prior: whether the atlas is asked at all. Default: it is; without, the student alone answers, in seconds.
        settings: further arguments of :class:`monai_fss.inferers.Atlas`.
        position: whether the network sees where in the labelled scan each voxel lies, see :func:`student_sees`.
            Default: it does not. Without ``prior`` an affine registration is made for it.
        small_ml: millilitres in the labelled scan below which an organ is left to the atlas, in a scan that the student
            has learnt from. Default 0. Such an organ, and one that it has not learnt, keeps every voxel that the atlas
            gives it.
    """

    def __init__(
        self,
        pixdim: float | Sequence[float],
        roi_size: Sequence[int],
        values: Sequence[int],
        overlap: float = 0.5,
        weight: float = 1.0,
        prior: bool = True,
        settings: Mapping[str, Any] | None = None,
        position: bool = False,
        small_ml: float = 0.0,
    ) -> None:
        self.pixdim = ensure_tuple_rep(pixdim, 3)
        self.windows = WindowInferer(roi_size, values, overlap)
        self.prior, self.position, self.small_ml = prior, position, small_ml
        self.settings = with_weight(settings or {}, weight)
        self._known: _Known | None = None

    def result(self, image: MetaTensor, evidence: MetaTensor | None, network: Any) -> MetaTensor:
        """Probabilities (W, h, w, d) of one scan, on the atlas's grid, or of the student alone on its own.

        The meta data have ``confidence`` of the student, see :func:`monai_fss.inferers.class_confidence`, and with
        ``prior`` ``agreement`` {value: Dice of the student's mask and the atlas's}, ``signs`` {value:
        :class:`monai_fss.metrics.MaskSigns`} of both together, and what the atlas found.
        """
        if not self.prior:
            odds, confidence = self._student(image, network, self._affine_frame(image, network))
            return MetaTensor(torch.sigmoid(odds.as_tensor()), affine=odds.affine, meta={"confidence": confidence})
        known = self._known_of(network)
        atlas, ways = known.atlas, len(known.atlas.values)
        dice = dict.fromkeys(atlas.values, 0.0)
        sure: dict[str, float] = {}
        signs: dict[int, MaskSigns] = {}

        def decide(fixed: np.ndarray, grid: Grid, placed: list[Placed]) -> tuple[np.ndarray, np.ndarray]:
            odds, confidence = self._student(image, network, own_frame(placed[0]))
            sure.update(confidence)
            alone, unseen = atlas.decide(fixed, grid, placed)
            student = torch.sigmoid(resample(odds, grid, padding="border").as_tensor()).numpy()
            masks = winners(student), winners(alone)
            for way, value in enumerate(atlas.values):
                both = masks[0] == way, masks[1] == way
                dice[value] = strict_dice(*both) if both[1].any() else 0.0
            if known.has_learnt(fixed):
                trust = known.trust_of_large
                evidence = MetaTensor(odds.as_tensor() * trust, affine=odds.affine)
                together, unseen = atlas.decide(fixed, grid, placed, evidence)
            else:
                trust = known.trust
                there = [any((mask == way).any() for mask in masks) for way in range(ways)]
                share = student_share(trust, list(dice.values()), there).numpy()
                mixed = (1 - share) * atlas.fused(placed, grid, fixed) + share * student
                unseen &= mixed.reshape(ways, -1).max(1) <= 0.5
                together = known.refinement(fixed, mixed, (grid.spacing / scale_of(grid)).tolist())
            keep_alone(together, alone, trust.flatten().numpy() == 0)
            shown = [resample(scan.image, grid, field).as_tensor()[0].numpy() for scan, field in placed]
            found = mask_signs(winners(together), together, fixed, shown, grid.spacing.tolist())
            signs.update({atlas.values[way]: own for way, own in found.items()})
            return together, unseen

        result = atlas.segment(image, decide)
        result.meta |= {"agreement": dice, "confidence": sure, "signs": signs}
        return result

    def _student(
        self, image: MetaTensor, network: Any, to_labelled: np.ndarray | None
    ) -> tuple[MetaTensor, dict[str, float]]:
        """Log-odds (W, h, w, d) on the student's grid, and its confidence."""
        shown = smooth_spacing(image[:1], self.pixdim)
        if self.position:
            shown = student_sees(shown, to_labelled)
        device = next(network.parameters()).device
        batch = MetaTensor(shown.as_tensor()[None].to(device), meta=dict(shown.meta))
        answer = self.windows(batch, network)
        logits = torch.as_tensor(answer)[0]
        return MetaTensor(log_odds(logits[1:] - logits[:1]), affine=shown.affine), found_in(answer)["confidence"]

    def _known_of(self, network: Any) -> _Known:
        """What follows from what a network remembers; made once."""
        net = getattr(network, "module", network)
        if self._known is None or self._known.network is not net:
            kept, values = net.remembered(), self.windows.values
            atlas = Atlas(unpacked_atlases(kept), values, **self.settings)
            scan = atlas.scans[0]
            odds, _ = self._student(scan.image, network, scan.frame())
            self._known = _Known(
                net,
                atlas,
                self.settings["refinement"],
                trusted(odds, scan, values),
                trusted(odds, scan, values, self.small_ml),
                kept.get(LEARNT_FROM, torch.zeros(0, 32, dtype=torch.uint8)).cpu(),
            )
        return self._known

    def _affine_frame(self, image: MetaTensor, network: Any) -> np.ndarray | None:
        """Where the image lies in the labelled scan by an affine registration alone, where the student sees it.

        Raises:
            RegistrationError: it cannot be registered.
        """
        if not self.position:
            return None
        atlas = self._known_of(network).atlas
        scan = atlas.scans[0]
        return own_frame((scan, atlas.field(seen(image), scan.image, {**atlas.registration, "method": "affine"})))


def student_sees(image: MetaTensor, to_labelled: Any) -> MetaTensor:
    """An image (1, H, W, D) and, in three more channels, where in the labelled scan its voxels lie.

    Left and right organs look alike, and so does what lies along the body; the affine part of a registration to the
    labelled scan tells them apart before anything is learnt (:func:`monai_fss.transforms.labelled_position`).
    """
    position = labelled_position(image, to_labelled).to(image.device)
    return MetaTensor(torch.cat([image.as_tensor(), position]), meta=dict(image.meta))


def trusted(odds: MetaTensor, scan: LabelledScan, values: Sequence[int], small_ml: float = 0.0) -> torch.Tensor:
    """
    How far a student is believed about each class: as far as it has learnt the labelled scan, which it has seen.

    What it cannot draw there, as an organ is too small for its voxels or its training was short, it denies everywhere:
    its log-odds would take the organ away from the atlas (`btcv_ct`, fold 0: esophagus 45 to 0). By the Dice of its
    mask and the exact label this rises from 0 (:data:`UNLEARNT`) to 1 (:data:`LEARNT`).

    Args:
        odds: its log-odds of the labelled scan, (W, H, W, D) on its grid.
        scan: with the label.
        values: of the classes.
        small_ml: millilitres below which an organ is not asked for: a student that has seen the labelled scan often
            draws it there, and not elsewhere (`btcv_ct`, fold 0: pancreas 46 to 34). Default 0.

    Returns:
        (W, 1, 1, 1), 0 to 1.
    """
    truth = winners(scan.masks(values, Grid.of(odds)))
    found = winners(torch.sigmoid(odds.as_tensor()).numpy())
    dice = torch.tensor([strict_dice(found == way, truth == way) for way in range(len(values))])
    large = torch.tensor([scan.mm3(value) >= 1000 * small_ml for value in values])
    return (((dice - UNLEARNT) / (LEARNT - UNLEARNT)).clamp(0, 1) * large).float()[:, None, None, None]


def student_share(trust: torch.Tensor, agreement: Sequence[float], there: Sequence[bool]) -> torch.Tensor:
    """
    How much of the student's probability stands in the registered mask's place, in a scan that it has not learnt from.

    One minus the square of the mean Dice of the student's masks and the atlas's, over the organs that the student has
    learnt and that either finds. Where they differ as a whole the registration is taken to have failed; the student,
    which needs its affine part alone, can find the organs (`btcv_ct`, fold 0: the two worst queries, 36.7 and 41.9,
    became 40.7 and 51.0 by one student, 42.2 and 50.0 by another; by the mean itself 41.1 and 49.6, 39.1 and 42.5).

    Args:
        trust: in each class, (W, 1, 1, 1), 0 to 1.
        agreement: the Dice of each class, 0 to 1.
        there: whether either has a mask of the class.

    Returns:
        (W, 1, 1, 1), 0 to 1; 0 of a class that the student has not learnt.
    """
    weights = trust.flatten() * torch.tensor(there)
    mean = float((weights * torch.tensor(agreement)).sum() / weights.sum().clamp(min=1e-6))
    return trust * (1 - mean**2)


def keep_alone(together: np.ndarray, alone: np.ndarray, ways: np.ndarray) -> None:
    """
    Give organs that the student is not asked about back what the atlas found of them.

    Neighbours that the student draws larger would take it: of the pancreas, left to the atlas, 5 points of Dice
    (`btcv_ct`, fold 0).

    Args:
        together: probabilities of student and atlas, (W, H, W, D); changed in place.
        alone: those of the atlas alone.
        ways: which organs, bool (W,).
    """
    owner = winners(alone)
    theirs = ways[owner] & (owner >= 0)
    together[:, theirs] = alone[:, theirs]
    together[ways] = alone[ways]


class StudentAgreement:
    """Quality of a mask: :func:`monai_fss.metrics.expected_dice`, with the Dice of what student and atlas find without
    each other in the place of the way back, which an atlas alone takes.

    Args:
        values: label values.
    """

    def __init__(self, values: Sequence[int]) -> None:
        self.values = [int(value) for value in values]

    def __call__(self, output: Mapping[str, Any]) -> dict[int, float]:
        """Of each class in one scan, 0..1; without the atlas the student's confidence."""
        found = found_in(output["pred"])
        if "agreement" not in found:
            return {value: float(found.get("confidence", {}).get(str(value), 0.0)) for value in self.values}
        signs = {int(value): MaskSigns(*own) for value, own in found["signs"].items()}
        return {
            value: expected_dice(float(found["agreement"][str(value)]), signs[value]) if value in signs else 0.0
            for value in self.values
        }
