# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Ignite handlers that Ignite and MONAI lack."""

from __future__ import annotations

from .label_correction import LabelCorrection
from .progress import TrainingProgress
from .reseed import Reseed
from .training_files import TrainingFiles

__all__ = ["LabelCorrection", "Reseed", "TrainingFiles", "TrainingProgress"]
