# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How well a quality score that needs no label ranks results by their true Dice score."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from monai.metrics import compute_roc_auc
from scipy.stats import spearmanr

__all__ = [
    "MIN_GROUP",
    "Agreement",
    "Auroc",
    "RiskCoverage",
    "auroc",
    "risk_coverage",
    "within_group_spearman",
]

MIN_GROUP = 4  # three pairs in order are chance in one of six cases


@dataclass(frozen=True)
class Agreement:
    """Rank correlation within groups.

    Args:
        rho: median over the groups of Spearman's rho; nan where no group has one.
        groups: group to its rho.
        left_out: group to the reason why it has none.
        pairs: group to its number of pairs, those of ``left_out`` included.
        undefined: pairs left out because a score or a Dice score is nan.
    """

    rho: float
    groups: dict[Hashable, float] = field(default_factory=dict)
    left_out: dict[Hashable, str] = field(default_factory=dict)
    pairs: dict[Hashable, int] = field(default_factory=dict)
    undefined: int = 0


@dataclass(frozen=True)
class Auroc:
    """How well low scores find bad results.

    Args:
        value: the chance that a bad result has a lower score than a good one, 0..1 (0.5: no better than guessing); nan
            where one of the two kinds is missing.
        bad: number of results with a Dice score below the limit.
        good: number of the others.
        undefined: results left out because a score or a Dice score is nan.
        reason: why ``value`` is nan; empty otherwise.
    """

    value: float
    bad: int
    good: int
    undefined: int = 0
    reason: str = ""


@dataclass(frozen=True)
class RiskCoverage:
    """What is risked by keeping the results of the highest scores.

    Args:
        coverage: share of the results that are kept, 1/n to 1.
        risk: mean risk (1 - Dice) of those that are kept.
        aurc: area under this curve, 0..1, lower is better; nan where there is no result.
        optimal: the same for a score that ranks by the Dice itself.
        random: the expected area for a score that says nothing: the mean risk of all results.
        undefined: results left out because a score or a Dice score is nan.
    """

    coverage: np.ndarray
    risk: np.ndarray
    aurc: float
    optimal: float
    random: float
    undefined: int = 0


def within_group_spearman(
    scores: Sequence[float] | np.ndarray, dices: Sequence[float] | np.ndarray, groups: Sequence[Hashable]
) -> Agreement:
    """Median over groups, such as organs, of Spearman's rho between score and Dice within the group.

    Within, because a score that only tells the easy organ from the difficult one says nothing about a result.

    Args:
        scores: one quality score for each result, of any unit; higher is better.
        dices: the true Dice scores, in the same order.
        groups: what each result belongs to.

    Returns:
        See :class:`Agreement`. A group of fewer than four pairs is left out, and so is one whose scores or Dice scores
        are all equal: it has no order. Equal values share their mean rank.

    Raises:
        ValueError: where the numbers of values differ.
    """
    x, y, undefined = _pairs(scores, dices)
    if len(groups) != len(x):
        raise ValueError(f"groups: {len(groups)} for {len(x)} scores. Name the group of each result.")
    defined = ~(np.isnan(x) | np.isnan(y))
    rhos: dict[Hashable, float] = {}
    reasons: dict[Hashable, str] = {}
    pairs: dict[Hashable, int] = {}
    for group in dict.fromkeys(groups):
        own = defined & np.array([other == group for other in groups])
        pairs[group] = int(own.sum())
        reason = _no_order(x[own], y[own])
        if reason:
            reasons[group] = reason
        else:
            rhos[group] = float(spearmanr(x[own], y[own]).statistic)
    median = float(np.median(list(rhos.values()))) if rhos else math.nan
    return Agreement(median, rhos, reasons, pairs, undefined)


