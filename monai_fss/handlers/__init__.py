# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Ignite handlers that Ignite and MONAI lack."""

from __future__ import annotations

from .finite_training import FiniteTraining
from .label_correction import LabelCorrection
from .progress import TrainingProgress
from .reseed import Reseed
from .threshold_scores import ThresholdScores
from .training_files import TrainingFiles
from .volume_scores import VolumeScores

__all__ = [
    "FiniteTraining",
    "LabelCorrection",
    "Reseed",
    "ThresholdScores",
    "TrainingFiles",
    "TrainingProgress",
    "VolumeScores",
]
