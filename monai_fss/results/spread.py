# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What the mean and the deviation of a table's cell are over: every paper has a definition of its own."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from monai_fss.results.entries import Entry

__all__ = ["DEFAULT_SPREAD", "MEASURES", "SPREADS", "case_values", "scale_of", "spread_values"]

MEASURES = {"dice": "Dice (%)", "nsd": "NSD (%)", "hd95": "HD95 (mm)", "assd": "ASSD (mm)"}
"""Measures of an entry, with their titles."""
DEFAULT_SPREAD = "folds"
SPREADS = {
    "folds": (
        "Organ cells: mean ± population standard deviation (ddof 0) over the (fold, run) values, each the mean over "
        "that fold's queries. Mean column: mean ± population standard deviation over the organ means."
    ),
    "pooled": (
        "Organ cells: mean ± population standard deviation (ddof 0) over the (fold, run) values, each the mean over "
        "that fold's queries. Mean column: mean ± population standard deviation over the (organ, fold, run) values of "
        "all organs together."
    ),
    "patients": (
        "Organ cells: mean ± population standard deviation (ddof 0) over the query cases, each the mean over its runs "
        "(and over its folds, where it is a query in several). Mean column: the same over the query cases, each the "
        "mean over its organs."
    ),
    "runs": (
        "Organ cells: mean ± population standard deviation (ddof 0) over the runs, each the mean over its queries. "
        "Mean column: the same over the runs, each the mean over the organs. One run has no deviation."
    ),
}
"""Name of each definition to the line below a table. ``folds`` is that of ADNet's Tables 1 and 2, ``pooled`` of the
rows of its 3-D network in Table 8 (both reproduce the printed deviations of the Mean columns), ``patients`` is PRNet's,
over the test patients, and ``runs`` OrganNet's, over three repetitions. These two do not say which ddof they have; 0 is
what reproduces ADNet's."""


def spread_values(
    entries: Sequence[Entry], measure: str = "dice", spread: str = DEFAULT_SPREAD
) -> tuple[dict[str, list[float]], list[float]]:
    """The values that a method's cells are mean and deviation of.

    Args:
        entries: of one method; those where the measure is undefined are left out.
        measure: one of :data:`MEASURES`.
        spread: one of :data:`SPREADS`.

    Returns:
        those of each organ that has any, and those of the column "Mean"; Dice and NSD in percent, distances in mm.

    Raises:
        ValueError: for another spread.
    """
    if spread not in SPREADS:
        raise ValueError(f"spread: unknown definition {spread!r}. Use {', '.join(SPREADS)}.")
    scale = scale_of(measure)
    groups: dict[str, dict[Hashable, list[float]]] = {}
    for entry in entries:
        value = getattr(entry, measure)
        if not math.isnan(value):
            groups.setdefault(entry.name, {}).setdefault(_unit(entry, spread), []).append(value)
    means = {organ: {unit: scale * _mean(values) for unit, values in own.items()} for organ, own in groups.items()}
    of = {organ: list(own.values()) for organ, own in means.items()}
    if spread == "folds":
        return of, [_mean(values) for values in of.values()]
    if spread == "pooled":
        return of, [value for values in of.values() for value in values]
    units = dict.fromkeys(unit for own in means.values() for unit in own)
    return of, [_mean(own[unit] for own in means.values() if unit in own) for unit in units]


def case_values(entries: Sequence[Entry], measure: str = "dice") -> list[float]:
    """One value for each query case: the mean over its organs, each the mean over runs and folds.

    Args:
        entries: of one method; those where the measure is undefined are left out.
        measure: one of :data:`MEASURES`.

    Returns:
        Dice and NSD in percent, distances in mm: what a confidence interval of the mean is made from.
    """
    return spread_values(entries, measure, "patients")[1]


def scale_of(measure: str) -> float:
    """By which a measure is multiplied in tables: fractions are shown in percent.

    Raises:
        ValueError: for a measure that is none of :data:`MEASURES`.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure: unknown measure {measure!r}. Use {', '.join(MEASURES)}.")
    return 1.0 if "mm" in MEASURES[measure] else 100.0


def _unit(entry: Entry, spread: str) -> Hashable:
    """What an entry's score is averaged within."""
    return {"patients": entry.case, "runs": entry.run}.get(spread, (entry.fold, entry.run))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
