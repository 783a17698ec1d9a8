# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Compare two evaluations query by query."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monai_fss.metrics import Test, holm, wilcoxon_one_sided
from monai_fss.results.entries import Entry, Results
from monai_fss.results.markdown import markdown_table
from monai_fss.results.spread import SPREADS
from monai_fss.results.tables import MEAN, summarize

__all__ = ["PAIR", "Comparison", "Row", "compare", "format_comparison", "format_means", "not_compared"]

SAME_SETTINGS = ("dataset", "split", "protocol", "ways")
_EP1_RULE = "ep1_rule"  # results of earlier versions do not say it: there was ADNet's alone
PAIR = "A pair of the test is one query case, not one organ of it"
"""What the tests count, in words; :func:`compare` says it exactly."""


@dataclass(frozen=True)
class Row:
    """One line of a comparison: an organ, or the mean over organs.

    Args:
        name: the organ, or "Mean".
        mean_a: mean Dice of A over the compared queries, a fraction.
        mean_b: the same of B.
        a_greater: test of A > B.
        b_greater: test of B > A.
        p_a_greater: p value of A > B after Holm's correction over all lines.
        p_b_greater: p value of B > A after Holm's correction over all lines.
    """

    name: str
    mean_a: float
    mean_b: float
    a_greater: Test
    b_greater: Test
    p_a_greater: float
    p_b_greater: float


@dataclass(frozen=True)
class Comparison:
    """Two evaluations side by side.

    Args:
        method_a: the method compared, of the first result.
        method_b: the method compared, of the second result.
        settings_a: settings of the first result.
        settings_b: settings of the second result.
        queries: the cases in both, which are compared.
        only_a: cases in the first result only.
        only_b: cases in the second result only.
        organs_only_a: organs in the first result only.
        organs_only_b: organs in the second result only.
        left_out: (case, organ) pairs without a Dice score on one side or both (an absent organ).
        rows: one for each organ in both, then the mean.
    """

    method_a: str
    method_b: str
    settings_a: dict[str, Any]
    settings_b: dict[str, Any]
    queries: list[str]
    only_a: list[str]
    only_b: list[str]
    organs_only_a: list[str]
    organs_only_b: list[str]
    left_out: list[tuple[str, str]]
    rows: list[Row]


def compare(
    results_a: Results, results_b: Results, *, method_a: str | None = None, method_b: str | None = None
) -> Comparison:
    """Test whether one evaluation is better than another on the same queries.

    A pair is one query case: each organ's Dice is averaged over the runs (and over folds, where a case is a query in
    several), and for the line "Mean" then over the organs; the test of an organ pairs its own. n is thus the number
    of cases, whatever the number of organs, runs and slices. (ADNet's paper tests "the mean dice scores across all
    runs" and does not say what its pairs are.) Only queries and organs of both results count; an organ that has no
    score in a query on one side (absent, and rightly not predicted) is left out of that query on both sides. Each
    direction is tested by a one-sided Wilcoxon signed-rank test, for the mean and for each organ, and its p values are
    corrected by Holm's method over that family (all organs and the mean).

    Args:
        results_a: first result, A.
        results_b: second result, B.
        method_a: which method of A; default its bundle's own (not the baselines), ``settings["bundle"]``.
        method_b: which method of B; default its bundle's own.

    Returns:
        The tests and what was compared.

    Raises:
        ValueError: where data set, split, protocol or its rule, ways, setting or its groups differ, a result does not
            have the method, or the two have no query or organ in common.
    """
    _check_settings(results_a.settings, results_b.settings)
    names = method_a or str(results_a.settings["bundle"]), method_b or str(results_b.settings["bundle"])
    scores_a, scores_b = _by_organ(results_a, names[0], "A"), _by_organ(results_b, names[1], "B")
    organs = [organ for organ in scores_a if organ in scores_b]
    cases_a, cases_b = _cases(scores_a), _cases(scores_b)
    queries = sorted(cases_a & cases_b)
    if not organs or not queries:
        raise ValueError(
            f"A and B: no common {'query' if organs else 'organ'} (A has {sorted(cases_a)} with {list(scores_a)}, "
            f"B has {sorted(cases_b)} with {list(scores_b)}). Compare two evaluations of the same data set."
        )
    a, b = _table(scores_a, organs, queries), _table(scores_b, organs, queries)
    unscored = np.isnan(a) | np.isnan(b)
    a[unscored], b[unscored] = math.nan, math.nan
    return Comparison(
        *names,
        settings_a=results_a.settings,
        settings_b=results_b.settings,
        queries=queries,
        only_a=sorted(cases_a - cases_b),
        only_b=sorted(cases_b - cases_a),
        organs_only_a=[organ for organ in scores_a if organ not in scores_b],
        organs_only_b=[organ for organ in scores_b if organ not in scores_a],
        left_out=[(queries[row], organs[column]) for row, column in np.argwhere(unscored)],
        rows=_rows(organs, a, b),
    )


