# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The table of an evaluation that says what a label-free quality score is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from monai_fss.metrics import auroc, conformal_radius, coverage_left_out, risk_coverage, within_group_spearman
from monai_fss.results.markdown import markdown_table

if TYPE_CHECKING:
    from monai_fss.results.entries import Entry, Results

__all__ = ["BAD", "quality_blocks"]

BAD = 0.6
"""Masks of a lower Dice score have to be drawn anew, not corrected."""
SURE = 0.9
"""Probability with which the interval about a quality score holds the Dice score."""


def quality_blocks(results: Results) -> list[str]:
    """How well the label-free quality, and the mere volume, rank the masks, as blocks of Markdown.

    Args:
        results: the scores; nothing comes of those whose quality was not measured.
    """
    measured = [entry for entry in results.entries if not math.isnan(entry.quality)]
    methods = list(dict.fromkeys(entry.method for entry in measured))
    if not methods:
        return []
    rows = []
    for method in methods:
        title = f"{method}: " if len(methods) > 1 else ""
        rows += _quality_rows(title, [entry for entry in measured if entry.method == method])
    head = ["Score", "Spearman (median over organs)", "organs", f"AUROC (Dice < {BAD})", "of these", "AURC", "masks"]
    note = (
        "AURC: area under the risk-coverage curve, in percent: the mean of 1 - Dice over the masks of the highest "
        "scores, averaged over all shares of the masks that may be kept; lower is better."
    )
    intervals = [_interval(method, [entry for entry in measured if entry.method == method]) for method in methods]
    return ["## Label-free quality against the Dice score", markdown_table(head, rows), note, *filter(None, intervals)]


def _interval(method: str, own: Sequence[Entry]) -> str:
    """What the quality says of the Dice score of a single mask; nothing with too few of them."""
    scores, dices = [entry.quality for entry in own], [entry.dice for entry in own]
    radius = conformal_radius(scores, dices, SURE)
    if not math.isfinite(radius):
        return ""
    share, count = coverage_left_out(scores, dices, [(entry.fold, entry.case) for entry in own], SURE)
    held = f"; by the other scans' masks it held for {100 * share:.0f} % of {count}" if count else ""
    return f"{method}: the Dice lies within {radius:.2f} of the quality for {100 * SURE:.0f} % of the masks{held}."


def _quality_rows(title: str, own: Sequence[Entry]) -> list[list[str]]:
    """One row for each score of a method, and what the best and no knowledge would give."""
    dices, organs = [entry.dice for entry in own], [entry.name for entry in own]
    rows = []
    for name, scores in (("quality", [e.quality for e in own]), ("organ volume", [e.volume_ml for e in own])):
        ranks, found, risk = (
            within_group_spearman(scores, dices, organs),
            auroc(scores, dices, BAD),
            risk_coverage(scores, dices),
        )
        numbers = [f"{ranks.rho:.2f}", str(len(ranks.groups)), f"{found.value:.2f}", str(found.bad)]
        rows.append([title + name, *numbers, f"{100 * risk.aurc:.1f}", str(len(own))])
    bounds = risk_coverage(dices, dices)
    for name, area in (("the Dice itself", bounds.optimal), ("no score", bounds.random)):
        rows.append([title + name, "-", "-", "-", "-", f"{100 * area:.1f}", str(len(own))])
    return rows
