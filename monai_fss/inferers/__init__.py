# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Support sets, protocols over slices and volumes, label-free quality."""

from __future__ import annotations

from monai_fss.inferers.anchors.explained import Explanation, Related, explain_voxel
from monai_fss.inferers.anchors.organnet import OrganNetInferer
from monai_fss.inferers.anchors.registered import AnchorPair
from monai_fss.inferers.one_shot.aligned import AlignedScans, AlignScan
from monai_fss.inferers.one_shot.synthesis import SynthesisedPairs, learnt_transformations
from monai_fss.inferers.one_shot.transfer import LabelTransferInferer
from monai_fss.inferers.points.files import load_prnet, prnet_transforms
from monai_fss.inferers.points.localiser import PointLocaliser
from monai_fss.inferers.points.located import LocatedInferer, LocatedQuality
from monai_fss.inferers.points.mask_similarity import MaskSimilarity, mask_landmarks
from monai_fss.inferers.points.point_matching import MATCH_LEVELS, MatchLevel, PointMatcher
from monai_fss.inferers.points.points import LocatedPoints, SupportPoints, box_of
from monai_fss.inferers.points.propagation import ScribblePropagation, scribble_points
from monai_fss.inferers.students.intermediates import Intermediates
from monai_fss.inferers.students.student import LEARNT_FROM, StudentAgreement, StudentInferer
from monai_fss.inferers.students.teacher import Teacher, remembered_scan
from monai_fss.inferers.two_stage.crops import OrganCrops
from monai_fss.inferers.two_stage.inferer import TwoStageInferer

from .atlas import Atlas
from .atlas_inferer import AtlasInferer, AtlasQuality, AtlasReverseAccuracy
from .ep1 import EP1_RULES, EP1Inferer, QueryLabels, chunks, shown_slices
from .few_shot import FewShotInferer, FewShotVolumeInferer, conditioned
from .found import found_in, with_found
from .masks import SaveMasks, pieces_of
from .native import NativeLabeld, SaveProbabilitiesd, way_probabilities
from .on_grid import WaysOnGrid, native_grid, without_padding
from .prior import PriorInferer, registration_settings, with_weight
from .reverse_accuracy import ReverseAccuracy, reverse_accuracy
from .support import SupportSet, select_slices, support_of, volume_support
from .windows import WindowConfidence, WindowInferer, against_the_others, class_confidence

__all__ = [
    "AlignScan",
    "AlignedScans",
    "AnchorPair",
    "Atlas",
    "AtlasInferer",
    "AtlasQuality",
    "AtlasReverseAccuracy",
    "EP1Inferer",
    "EP1_RULES",
    "Explanation",
    "FewShotInferer",
    "FewShotVolumeInferer",
    "Intermediates",
    "LEARNT_FROM",
    "LabelTransferInferer",
    "LocatedInferer",
    "LocatedPoints",
    "LocatedQuality",
    "MATCH_LEVELS",
    "MaskSimilarity",
    "MatchLevel",
    "NativeLabeld",
    "OrganCrops",
    "OrganNetInferer",
    "PointLocaliser",
    "PointMatcher",
    "PriorInferer",
    "QueryLabels",
    "Related",
    "ReverseAccuracy",
    "SaveMasks",
    "SaveProbabilitiesd",
    "ScribblePropagation",
    "StudentAgreement",
    "StudentInferer",
    "SupportPoints",
    "SupportSet",
    "Teacher",
    "SynthesisedPairs",
    "TwoStageInferer",
    "WaysOnGrid",
    "WindowConfidence",
    "WindowInferer",
    "against_the_others",
    "box_of",
    "chunks",
    "class_confidence",
    "conditioned",
    "explain_voxel",
    "found_in",
    "learnt_transformations",
    "load_prnet",
    "mask_landmarks",
    "native_grid",
    "pieces_of",
    "prnet_transforms",
    "remembered_scan",
    "reverse_accuracy",
    "scribble_points",
    "select_slices",
    "shown_slices",
    "support_of",
    "volume_support",
    "registration_settings",
    "with_weight",
    "way_probabilities",
    "with_found",
    "without_padding",
]
