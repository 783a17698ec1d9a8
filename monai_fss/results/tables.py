# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The tables of one evaluation: mean and deviation as the papers' tables define them, each in its way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from monai_fss.metrics import auroc, within_group_spearman
from monai_fss.results.baselines import is_baseline
from monai_fss.results.spread import DEFAULT_SPREAD, SPREADS, spread_values

if TYPE_CHECKING:
    from monai_fss.results.entries import Entry, Results

__all__ = ["MEAN", "Cell", "format_results", "markdown_table", "summarize"]

MEAN = "Mean"
BAD = 0.6  # masks of a lower Dice score have to be drawn anew, not corrected


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
        measure: "dice" (in percent), "hd95" or "assd" (in mm).
        spread: Default "folds", by which the deviations of the Mean columns in Tables 1 and 2 of the ADNet paper are
            reproduced.

    Returns:
        ``{method: {organ: Cell}}`` in the order of the scores, with "Mean" last. A cell of n = 0 has the mean nan.

    Raises:
        ValueError: for another measure or spread.
    """
    if measure not in ("dice", "hd95", "assd"):
        raise ValueError(f"measure: unknown measure {measure!r}. Use dice, hd95 or assd.")
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
    for measure, title in (("dice", "Dice (%)"), ("hd95", "HD95 (mm)"), ("assd", "ASSD (mm)")):
        blocks += [f"## {title}", _measure_table(results, measure, spread)]
        blocks += [SPREADS[spread], _absent(results)] if measure == "dice" else []
    return "\n\n".join([*blocks, _undefined(results), *_quality(results)]) + "\n"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that also reads well as plain text: padded columns, numbers to the right.

    Args:
        head: column titles.
        rows: one list of cells for each row, as long as ``head``.

    Returns:
        The table without a final line break.
    """
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(head))]
    lines = []
    for row in cells:
        first, *others = zip(row, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        lines.append("| " + " | ".join(padded) + " |")
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]])


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _cell(values: Sequence[float]) -> Cell:
    return Cell(float(np.mean(values)), float(np.std(values)), len(values)) if values else Cell(math.nan, math.nan, 0)


def _measure_table(results: Results, measure: str, spread: str) -> str:
    table = summarize(results, measure, spread)
    organs = list(next(iter(table.values()), {MEAN: None}))
    shown = {method: row for method, row in table.items() if measure == "dice" or not is_baseline(method)}
    return markdown_table(["Method", *organs], [[method, *map(str, row.values())] for method, row in shown.items()])


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


def _quality(results: Results) -> list[str]:
    """How well the label-free quality, and the mere volume, rank the masks; nothing where it was not measured."""
    measured = [entry for entry in results.entries if not math.isnan(entry.quality)]
    methods = _unique(entry.method for entry in measured)
    if not methods:
        return []
    rows = []
    for method in methods:
        title = f"{method}: " if len(methods) > 1 else ""
        rows += _quality_rows(title, [entry for entry in measured if entry.method == method])
    head = ["Score", "Spearman (median over organs)", "organs", f"AUROC (Dice < {BAD})", "of these", "masks"]
    return ["## Label-free quality against the Dice score", markdown_table(head, rows)]


def _quality_rows(title: str, own: Sequence[Entry]) -> list[list[str]]:
    """Two rows, of one method."""
    dices, organs = [entry.dice for entry in own], [entry.name for entry in own]
    rows = []
    for name, scores in (("quality", [e.quality for e in own]), ("organ volume", [e.volume_ml for e in own])):
        ranks, found = within_group_spearman(scores, dices, organs), auroc(scores, dices, BAD)
        numbers = [f"{ranks.rho:.2f}", str(len(ranks.groups)), f"{found.value:.2f}", str(found.bad), str(len(own))]
        rows.append([title + name, *numbers])
    return rows
