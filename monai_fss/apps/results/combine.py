# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The results of several methods in one: scores, how each was trained, and tests against the first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from monai_fss.apps.methods.method import Method
from monai_fss.apps.results.compare import PAIR, Comparison, Row, compare, not_compared
from monai_fss.metrics import holm
from monai_fss.results.baselines import MASK_PASTE, UNTRAINED, is_baseline, untrained_name
from monai_fss.results.entries import Entry, Results
from monai_fss.results.markdown import markdown_table
from monai_fss.results.tables import MEAN

__all__ = ["against_first", "combine", "training_table"]

_OF_EACH = ("bundle", "labelled_slices", "model", "training_settings", "versions")
_WEIGHTS = "untrained_network"  # which the baseline has
_TRAINING = {"steps": "steps", "batch_size": "episodes per step", "self_supervision": "self-supervision"}


def combine(parts: Sequence[Results], command: str = "") -> Results:
    """The scores of all methods, and of one baseline of each kind.

    A method without a score, because no class of any support is left, is named in the settings and in a note alone.
    "mask paste" is that of the first method that has it. The untrained network is that of the first trained method,
    and named after it, such as "untrained adnet".

    Args:
        parts: of one method each, on the same data by the same protocol.
        command: that asked for all of them. Default: that of the first.
    """
    entries = [entry for part in parts for entry in part.entries if not is_baseline(entry.method)]
    untrained = _first_with(UNTRAINED, parts)
    if untrained is not None:
        name = untrained_name(_method(untrained))
        entries += [replace(entry, method=name) for entry in _of(UNTRAINED, untrained)]
    pasted = _first_with(MASK_PASTE, parts)
    entries += [] if pasted is None else _of(MASK_PASTE, pasted)
    settings: dict[str, Any] = dict(parts[0].settings)
    if untrained is not None:  # results of earlier versions do not say it: they were random
        settings[_WEIGHTS] = untrained.settings.get(_WEIGHTS, "random")
    for key in _OF_EACH:
        values = {str(part.settings["bundle"]): part.settings[key] for part in parts}
        same = len({json.dumps(value) for value in values.values()}) == 1
        settings[key] = ", ".join(values) if key == "bundle" else settings[key] if same else values
    notes = [f"{part.settings['bundle']}: {note}" for part in parts for note in part.settings["notes"]]
    notes += [f"{_method(part)}: has no score, and is in no table" for part in parts if not _has_scores(part)]
    return Results({**settings, "command": command or settings["command"], "notes": notes}, entries)


def training_table(parts: Sequence[Results]) -> str:
    """Markdown: steps, episodes and self-supervision of each method, and where the methods differ in them.

    They are those of the configuration: the bundle's file, the recipe, and the settings of the evaluation. A method
    without a training has a dash, one without a score is left out.

    Args:
        parts: see :func:`combine`.
    """
    rows = {_method(part): _training(part.settings) for part in parts if _has_scores(part)}
    head = ["Method", *_TRAINING.values()]
    table = markdown_table(head, [[name, *(row.get(key, "-") for key in _TRAINING)] for name, row in rows.items()])
    differing = []
    for key, title in _TRAINING.items():
        values = list(dict.fromkeys(row[key] for row in rows.values() if row))
        differing += [f"{title} ({', '.join(values)})"] if len(values) > 1 else []
    text = f"The trainings differ in {' and in '.join(differing)}: a difference in Dice may come from that."
    return "\n\n".join(["## Training", table, *([text] if differing else [])]) + "\n"


def against_first(parts: Sequence[Results]) -> str:
    """Markdown: each method's mean Dice against that of the first, tested query by query.

    One-sided Wilcoxon signed-rank tests both ways, their p values corrected by Holm's method over the methods. Queries
    and organs that do not count, because one of the two has no score of them, are listed below, and so are methods that
    have no score, or none of a query and organ of the first. The first is the first that has scores.

    Args:
        parts: see :func:`combine`.
    """
    missing = [f"- {_method(part)}: has no score, left out" for part in parts if not _has_scores(part)]
    scored = [part for part in parts if _has_scores(part)]
    compared = []
    for part in scored[1:]:
        if _share(part, scored[0]):
            compared.append(compare(part, scored[0], method_a=_method(part), method_b=_method(scored[0])))
        else:
            missing.append(f"- {_method(part)}: has no query or no organ of {_method(scored[0])}, left out")
    missing += [line for comparison in compared for line in _missing(comparison)]
    title = f"## Mean Dice (%) against {_method((scored or parts)[0])}"
    blocks = [title, *(_tests(compared) if compared else []), *(["\n".join(missing)] if missing else [])]
    return "\n\n".join(blocks) + "\n"


def _tests(compared: Sequence[Comparison]) -> list[str]:
    """Table and note."""
    means = [next(row for row in comparison.rows if row.name == MEAN) for comparison in compared]
    better, worse = holm([row.a_greater.p for row in means]), holm([row.b_greater.p for row in means])
    head = ["Method", "Mean", "difference", "n", "p (better)", "Holm", "p (worse)", "Holm"]
    cells = [
        [comparison.method_a, *_cells(row, better[i], worse[i])]
        for i, (comparison, row) in enumerate(zip(compared, means, strict=True))
    ]
    note = (
        f"One-sided Wilcoxon signed-rank tests. {PAIR}: its mean Dice over the organs, each averaged over runs (and "
        "over folds, where it is a query in several). Holm: over the methods, each direction."
    )
    return [markdown_table(head, cells), note]


def _share(a: Results, b: Results) -> bool:
    """Whether two methods have a query and an organ in common."""
    first, second = _of(_method(a), a), _of(_method(b), b)
    cases = {entry.case for entry in first} & {entry.case for entry in second}
    organs = {entry.name for entry in first} & {entry.name for entry in second}
    return bool(cases and organs)


def _cells(row: Row, better: float, worse: float) -> list[str]:
    means = [f"{100 * row.mean_a:.2f}", f"{100 * (row.mean_a - row.mean_b):+.2f}", str(row.a_greater.n)]
    return means + [f"{p:.4f}" for p in (row.a_greater.p, better, row.b_greater.p, worse)]


def _missing(comparison: Comparison) -> list[str]:
    a, b = comparison.method_a, comparison.method_b
    return [f"- {a} against {b}, {text}: {', '.join(items)}" for text, items in not_compared(comparison, a, b).items()]


def _training(settings: Mapping[str, Any]) -> dict[str, str]:
    """Nothing for a method without a training; "its own" where a method knows no such setting."""
    method = Method.parse(str(settings["bundle"]))
    if not method.is_trained:
        return {}
    known = method.settings(settings["training_settings"])
    if known.get("episodes") == "labels":
        known |= {"self_supervision": "none: labels"}
    return {key: str(known.get(key, "its own")) for key in _TRAINING}


def _of(method: str, part: Results) -> list[Entry]:
    return [entry for entry in part.entries if entry.method == method]


def _first_with(baseline: str, parts: Sequence[Results]) -> Results | None:
    return next((part for part in parts if _of(baseline, part)), None)


def _method(part: Results) -> str:
    """What the evaluation measured, baselines aside; without a score the name that it would have had."""
    prior = str(part.settings.get("prior", "none")).partition(",")[0]
    named = " + ".join([str(part.settings["bundle"]), *([prior] if prior != "none" else [])])
    return next((entry.method for entry in part.entries if not is_baseline(entry.method)), named)


def _has_scores(part: Results) -> bool:
    return any(not is_baseline(entry.method) for entry in part.entries)