def format_comparison(comparison: Comparison) -> str:
    """A comparison as Markdown that also reads as plain text.

    Args:
        comparison: what :py:func:`compare` returned.

    Returns:
        The text, with a final line break.
    """
    a, b = comparison.settings_a, comparison.settings_b
    lines = [f"# A: {comparison.method_a}, B: {comparison.method_b}", ""]
    lines += [f"- {key}: {a[key]}" for key in SAME_SETTINGS]
    lines += [f"- ep1 rule: {a[_EP1_RULE]}"] if _EP1_RULE in a else []
    rules = [settings.get("anchor_rule", "the split's own support") for settings in (a, b)]
    lines += [f"- anchor rule: {rules[0]} (A), {rules[1]} (B)"] if rules[0] != rules[1] else []
    for key in ("runs", "labelled_slices"):
        lines.append(f"- {key.replace('_', ' ')}: {a[key]}" + (f" (A), {b[key]} (B)" if a[key] != b[key] else ""))
    lines.append(f"- queries compared: n = {len(comparison.queries)}")
    for title, items in not_compared(comparison).items():
        lines.append(f"- {title}: {', '.join(items)}")
    head = ["Dice (%)", "A", "B", "A - B", "n", "differing", "p (A > B)", "Holm", "p (B > A)", "Holm"]
    table = markdown_table(head, [_cells(row) for row in comparison.rows])
    family = len(comparison.rows)
    note = (
        f"One-sided Wilcoxon signed-rank tests. {PAIR}: in the line of an organ its Dice of that organ, in the line "
        f"{MEAN} its mean Dice over the organs, each averaged over runs (and over folds, where it is a query in "
        f"several). Holm: corrected over the {family} tests of one direction (organs and mean)."
    )
    return "\n".join([*lines, "", table, "", note, ""])


def format_means(results_a: Results, results_b: Results, comparison: Comparison, spread: str) -> str:
    """The Dice of both by all of their queries, with deviations as in ``results.md`` of an evaluation, as Markdown.

    Args:
        results_a, results_b: what was compared.
        comparison: what :py:func:`compare` returned of them.
        spread: what the deviations are over, see :data:`monai_fss.results.SPREADS`.

    Returns:
        The text, with a final line break.
    """
    sides = (("A", results_a, comparison.method_a), ("B", results_b, comparison.method_b))
    of = {f"{side}: {method}": summarize(found, spread=spread)[method] for side, found, method in sides}
    organs = list(dict.fromkeys(organ for row in of.values() for organ in row if organ != MEAN))
    rows = [[name, *(str(row.get(organ, "-")) for organ in (*organs, MEAN))] for name, row in of.items()]
    title = "## Dice (%) of each by all of its queries"
    return "\n\n".join([title, markdown_table(["Method", *organs, MEAN], rows), SPREADS[spread]]) + "\n"


def not_compared(comparison: Comparison, a: str = "A", b: str = "B") -> dict[str, list[str]]:
    """What a comparison left out: text to the queries, organs or both that it is about; empty where it is nothing.

    Args:
        comparison: what :py:func:`compare` returned.
        a, b: names of the two in the texts.
    """
    listed = {
        f"queries in {a} only, left out": comparison.only_a,
        f"queries in {b} only, left out": comparison.only_b,
        f"organs in {a} only, left out": comparison.organs_only_a,
        f"organs in {b} only, left out": comparison.organs_only_b,
        "without a score on one side or both, left out": [f"{case} {organ}" for case, organ in comparison.left_out],
    }
    return {text: items for text, items in listed.items() if items}


