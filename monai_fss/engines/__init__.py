# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What MONAI's engines lack."""

from __future__ import annotations

from .evaluators import DiceEvaluator, FewShotEvaluator
from .learning_rate import falling_rate
from .organ_stages import OrganStages
from .pairs import PrepareBatchPairs
from .patches import PrepareBatchPatches
from .scan_by_scan import FailedScans, ScanEvaluator
from .setting_checks import check_settings
from .teaching import StudentOdds, Teaching
from .trainer import FewShotTrainer, ResumableTrainer

__all__ = [
    "DiceEvaluator",
    "FailedScans",
    "FewShotEvaluator",
    "FewShotTrainer",
    "OrganStages",
    "PrepareBatchPairs",
    "PrepareBatchPatches",
    "ResumableTrainer",
    "ScanEvaluator",
    "StudentOdds",
    "Teaching",
    "check_settings",
    "falling_rate",
]