def auroc(scores: Sequence[float] | np.ndarray, dices: Sequence[float] | np.ndarray, below: float = 0.6) -> Auroc:
    """Area under the ROC curve of finding results of ``Dice < below`` by a low score.

    The share of pairs of a bad and a good result in which the bad one has the lower score; an equal score counts one
    half.

    Args:
        scores: one quality score for each result; higher is better.
        dices: the true Dice scores, fractions 0..1, in the same order.
        below: results of a lower Dice score are bad. Default 0.6.

    Returns:
        See :class:`Auroc`.

    Raises:
        ValueError: where the numbers of values differ, or a Dice score is outside 0..1.
    """
    x, y, undefined = _pairs(scores, dices)
    _check_fractions(y)
    defined = ~(np.isnan(x) | np.isnan(y))
    x, bad = x[defined], y[defined] < below
    n_bad, n_good = int(bad.sum()), int((~bad).sum())
    if not n_bad or not n_good:
        missing = f"no result has a Dice score {'below' if not n_bad else 'of at least'} {below:g}"
        return Auroc(math.nan, n_bad, n_good, undefined, missing)
    area = cast(float, compute_roc_auc(torch.from_numpy(-x), torch.from_numpy(bad.astype(int))))
    return Auroc(area, n_bad, n_good, undefined)


def risk_coverage(scores: Sequence[float] | np.ndarray, dices: Sequence[float] | np.ndarray) -> RiskCoverage:
    """Risk-coverage curve and the area under it (AURC): is what a score lets pass good?

    The results are kept in the order of falling scores; at each coverage k/n the risk is the mean of 1 - Dice over the
    k that are kept, and AURC is the mean of these risks over k = 1..n. Equal scores have no order: their results are
    taken at their mean risk, which is what a random order gives on average.

    Args:
        scores: one quality score for each result; higher is better.
        dices: the true Dice scores, fractions 0..1, in the same order.

    Returns:
        See :class:`RiskCoverage`.

    Raises:
        ValueError: where the numbers of values differ, or a Dice score is outside 0..1.

    Source: Zenk et al., Benchmarking failure detection in medical image segmentation (2024), who rank whole scans by
    their mean Dice; here a result is whatever is given.
    """
    x, y, undefined = _pairs(scores, dices)
    _check_fractions(y)
    defined = ~(np.isnan(x) | np.isnan(y))
    x, risks = x[defined], 1 - y[defined]
    if not x.size:
        return RiskCoverage(x, x, math.nan, math.nan, math.nan, undefined)
    order = np.argsort(-x, kind="stable")
    _, group = np.unique(-x[order], return_inverse=True)
    sums = np.bincount(group, risks[order])
    kept = np.arange(1, x.size + 1)
    curve = np.cumsum((sums / np.bincount(group))[group]) / kept
    best = np.cumsum(np.sort(risks)) / kept
    return RiskCoverage(kept / x.size, curve, float(curve.mean()), float(best.mean()), float(risks.mean()), undefined)


def _check_fractions(dices: np.ndarray) -> None:
    if np.any((dices < 0) | (dices > 1)):
        raise ValueError(
            f"dices: {np.nanmin(dices):g} to {np.nanmax(dices):g} are no Dice scores. Give fractions 0..1."
        )


def _pairs(
    scores: Sequence[float] | np.ndarray, dices: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    x, y = np.asarray(scores, dtype=float), np.asarray(dices, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(
            f"scores, dices: two lists of one length are needed, but their shapes are {x.shape} and {y.shape}. "
            "Give one of each for every result."
        )
    return x, y, int((np.isnan(x) | np.isnan(y)).sum())


def _no_order(x: np.ndarray, y: np.ndarray) -> str:
    """Why there is no rank correlation; empty where there is one."""
    if x.size < MIN_GROUP:
        return f"{x.size} of at least {MIN_GROUP} pairs"
    if np.ptp(x) == 0:
        return f"all scores are {x[0]:g}"
    if np.ptp(y) == 0:
        return f"all Dice scores are {y[0]:g}"
    return ""