def _check_settings(a: dict[str, Any], b: dict[str, Any]) -> None:
    if a.get("setting", 1) != b.get("setting", 1):
        raise ValueError("A and B: one is of setting 1 and the other of setting 2. Evaluate both in the same setting.")
    for key in SAME_SETTINGS:
        if a[key] != b[key]:
            raise ValueError(
                f"A and B: {key} is {a[key]!r} in A and {b[key]!r} in B, so their scores do not compare. "
                f"Evaluate both with the same {key}."
            )
    rules = [each.get(_EP1_RULE, "shown") for each in (a, b)]
    if rules[0] != rules[1]:
        raise ValueError(
            f"A and B: the rule of EP1 is {rules[0]!r} in A and {rules[1]!r} in B, so their scores are of other slices."
            " Evaluate both with the same --ep1-rule."
        )
    if a.get("setting", 1) == 2 and _groups(a) != _groups(b):
        raise ValueError(
            f"A and B: groups is {a.get('groups')!r} in A and {b.get('groups')!r} in B, so their trainings did not "
            "leave out the same classes together, or one is of an earlier version that stored label values or a text. "
            "Evaluate both with the same --groups."
        )


def _groups(settings: dict[str, Any]) -> Any:
    """The groups of setting 2 in whatever order; what is no list of groups as it is."""
    groups = settings.get("groups")
    if not isinstance(groups, list) or not all(isinstance(group, list) for group in groups):
        return groups
    return {frozenset(group) for group in groups}


def _by_organ(results: Results, method: str, side: str) -> dict[str, dict[str, list[float]]]:
    """Dice scores over runs and folds by organ and case."""
    entries: list[Entry] = [entry for entry in results.entries if entry.method == method]
    if not entries:
        known = sorted({entry.method for entry in results.entries})
        raise ValueError(f"{side}: no score of the method {method!r}, only of {known}. Name one of these.")
    scores: dict[str, dict[str, list[float]]] = {}
    for entry in entries:
        scores.setdefault(entry.name, {}).setdefault(entry.case, []).append(entry.dice)
    return scores


def _cases(scores: dict[str, dict[str, list[float]]]) -> set[str]:
    return {case for organ in scores.values() for case in organ}


def _nanmean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")  # nan is what we want there
        return np.nanmean(values, axis=axis)


def _table(scores: dict[str, dict[str, list[float]]], organs: Sequence[str], queries: Sequence[str]) -> np.ndarray:
    """Mean over runs: (queries, organs)."""
    return np.array([[_nanmean(np.array(scores[organ].get(case, [math.nan]))) for organ in organs] for case in queries])


def _rows(organs: Sequence[str], a: np.ndarray, b: np.ndarray) -> list[Row]:
    columns_a = [*a.T, _nanmean(a, axis=1)]
    columns_b = [*b.T, _nanmean(b, axis=1)]
    pairs = list(zip(columns_a, columns_b, strict=True))
    greater = [wilcoxon_one_sided(first, second) for first, second in pairs]
    smaller = [wilcoxon_one_sided(second, first) for first, second in pairs]
    p_greater, p_smaller = holm([test.p for test in greater]), holm([test.p for test in smaller])
    means = [(float(_nanmean(first)), float(_nanmean(second))) for first, second in pairs]
    return [
        Row(name, *means[i], greater[i], smaller[i], p_greater[i], p_smaller[i])
        for i, name in enumerate([*organs, MEAN])
    ]


def _cells(row: Row) -> list[str]:
    means = [f"{100 * value:.2f}" for value in (row.mean_a, row.mean_b)]
    p_values = [row.a_greater.p, row.p_a_greater, row.b_greater.p, row.p_b_greater]
    counts = [str(row.a_greater.n), str(row.a_greater.n_nonzero)]
    return [row.name, *means, f"{100 * (row.mean_a - row.mean_b):+.2f}", *counts, *(f"{p:.4f}" for p in p_values)]
