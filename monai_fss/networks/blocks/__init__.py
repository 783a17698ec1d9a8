# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Building blocks that the few-shot networks share."""

from __future__ import annotations

from .carafe import CarafeDownsample, CarafeUpsample, reassemble_down, reassemble_up
from .cycle_resemblance import CycleResemblanceAttention, CycleResemblanceBlock, cycle_resemblance
from .dense_comparison import DenseComparison
from .exporting import exporting
from .flow import FlowNet, compose_flows, warp
from .label_windows import VOLUME_WINDOW, label_windows
from .local_prototype import adaptive_local_prototypes, cells_of, grid_prototypes, softmax_similarity
from .mask_refinement import ContextRelation, affine_maps, correlation_window, mapped
from .part_prototype import class_features, kmeans_means, max_similarity, part_prototypes
from .precision import at_least_single, autocast_bfloat16, fast_bfloat16, full_bmm
from .prototype import cosine_similarity, masked_average_pooling, support_prototypes
from .pyramid_reasoning import PyramidReasoning, neighbourhood_attention, neighbourhood_weights
from .spatial_excitation import SpatialExcitation, excite

__all__ = [
    "VOLUME_WINDOW",
    "CarafeDownsample",
    "CarafeUpsample",
    "ContextRelation",
    "CycleResemblanceAttention",
    "CycleResemblanceBlock",
    "DenseComparison",
    "FlowNet",
    "PyramidReasoning",
    "SpatialExcitation",
    "adaptive_local_prototypes",
    "affine_maps",
    "at_least_single",
    "autocast_bfloat16",
    "cells_of",
    "class_features",
    "correlation_window",
    "compose_flows",
    "cosine_similarity",
    "cycle_resemblance",
    "excite",
    "exporting",
    "fast_bfloat16",
    "full_bmm",
    "grid_prototypes",
    "kmeans_means",
    "label_windows",
    "mapped",
    "masked_average_pooling",
    "max_similarity",
    "neighbourhood_attention",
    "neighbourhood_weights",
    "part_prototypes",
    "reassemble_down",
    "reassemble_up",
    "softmax_similarity",
    "support_prototypes",
    "warp",
]
