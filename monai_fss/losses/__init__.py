# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Losses of the methods, one file each."""

from __future__ import annotations

from .adnet import ADNetLoss
from .data_aug import DataAugLoss, roughness
from .known_voxels import KnownVoxelsLoss
from .lt_net import LTNetLoss
from .organnet import OrganNetLoss
from .prnet import PRNetLoss
from .prototype import PrototypeLoss
from .segmentation import SegmentationLoss

__all__ = [
    "ADNetLoss",
    "DataAugLoss",
    "KnownVoxelsLoss",
    "LTNetLoss",
    "OrganNetLoss",
    "PRNetLoss",
    "PrototypeLoss",
    "SegmentationLoss",
    "roughness",
]
