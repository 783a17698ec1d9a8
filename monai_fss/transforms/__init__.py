# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Transforms that MONAI has not: pseudo-labels for self-supervised few-shot training."""

from __future__ import annotations

from .contrast import RandMaskContrastd
from .episodes import SampleEpisode, SupervoxelTabled
from .felzenszwalb import felzenszwalb
from .foreground import foreground_mask
from .largest_component import LargestComponentd, largest_component
from .orientation import SliceOrientation, SliceOrientationd, slice_axcodes
from .position import BodyPosition, BodyPositiond
from .probabilities import WayProbabilitiesd, WaysToLabeld
from .supervoxels import Supervoxels, Supervoxelsd

__all__ = [
    "BodyPosition",
    "BodyPositiond",
    "LargestComponentd",
    "RandMaskContrastd",
    "SampleEpisode",
    "SliceOrientation",
    "SliceOrientationd",
    "SupervoxelTabled",
    "Supervoxels",
    "Supervoxelsd",
    "WayProbabilitiesd",
    "WaysToLabeld",
    "felzenszwalb",
    "foreground_mask",
    "largest_component",
    "slice_axcodes",
]
