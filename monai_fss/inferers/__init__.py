# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Support sets, protocols over slices and volumes, label-free quality."""

from __future__ import annotations

from monai_fss.inferers.points.files import load_prnet, prnet_transforms
from monai_fss.inferers.points.localiser import PointLocaliser
from monai_fss.inferers.points.located import LocatedInferer, LocatedQuality
from monai_fss.inferers.points.mask_similarity import MaskSimilarity, mask_landmarks
from monai_fss.inferers.points.matching import MATCH_LEVELS, MatchLevel, PointMatcher
from monai_fss.inferers.points.points import LocatedPoints, SupportPoints, box_of, centres_of
from monai_fss.inferers.points.propagation import ScribblePropagation, scribble_points

from .atlas import Atlas
from .atlas_inferer import AtlasInferer, CarriedBack
from .few_shot import FewShotInferer, conditioned
from .masks import SaveMasks
from .native import NativeLabeld, SaveProbabilitiesd
from .on_grid import WaysOnGrid, native_grid, without_padding
from .prior import PriorInferer, PriorProtocol, with_weight
from .protocols import EP1, EP2, AtlasProtocol, LocatedProtocol, Protocol, chunks, told_slices
from .quality import ReverseAccuracy, reverse_accuracy
from .support import SupportSet, select_slices
from .support_volumes import support_of, volume_support
from .volume import FewShotVolumeInferer

__all__ = [
    "Atlas",
    "AtlasInferer",
    "AtlasProtocol",
    "CarriedBack",
    "EP1",
    "EP2",
    "FewShotInferer",
    "FewShotVolumeInferer",
    "LocatedInferer",
    "LocatedPoints",
    "LocatedProtocol",
    "LocatedQuality",
    "MATCH_LEVELS",
    "MaskSimilarity",
    "MatchLevel",
    "NativeLabeld",
    "PointLocaliser",
    "PointMatcher",
    "PriorInferer",
    "PriorProtocol",
    "Protocol",
    "ReverseAccuracy",
    "SaveMasks",
    "SaveProbabilitiesd",
    "ScribblePropagation",
    "SupportPoints",
    "SupportSet",
    "WaysOnGrid",
    "box_of",
    "centres_of",
    "chunks",
    "conditioned",
    "load_prnet",
    "mask_landmarks",
    "native_grid",
    "prnet_transforms",
    "reverse_accuracy",
    "scribble_points",
    "select_slices",
    "support_of",
    "told_slices",
    "volume_support",
    "with_weight",
    "without_padding",
]
