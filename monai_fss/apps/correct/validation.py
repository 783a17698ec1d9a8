# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Scans whose true labels are known and never used: their Dice after each round of corrections."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from monai_fss.apps.arguments import case_names
from monai_fss.apps.correct.folder import SegmentedFolder
from monai_fss.apps.errors import UsageError
from monai_fss.data import LoadScan, ScanError, check_label, check_scan, list_labels, write_text_atomic
from monai_fss.metrics import strict_dice

__all__ = ["COLUMNS", "Score", "check_validation", "given_validation", "scores_of", "write_scores"]

COLUMNS = ("round", "case", "label", "name", "dice")
TABLE = "validation.csv"


class Score(NamedTuple):
    """Dice of an organ of a mask with the truth, nan where neither shows it."""

    case: str
    value: int
    dice: float


def given_validation(text: str | None, run: SegmentedFolder) -> dict[str, Path]:
    """Case to true label, of ``--validation case_01,case_05=DIR`` or ``--validation DIR``, which names all of it.

    Raises:
        UsageError: a case is not of the run, or has no label there.
    """
    if not text:
        return {}
    cuts = [place for place, sign in enumerate(text) if sign == "="]
    named = [(case_names(text[:place], run.scans), text[place + 1 :]) for place in cuts]
    fitting = [(cases, place) for cases, place in named if cases and set(cases) <= run.scans.keys()]
    if not fitting and cuts and not Path(text).is_dir():
        raise UsageError(f"--validation {text}: is not CASES=DIR with cases of {run.output}, nor a folder of labels.")
    cases, folder = fitting[0] if fitting else (None, text)
    found = list_labels(folder)
    wanted = [case for case in found if case in run.scans] if cases is None else cases
    missing = [case for case in wanted if case not in found]
    if missing or not wanted:
        raise UsageError(f"--validation {text}: {folder} has no label of {', '.join(missing) or 'any scan'}.")
    return {case: found[case] for case in wanted}


def check_validation(run: SegmentedFolder, truths: Mapping[str, Path], labelled: Collection[str]) -> None:
    """
    Judge true labels.

    Raises:
        UsageError: a case of the validation is labelled.
        ScanError: with every problem of a label.
    """
    both = sorted(set(truths) & set(labelled))
    if both:
        raise UsageError(
            f"--validation {', '.join(both)}: is labelled, and what is validated on must not be. Leave out."
        )
    problems = []
    for case, label in truths.items():
        try:
            check_label(label, check_scan(run.scans[case]))
        except ScanError as error:
            problems += error.problems
    if problems:
        raise ScanError(problems)


def scores_of(run: SegmentedFolder, truths: Mapping[str, Path]) -> list[Score]:
    """Dice of the masks that the folder has now, organ by organ; 0 where there is no mask."""
    load, scores = LoadScan(as_label=True), []
    for case, file in truths.items():
        truth, place = load(file, run.scans[case])[0].numpy(), run.mask(case)
        mask = truth * 0 if place is None else load(place, run.scans[case])[0].numpy()
        scores += [Score(case, value, strict_dice(mask == value, truth == value)) for value in run.names]
    return scores


def write_scores(run: SegmentedFolder, number: int, scores: Collection[Score]) -> str:
    """Put the scores of a round into ``validation.csv``; say their mean, beside that of the rounds before."""
    file = run.output / TABLE
    rows: list[dict[str, str]] = []
    if file.exists():
        with file.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if int(row["round"]) != number]
    for case, value, dice in scores:
        cells = (number, case, value, run.names[value], "" if math.isnan(dice) else f"{dice:.4f}")
        rows.append(dict(zip(COLUMNS, map(str, cells), strict=True)))
    rows.sort(key=lambda row: int(row["round"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomic(file, text.getvalue())
    means = []
    for one in dict.fromkeys(row["round"] for row in rows):
        known = [float(row["dice"]) for row in rows if row["round"] == one and row["dice"]]
        means.append(f"{100 * sum(known) / len(known):.1f}" if known else "-")
    return f"Dice of {len({score.case for score in scores})} validation scan(s) (%), round by round: {', '.join(means)}"
