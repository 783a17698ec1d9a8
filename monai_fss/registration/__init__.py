# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
Registration of two scans, affine and deformable, and fusion of the labels that registered atlases bring along.

Everything lies in the world of NIfTI and MONAI (mm, RAS), so that orientation, spacing and field of view of the scans
may differ. A map goes from the fixed scan's world to the moving scan's: what resampling onto the fixed grid needs.
"""

from __future__ import annotations

from .affine import affine
from .body import RegistrationError
from .deformable import CT_WEIGHT, deformable, intensity_weight
from .dictionary import Registerd
from .field import DisplacementField
from .fusion import local_weighted_vote, majority_vote, pbaf, staple, volume_preserving_vote
from .grid import Grid, default_spacing
from .masks import resample_masks
from .matching import match
from .reduced import reduced
from .refinement import AppearanceRefinement
from .register import PRESETS, Preset, quick_registration, register
from .resample import inside, resample
from .run_parallel import run_parallel

__all__ = [
    "AppearanceRefinement",
    "CT_WEIGHT",
    "DisplacementField",
    "Grid",
    "PRESETS",
    "Preset",
    "Registerd",
    "RegistrationError",
    "affine",
    "default_spacing",
    "deformable",
    "inside",
    "intensity_weight",
    "local_weighted_vote",
    "majority_vote",
    "match",
    "pbaf",
    "quick_registration",
    "reduced",
    "register",
    "resample",
    "resample_masks",
    "run_parallel",
    "staple",
    "volume_preserving_vote",
]
