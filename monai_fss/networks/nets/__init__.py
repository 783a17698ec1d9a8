# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The few-shot contract, encoders, and one file per method."""

from __future__ import annotations

from .adnet import ADNet
from .compact_encoder import CompactEncoder
from .dilated_resnet import DilatedResNet
from .factory import ENCODERS, build_encoder
from .few_shot import FewShotNet
from .mask_paste import MaskPaste
from .positioned_encoder import PositionedEncoder
from .pretrained import COCO_RESNET101, load_pretrained

__all__ = [
    "ADNet",
    "COCO_RESNET101",
    "CompactEncoder",
    "DilatedResNet",
    "ENCODERS",
    "FewShotNet",
    "MaskPaste",
    "PositionedEncoder",
    "build_encoder",
    "load_pretrained",
]
