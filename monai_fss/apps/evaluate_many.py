# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Several methods on the same folds, under the same budget: one table and one picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monai_fss.apps.budget import check_budget
from monai_fss.apps.compare import compare
from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate import check_evaluation, evaluate, plan
from monai_fss.apps.evaluation import Evaluation
from monai_fss.apps.results import Results, read_results, write_results
from monai_fss.apps.results_tables import MEAN, markdown_table
from monai_fss.data import check_output, write_text_atomic
from monai_fss.data.writer import write_json
from monai_fss.metrics import holm

__all__ = ["against_first", "combine", "evaluate_many"]

ASKED = "evaluation.json"


def evaluate_many(
    evaluations: Sequence[Evaluation],
    output: str | Path,
    models: str | Path,
    overwrite: bool = False,
    budget: str | None = None,
) -> Results:
    """Evaluate methods one after another, and write one table and one picture of all.

    Each has a folder of its own below ``output`` and ``models``, such as ``adnet`` or ``crapnet-blocks_7``. After an
    interruption the same call goes on: a method that is done is not evaluated again, and a training that was cut short
    is resumed.

    Args:
        evaluations: that differ in the bundle, its recipe and settings alone.
        output: folder for ``results.*`` and ``dice.png`` of all, and of each method.
        models: folder for the models.
        overwrite: evaluate all again.
        budget: of each training, see :func:`monai_fss.apps.budget.within_budget`.

    Returns:
        the scores of all. Its floors are those of the first method.

    Raises:
        ScanError, UsageError: see :func:`monai_fss.apps.evaluate.evaluate`; a method was evaluated otherwise before.
    """
    from monai_fss.apps.evaluation_plots import draw

    if evaluations[0].model is not None:
        raise UsageError("--model: is of one method. Leave it out, or name one bundle.")
    for evaluation in evaluations:
        check_evaluation(evaluation)
        check_budget(evaluation, budget)
    check_output(output, ["results.json", "results.csv", "results.md"], overwrite)
    data, _, _, folds = plan(evaluations[0])
    content = {"data": str(data.root.resolve()), "folds": [asdict(fold) for _, fold in folds], "budget": budget}
    parts = []
    for evaluation in evaluations:
        name = evaluation.name.replace(":", "-")
        parts.append(_part(evaluation, content, Path(output) / name, Path(models) / name, overwrite))
    combined = combine(parts)
    write_results(output, combined)
    text = (Path(output) / "results.md").read_text(encoding="utf-8")
    write_text_atomic(Path(output) / "results.md", text + "\n" + against_first(parts))
    draw(combined, [], Path(output))
    return combined


def _part(evaluation: Evaluation, content: dict[str, Any], output: Path, models: Path, overwrite: bool) -> Results:
    """The results of a method: those that are there, if they are of this very evaluation of the same content."""
    own = {key: value for key, value in asdict(evaluation).items() if key not in ("command", "device", "data")}
    note, asked = output / ASKED, json.loads(json.dumps({**own, **content}))
    known = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    there = (output / "results.json").exists()
    if not overwrite:
        if (known and known["asked"] != asked) or (there and not known):
            raise UsageError(f"{output}: holds another evaluation. Give another --output, or --overwrite.")
        if there and known["finished"]:
            return read_results(output)
    output.mkdir(parents=True, exist_ok=True)
    write_json(note, {"asked": asked, "finished": False})
    results = evaluate(evaluation, output, models, overwrite=True, budget=content["budget"])
    write_json(note, {"asked": asked, "finished": True})
    return results


def combine(parts: Sequence[Results]) -> Results:
    """The scores of all methods, and the floors of the first.

    Args:
        parts: of one method each, on the same data by the same protocol.
    """
    first = parts[0]
    entries = list(first.entries)
    for part in parts[1:]:
        floors = {"mask paste", "untrained network"}
        entries += [entry for entry in part.entries if entry.method not in floors]
    settings: dict[str, Any] = dict(first.settings)
    for key in ("bundle", "labelled_slices", "model", "training_settings"):
        values = {str(part.settings["bundle"]): part.settings[key] for part in parts}
        same = len({json.dumps(value) for value in values.values()}) == 1
        settings[key] = ", ".join(values) if key == "bundle" else first.settings[key] if same else values
    notes = [f"{part.settings['bundle']}: {note}" for part in parts for note in part.settings["notes"]]
    return Results({**settings, "notes": notes}, entries)


def against_first(parts: Sequence[Results]) -> str:
    """Markdown: each method's mean Dice against that of the first, tested query by query.

    One-sided Wilcoxon signed-rank tests both ways, their p values corrected by Holm's method over the methods.

    Args:
        parts: see :func:`combine`.
    """
    rows = []
    for part in parts[1:]:
        compared = compare(part, parts[0], method_a=_method(part), method_b=_method(parts[0]))
        rows.append((_method(part), next(row for row in compared.rows if row.name == MEAN)))
    better, worse = holm([row.a_greater.p for _, row in rows]), holm([row.b_greater.p for _, row in rows])
    head = ["Method", "Mean", "difference", "n", "p (better)", "Holm", "p (worse)", "Holm"]
    cells = [
        [name, f"{100 * row.mean_a:.2f}", f"{100 * (row.mean_a - row.mean_b):+.2f}", str(row.a_greater.n)]
        + [f"{p:.4f}" for p in (row.a_greater.p, better[i], row.b_greater.p, worse[i])]
        for i, (name, row) in enumerate(rows)
    ]
    title = f"## Mean Dice (%) against {_method(parts[0])}"
    note = "One-sided Wilcoxon signed-rank tests; a pair is one query, its mean over organs and runs."
    return "\n\n".join([title, markdown_table(head, cells), f"{note} Holm: over the methods, each direction.\n"])


def _method(part: Results) -> str:
    """What the evaluation measured: its first scores are the method's, the floors follow."""
    return part.entries[0].method
