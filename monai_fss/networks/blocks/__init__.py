# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Building blocks that the few-shot networks share."""

from __future__ import annotations

from .carafe import CarafeDownsample, CarafeUpsample, reassemble_down, reassemble_up
from .cycle_resemblance import CycleResemblanceAttention, CycleResemblanceBlock, cycle_resemblance
from .exporting import exporting
from .flow import FlowNet, compose_flows, warp
from .label_windows import VOLUME_WINDOW, label_windows
from .local_prototype import adaptive_local_prototypes, cells_of, grid_prototypes, softmax_similarity
from .precision import at_least_single, fast_bfloat16, full_bmm
from .prototype import cosine_similarity, masked_average_pooling, support_prototypes
from .pyramid_reasoning import PyramidReasoning, neighbourhood_attention, neighbourhood_weights

__all__ = [
    "VOLUME_WINDOW",
    "CarafeDownsample",
    "CarafeUpsample",
    "CycleResemblanceAttention",
    "CycleResemblanceBlock",
    "FlowNet",
    "PyramidReasoning",
    "adaptive_local_prototypes",
    "at_least_single",
    "cells_of",
    "compose_flows",
    "cosine_similarity",
    "cycle_resemblance",
    "exporting",
    "fast_bfloat16",
    "full_bmm",
    "grid_prototypes",
    "label_windows",
    "masked_average_pooling",
    "neighbourhood_attention",
    "neighbourhood_weights",
    "reassemble_down",
    "reassemble_up",
    "softmax_similarity",
    "support_prototypes",
    "warp",
]
