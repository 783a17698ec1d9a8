# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Strict Dice, surface distances in mm, significance tests, and the baselines to beat."""

from __future__ import annotations

from .baselines import affine_moved_mask, best_threshold_mask
from .dice import STATES, Score, mean_dice, per_class, score, strict_dice
from .statistics import Test, holm, wilcoxon_one_sided
from .surface import assd, hd95, surface_distances

__all__ = [
    "STATES",
    "Score",
    "Test",
    "affine_moved_mask",
    "assd",
    "best_threshold_mask",
    "hd95",
    "holm",
    "mean_dice",
    "per_class",
    "score",
    "strict_dice",
    "surface_distances",
    "wilcoxon_one_sided",
]
