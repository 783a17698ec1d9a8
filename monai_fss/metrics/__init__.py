# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Strict Dice, surface distances in mm, significance tests, and the baselines to beat."""

from __future__ import annotations

from .baselines import affine_moved_mask, best_threshold_mask
from .dice import STATES, Score, mean_dice, score, strict_dice
from .quality_ranking import Agreement, Auroc, auroc, within_group_spearman
from .selection import Choice, coverage, expected_gains, farthest_first, likeness, medoid, nearest_to_average
from .statistics import Test, holm, wilcoxon_one_sided
from .surface import assd, hd95, surface_distances

__all__ = [
    "STATES",
    "Agreement",
    "Auroc",
    "Choice",
    "Score",
    "Test",
    "affine_moved_mask",
    "assd",
    "auroc",
    "best_threshold_mask",
    "coverage",
    "expected_gains",
    "farthest_first",
    "hd95",
    "holm",
    "likeness",
    "mean_dice",
    "medoid",
    "nearest_to_average",
    "score",
    "strict_dice",
    "surface_distances",
    "wilcoxon_one_sided",
    "within_group_spearman",
]
