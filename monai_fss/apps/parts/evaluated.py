# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""An evaluation in parts: which tests a process does, and one result of those of all.

Where nothing is trained, a part does every N-th query of each fold. Where networks are trained or conditioned, it does
every N-th test whole, a fold with its run and group of classes: one training serves all of its queries.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.apps.errors import UsageError
from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.apps.evaluate.plan import Plan
from monai_fss.apps.evaluate.resume import evaluated_contents, what_is_asked
from monai_fss.apps.parts.part import Part, parts_in
from monai_fss.data import Fold, InputWarning, check_output, write_json
from monai_fss.digests import changes
from monai_fss.results.entries import Entry, Results
from monai_fss.results.files import RESULT_FILES, entry_of, entry_row, write_results

__all__ = [
    "Block",
    "check_part",
    "is_done",
    "join",
    "join_if_done",
    "own_pieces",
    "part_note",
    "unfinished_parts",
    "write_part",
]

RESULTS = RESULT_FILES[0]
Curve = tuple[float, np.ndarray]
Piece = tuple[Fold, dict[int, str]]


@dataclass(frozen=True)
class Block:
    """
    Scores of one test.

    Args:
        test: its place among all tests.
        piece: place among the pieces of the test, see :meth:`monai_fss.apps.evaluate.plan.Plan.parts`.
        queries: all of this piece, by whichever part they are scored.
        entries: scores.
        curves: Dice over thresholds, see :meth:`monai_fss.apps.evaluate.fold.FoldTrial.curve`.
    """

    test: int
    piece: int
    queries: Sequence[str]
    entries: list[Entry]
    curves: list[Curve]


def check_part(evaluation: Evaluation, budget: str | None, output: Path, part: Part, overwrite: bool) -> None:
    """Refuse what parts would do differently from one another, and a folder with results that are not theirs.

    Raises:
        UsageError: a budget in minutes, which each would measure for itself.
        ScanError: the folder has results, and no parts of this number that they were joined of.
    """
    if part.whole or not any(name == RESULTS and own.count == part.count for name, own, _ in parts_in(output)):
        check_output(output, RESULT_FILES, overwrite)
    if part.whole:
        return
    if evaluation.method.is_trained and budget is not None and not budget.isdecimal():
        raise UsageError(f"--budget {budget}: would be other steps in each part. Give steps, such as --budget 800.")


def own_pieces(
    evaluation: Evaluation, part: Part, test: int, pieces: Sequence[Piece]
) -> list[tuple[int, Fold, dict[int, str]]]:
    """What a part does of a test: pieces by their place, with the queries that are its own.

    Args:
        evaluation: what is evaluated.
        part: which.
        test: place among all tests.
        pieces: of the test.
    """
    method = evaluation.method
    whole = method.is_few_shot or (method.is_trained and evaluation.model is None)
    if whole:
        mine = test % part.count == part.number
        return [(place, *piece) for place, piece in enumerate(pieces)] if mine else []
    found = []
    for place, (fold, names) in enumerate(pieces):
        own = replace(fold, queries=tuple(part.of(fold.queries)))
        found += [(place, own, names)] if own.queries else []
    return found


def part_note(evaluation: Evaluation, plan: Plan, budget: str | None) -> dict[str, Any]:
    """What the results of all parts depend on, as JSON values."""
    folds = [asdict(fold) for _, fold in plan.folds]
    asked = what_is_asked(evaluation, {"folds": folds, "budget": budget})
    contents = evaluated_contents(plan.data, [fold for _, fold in plan.folds])
    return {"asked": asked, "contents": contents}


def is_done(output: Path, part: Part, note: Mapping[str, Any]) -> bool:
    """Whether a part has its results.

    Raises:
        UsageError: they are of another evaluation, or of scans that have changed.
    """
    before = _read(output / part.file(RESULTS))
    if not before:
        return False
    told = changes(before["note"]["contents"], note["contents"])
    if before["note"]["asked"] != note["asked"] or told:
        why = f"of other scans or labels ({', '.join(told)})" if told else "of another evaluation"
        raise UsageError(
            f"{output / part.file(RESULTS)}: is {why}. Give another --output, or --overwrite to evaluate again."
        )
    return True


def write_part(
    output: Path,
    part: Part,
    note: Mapping[str, Any],
    settings: Mapping[str, Any],
    blocks: Sequence[Block],
    spread: str,
) -> None:
    """Write the results of a part: ``results.part_0_of_3.json``."""
    rows = [
        {
            "test": block.test,
            "piece": block.piece,
            "queries": list(block.queries),
            "entries": [entry_row(entry) for entry in block.entries],
            "curves": [[float(at), [None if math.isnan(x) else float(x) for x in dice]] for at, dice in block.curves],
        }
        for block in blocks
    ]
    write_json(output / part.file(RESULTS), {"note": note, "settings": settings, "spread": spread, "blocks": rows})


def unfinished_parts(output: Path, count: int) -> list[int]:
    """The parts that have no results yet."""
    return [part.number for part in Part(0, count).all() if not (output / part.file(RESULTS)).exists()]


def join(output: Path, count: int) -> Results | None:
    """
    Write the results of all parts as one process would have.

    Args:
        output: folder of the results.
        count: how many parts there are.

    Returns:
        the results; None where a part is not done.

    Raises:
        UsageError: the parts are of different evaluations.
    """
    from monai_fss.apps.results.plots import draw

    if unfinished_parts(output, count):
        return None
    found = [_read(output / part.file(RESULTS)) for part in Part(0, count).all()]
    for number, other in enumerate(found):
        if other["note"] != found[0]["note"]:
            raise UsageError(f"{output}: part {number} is of another evaluation, or of other scans, than part 0.")
    blocks: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for block in (block for part in found for block in part["blocks"]):
        blocks.setdefault((block["test"], block["piece"]), []).append(block)
    in_order = [blocks[key] for key in sorted(blocks)]
    results = Results(found[0]["settings"], [entry for same in in_order for entry in _entries(same)])
    curves = [
        (at, np.array([math.nan if x is None else x for x in dice]))
        for same in in_order
        for block in same
        for at, dice in block["curves"]
    ]
    write_results(output, results, found[0]["spread"])
    draw(results, curves, output, found[0]["spread"])
    return results


def join_if_done(output: Path, count: int) -> Results | None:
    """:func:`join`, at the end of a part.

    Warns:
        InputWarning: it cannot be, such as where other parts are to be overwritten yet.
    """
    try:
        return join(output, count)
    except UsageError as error:
        warnings.warn(f"not joined: {error}", InputWarning, stacklevel=2)
        return None


def _entries(blocks: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Scores of one test by several parts, in the order in which one process has them: by method, then by query."""
    entries = [entry_of(row) for block in blocks for row in block["entries"]]
    methods = list(dict.fromkeys(entry.method for entry in entries))
    queries = {case: place for place, case in enumerate(blocks[0]["queries"])}
    return sorted(entries, key=lambda entry: (methods.index(entry.method), queries[entry.case]))


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
