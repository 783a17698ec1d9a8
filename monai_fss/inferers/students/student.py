# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A student and the atlas that has taught it, together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import ensure_tuple_rep

from monai_fss.inferers.atlas import Atlas, Placed
from monai_fss.inferers.atlas_inferer import AtlasInferer
from monai_fss.inferers.found import found_in
from monai_fss.inferers.labelled import LabelledScan, seen
from monai_fss.inferers.prior import log_odds, with_weight
from monai_fss.inferers.students.teacher import own_frame
from monai_fss.inferers.two_stage.priors import unpacked_atlases
from monai_fss.inferers.windows import WindowInferer
from monai_fss.metrics import MaskSigns, expected_dice, mask_signs, strict_dice
from monai_fss.registration.grid import Grid
from monai_fss.registration.refinement import winners
from monai_fss.registration.resample import resample
from monai_fss.transforms import labelled_position, smooth_spacing

__all__ = ["StudentAgreement", "StudentInferer", "student_sees", "trusted"]

UNLEARNT, LEARNT = 0.7, 0.8
"""Dice of a student's mask of the labelled scan, up to which it is not believed, and from which on it is."""


class StudentInferer(AtlasInferer):
    """Segment by a student, and by the labelled scan that its network remembers.

    The scan is registered as an atlas does it, and the student's log-odds join the refinement by the query's own
    appearance (:class:`monai_fss.registration.AppearanceRefinement`), so that neither overrules the other; those of an
    organ count as far as the student has learnt it, see :func:`trusted`. How far student and atlas agree without each
    other tells how good a mask is.

    Args:
        pixdim: mm of a voxel that the student has learnt from, one number or three.
        roi_size, values, overlap: see :class:`monai_fss.inferers.WindowInferer`.
        weight: of the student's log-odds. Default 1.
        prior: whether the atlas is asked at all. Default: it is; without, the student alone answers, in seconds.
        settings: further arguments of :class:`monai_fss.inferers.Atlas`.
        position: whether the network sees where in the labelled scan each voxel lies, see :func:`student_sees`.
            Default: it does not. Without ``prior`` an affine registration is made for it.
        small_ml: millilitres in the labelled scan below which an organ is left to the atlas. Default 0. Such an organ,
            and one that the student has not learnt, keeps every voxel that the atlas gives it.
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
        self._known: tuple[Any, Atlas, torch.Tensor] | None = None

    def result(self, image: MetaTensor, evidence: MetaTensor | None, network: Any) -> MetaTensor:
        """Probabilities (W, h, w, d) of one scan, on the atlas's grid, or of the student alone on its own.

        The meta data have ``confidence`` of the student, see :func:`monai_fss.inferers.class_confidence`, and with
        ``prior`` ``agreement`` {value: Dice of the student's mask and the atlas's}, ``signs`` {value:
        :class:`monai_fss.metrics.MaskSigns`} of both together, and what the atlas found.
        """
        if not self.prior:
            odds, confidence = self._student(image, network, self._affine_frame(image, network))
            return MetaTensor(torch.sigmoid(odds.as_tensor()), affine=odds.affine, meta={"confidence": confidence})
        atlas, trust = self._atlas_of(network)
        dice = dict.fromkeys(atlas.values, 0.0)
        sure: dict[str, float] = {}
        signs: dict[int, MaskSigns] = {}

        def decide(fixed: np.ndarray, grid: Grid, placed: list[Placed]) -> tuple[np.ndarray, np.ndarray]:
            odds, confidence = self._student(image, network, own_frame(placed[0]))
            sure.update(confidence)
            evidence = MetaTensor(odds.as_tensor() * trust, affine=odds.affine)
            alone, _ = atlas.decide(fixed, grid, placed)
            without = winners(alone)
            student = winners(torch.sigmoid(resample(odds, grid, padding="border").as_tensor()).numpy())
            for way, value in enumerate(atlas.values):
                both = student == way, without == way
                dice[value] = strict_dice(*both) if both[1].any() else 0.0
            together, unseen = atlas.decide(fixed, grid, placed, evidence)
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

    def _atlas_of(self, network: Any) -> tuple[Atlas, torch.Tensor]:
        """The atlas of what a network remembers, and how far its log-odds are believed; made once."""
        net = getattr(network, "module", network)
        if self._known is None or self._known[0] is not net:
            atlas = Atlas(unpacked_atlases(net.remembered()), self.windows.values, **self.settings)
            odds, _ = self._student(atlas.scans[0].image, network, atlas.scans[0].frame())
            self._known = net, atlas, trusted(odds, atlas.scans[0], self.windows.values, self.small_ml)
        return self._known[1:]

    def _affine_frame(self, image: MetaTensor, network: Any) -> np.ndarray | None:
        """Where the image lies in the labelled scan by an affine registration alone, where the student sees it.

        Raises:
            RegistrationError: it cannot be registered.
        """
        if not self.position:
            return None
        atlas, _ = self._atlas_of(network)
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
