# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The few-shot contract, encoders, and one file per method."""

from __future__ import annotations

from .adnet import ADNet
from .alpnet import ALPNet
from .canet import CANet
from .compact_encoder import CompactEncoder
from .compact_encoder_3d import CompactEncoder3D
from .crapnet import CRAPNet
from .data_aug import DataAugNet, Transformations
from .dilated_resnet import DilatedResNet
from .efficientnet_lite import EfficientNetLite0
from .factory import ENCODERS, build_encoder
from .few_shot import FewShotNet
from .frozen_encoder import FrozenEncoder
from .located_segmenter import LocatedSegmenter
from .lt_net import Cycle, LTNet
from .mask_paste import MaskPaste
from .organnet import OrganNet
from .panet import PANet
from .positioned_encoder import PositionedEncoder
from .ppnet import PPNet
from .pretrained import COCO_RESNET101, load_pretrained
from .prnet import PatchFeatures, PRNet
from .remembering import Remembering
from .residual_fcn import ResidualFCN
from .resnext3d import ResNeXt3D
from .rpnet import RPNet
from .se_net import SENet
from .student_unet import StudentUNet
from .supervised_unet import SupervisedUNet
from .two_stage import TwoStageNet

__all__ = [
    "OrganNet",
    "ADNet",
    "ALPNet",
    "CANet",
    "COCO_RESNET101",
    "CRAPNet",
    "CompactEncoder",
    "CompactEncoder3D",
    "Cycle",
    "DataAugNet",
    "DilatedResNet",
    "ENCODERS",
    "EfficientNetLite0",
    "FewShotNet",
    "FrozenEncoder",
    "LTNet",
    "LocatedSegmenter",
    "MaskPaste",
    "PANet",
    "PPNet",
    "PRNet",
    "PatchFeatures",
    "PositionedEncoder",
    "RPNet",
    "ResNeXt3D",
    "Remembering",
    "ResidualFCN",
    "StudentUNet",
    "SENet",
    "SupervisedUNet",
    "Transformations",
    "TwoStageNet",
    "build_encoder",
    "load_pretrained",
]
