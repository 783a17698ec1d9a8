# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The tables of one evaluation: mean and deviation as the papers' tables define them, each in its way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from monai_fss.metrics import FEW, mean_interval, tolerance_mm
from monai_fss.results.baselines import is_baseline
from monai_fss.results.markdown import markdown_table
from monai_fss.results.quality_table import quality_blocks
from monai_fss.results.spread import DEFAULT_SPREAD, MEASURES, SPREADS, case_values, scale_of, spread_values

if TYPE_CHECKING:
    from monai_fss.results.entries import Entry, Results

__all__ = ["MEAN", "Cell", "format_results", "markdown_table", "summarize"]

MEAN = "Mean"


class Cell(NamedTuple):
    """One cell of a table: mean and deviation of n values (percent for Dice, mm for distances)."""

    mean: float
    sd: float
    n: int

    def __str__(self) -> str:
        if self.n == 0:
            return "-"
        return f"{self.mean:.2f}" if self.n == 1 else f"{self.mean:.2f} ± {self.sd:.2f}"


def summarize(results: Results, measure: str = "dice", spread: str = DEFAULT_SPREAD) -> dict[str, dict[str, Cell]]:
    """Mean and population standard deviation (ddof 0) of each method and organ, and of their "Mean".

    Over which values they are is said by ``spread``, see :data:`monai_fss.results.SPREADS`. Volumes where the measure
    is undefined are left out.

    Args:
        results: the scores.
        measure: "dice" or "nsd" (in percent), "hd95" or "assd" (in mm).
        spread: Default "folds", by which the deviations of the Mean columns in Tables 1 and 2 of the ADNet paper are
            reproduced.

    Returns:
        ``{method: {organ: Cell}}`` in the order of the scores, with "Mean" last. A cell of n = 0 has the mean nan.

    Raises:
        ValueError: for another measure or spread.
    """
    scale_of(measure)
    organs = _unique(entry.name for entry in results.entries)
    table = {}
    for method in _unique(entry.method for entry in results.entries):
        own = [entry for entry in results.entries if entry.method == method]
        of, every = spread_values(own, measure, spread)
        table[method] = {**{organ: _cell(of.get(organ, [])) for organ in organs}, MEAN: _cell(every)}
    return table


def format_results(results: Results, spread: str = DEFAULT_SPREAD) -> str:
    """The text of ``results.md``: settings, tables with the definition of their deviations, and what is missing.

    Args:
        results: the scores.
        spread: see :func:`summarize`.

    Returns:
        Markdown.
    """
    blocks = [_header(results)]
    for measure, title in MEASURES.items():
        if measure == "nsd" and all(math.isnan(entry.nsd) for entry in results.entries):
            continue  # scores of before it was measured
        blocks += [f"## {title}", _measure_table(results, measure, spread)]
        blocks += [SPREADS[spread], _intervals(results), _absent(results)] if measure == "dice" else []
        blocks += [_tolerances(results)] if measure == "nsd" else []
    return "\n\n".join([*blocks, _undefined(results), *quality_blocks(results)]) + "\n"


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _cell(values: Sequence[float]) -> Cell:
    return Cell(float(np.mean(values)), float(np.std(values)), len(values)) if values else Cell(math.nan, math.nan, 0)


def _measure_table(results: Results, measure: str, spread: str) -> str:
    table = summarize(results, measure, spread)
    organs = list(next(iter(table.values()), {MEAN: None}))
    shown = {method: row for method, row in table.items() if measure == "dice" or not is_baseline(method)}
    rows = [[name, *map(str, row.values()), *_interval_cells(results, name, measure)] for name, row in shown.items()]
    return markdown_table(["Method", *organs, "n", "95 % CI (t)", "95 % CI (BCa)"], rows)


def _interval_cells(results: Results, method: str, measure: str) -> list[str]:
    """Number of cases, and the intervals of the mean over them."""
    own = mean_interval(case_values([entry for entry in results.entries if entry.method == method], measure))
    ends = ["-" if math.isnan(low) else f"{low:.1f} to {high:.1f}" for low, high in (own.t, own.bca)]
    return [str(own.n), *ends]


def _intervals(results: Results) -> str:
    cases = len({entry.case for entry in results.entries})
    text = (
        "n: query cases. 95 % confidence intervals of the mean over them, a case being the mean of its organs (and "
        "runs): by Student's t, and by the bootstrap (BCa)."
    )
    return f"{text} n is small ({cases} < {FEW}): read them as a hint." if cases < FEW else text


def _tolerances(results: Results) -> str:
    """Which tolerance each organ has."""
    own = results.settings.get("tolerances", {})
    organs = ", ".join(f"{organ} {tolerance_mm(organ, own):g}" for organ in _unique(e.name for e in results.entries))
    return f"Normalised surface Dice, tolerances in mm: {organs}. An organ that was missed counts 0."


def _header(results: Results) -> str:
    settings = results.settings
    first = ("split", "protocol", "ways", "runs", "labelled_slices")
    queries, cases = len({(entry.fold, entry.case) for entry in results.entries}), {e.case for e in results.entries}
    lines = [f"# {settings['bundle']} on {settings['dataset']}", ""]
    lines += [f"- {key.replace('_', ' ')}: {settings[key]}" for key in first]
    lines.append(f"- queries: {queries}" + (f" (of {len(cases)} cases)" if queries != len(cases) else ""))
    others = [key for key in settings if key not in (*first, "bundle", "dataset")]
    return "\n".join([*lines, *(f"- {key.replace('_', ' ')}: {settings[key]}" for key in others)])


def _where(entry: Entry) -> str:
    return f"{entry.case} ({entry.name}; {entry.method}; fold {entry.fold}, run {entry.run})"


def _absent(results: Results) -> str:
    wrong = [_where(entry) for entry in results.entries if entry.state == "absent_predicted"]
    right = sum(entry.state == "absent" for entry in results.entries)
    text = f"Absent organs: {len(wrong)} predicted all the same (scored 0, in the means)"
    listed = ":\n\n" + "\n".join(f"- {item}" for item in wrong) + "\n\n" if wrong else "; "
    return f"{text}{listed}{right} neither present nor predicted (left out of the means)."


def _undefined(results: Results) -> str:
    """What is missing from the tables of distances: of the baselines all of them, which are not measured."""
    measured = [entry for entry in results.entries if not is_baseline(entry.method)]
    missing = [_where(entry) for entry in measured if entry.state == "scored" and math.isnan(entry.hd95)]
    baselines = _unique(entry.method for entry in results.entries if is_baseline(entry.method))
    text = f"Distances are undefined, and left out, where nothing was predicted of a present organ: {len(missing)}"
    text += ":\n\n" + "\n".join(f"- {item}" for item in missing) if missing else "."
    return f"{text}\n\nThe baselines ({', '.join(baselines)}) are compared by Dice alone." if baselines else text
