# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Transforms that MONAI has not: pseudo-labels for self-supervised few-shot training."""

from __future__ import annotations

from .class_crops import DRAWN, RandWeightedClassCropd, class_shares, class_weights
from .contrast import RandMaskContrastd
from .felzenszwalb import felzenszwalb
from .foreground import foreground_mask
from .geodesic import geodesic_distance
from .geodesic_growth import GeodesicGrowthd, grow_scribbles
from .isotropic_zoom import RandIsotropicZoomd
from .label_boxes import label_boxes
from .labelled_position import LabelledPositiond, labelled_position
from .largest_component import LargestComponentd, count_pieces, largest_component, usual_pieces
from .leaks import remove_leaks
from .one_sided import AugmentSides, OneSided
from .organ_window import SampleOrganWindow
from .orientation import SliceOrientation, SliceOrientationd, slice_axcodes
from .patches import SamplePatches, patch_around
from .position import BodyPosition, BodyPositiond
from .probabilities import WayProbabilitiesd, WaysToLabeld
from .sample_episode import NoEpisodeError, SampleEpisode, SupervoxelTabled
from .scan_pad import ScanPadd
from .scribbles_from_mask import ScribblesFromMaskd, scribbles_from_mask
from .slice_range import SliceRanged
from .spacing import LabelSpacingd, SmoothSpacingd, smooth_spacing
from .supervoxels import Supervoxels, Supervoxelsd, by_superpixels
from .volume_episodes import SampleVolumeEpisode, SupervoxelVolumeTabled

__all__ = [
    "SampleOrganWindow",
    "AugmentSides",
    "BodyPosition",
    "BodyPositiond",
    "DRAWN",
    "GeodesicGrowthd",
    "LabelSpacingd",
    "LabelledPositiond",
    "LargestComponentd",
    "NoEpisodeError",
    "OneSided",
    "RandIsotropicZoomd",
    "RandMaskContrastd",
    "RandWeightedClassCropd",
    "SampleEpisode",
    "SamplePatches",
    "SampleVolumeEpisode",
    "ScanPadd",
    "ScribblesFromMaskd",
    "SliceOrientation",
    "SliceOrientationd",
    "SliceRanged",
    "SmoothSpacingd",
    "SupervoxelTabled",
    "SupervoxelVolumeTabled",
    "Supervoxels",
    "Supervoxelsd",
    "WayProbabilitiesd",
    "WaysToLabeld",
    "by_superpixels",
    "class_shares",
    "class_weights",
    "felzenszwalb",
    "foreground_mask",
    "geodesic_distance",
    "grow_scribbles",
    "label_boxes",
    "labelled_position",
    "count_pieces",
    "largest_component",
    "patch_around",
    "remove_leaks",
    "scribbles_from_mask",
    "slice_axcodes",
    "smooth_spacing",
    "usual_pieces",
]
