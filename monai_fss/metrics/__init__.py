# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Strict Dice, surface distances in mm, intervals and significance tests, and the baselines to beat."""

from __future__ import annotations

from .baselines import affine_moved_mask, best_threshold_mask
from .conformal import conformal_interval, conformal_radius, coverage_left_out
from .dice import STATES, Score, mean_dice, score, strict_dice
from .expected_dice import MaskSigns, expected_dice, mask_signs
from .outliers import FAR, robust_z
from .quality_ranking import Agreement, Auroc, RiskCoverage, auroc, risk_coverage, within_group_spearman
from .selection import Choice, coverage, expected_gains, farthest_first, likeness, medoid, nearest_to_average
from .statistics import FEW, Interval, Test, holm, mean_interval, wilcoxon_one_sided
from .surface import assd, hd95, normalised_surface_dice, surface_distances, surface_scores
from .tolerances import DEFAULT_TOLERANCE, TOLERANCES, parse_tolerances, tolerance_mm

__all__ = [
    "DEFAULT_TOLERANCE",
    "FAR",
    "FEW",
    "STATES",
    "TOLERANCES",
    "Agreement",
    "Auroc",
    "Choice",
    "Interval",
    "MaskSigns",
    "RiskCoverage",
    "Score",
    "Test",
    "affine_moved_mask",
    "assd",
    "auroc",
    "best_threshold_mask",
    "conformal_interval",
    "conformal_radius",
    "coverage",
    "coverage_left_out",
    "expected_dice",
    "expected_gains",
    "farthest_first",
    "hd95",
    "holm",
    "likeness",
    "mask_signs",
    "mean_dice",
    "mean_interval",
    "medoid",
    "nearest_to_average",
    "normalised_surface_dice",
    "parse_tolerances",
    "risk_coverage",
    "robust_z",
    "score",
    "strict_dice",
    "surface_distances",
    "surface_scores",
    "tolerance_mm",
    "wilcoxon_one_sided",
    "within_group_spearman",
]
