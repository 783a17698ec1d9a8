# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What corrections tell of the quality: how far it was from the Dice score, and an interval for masks not looked at."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai_fss.apps.correct.folder import SegmentedFolder
from monai_fss.apps.correct.history import History
from monai_fss.apps.correct.validation import scores_of
from monai_fss.data import ScanError, write_json, write_text_atomic
from monai_fss.metrics import conformal_interval, conformal_radius

__all__ = ["COLUMNS", "COVERAGE", "TABLE", "checked_masks", "read_radius", "write_interval"]

COVERAGE = 0.9
COLUMNS = ("case", "label", "name", "quality", "dice_low", "dice_high")
TABLE = "interval.csv"
FILE = "interval.json"


def checked_masks(run: SegmentedFolder, history: History, cases: Iterable[str]) -> list[dict[str, Any]]:
    """
    Quality and Dice score of masks that are about to be replaced by edited ones.

    Args:
        run: the folder, with the masks as they were.
        history: has the edited masks as labels.
        cases: of these masks.

    Returns:
        ``case``, ``label``, ``quality`` and ``dice`` of each organ that has a quality; not those which neither mask
        shows, and none of a mask that was itself drawn by hand.
    """
    rated = {(row["case"], int(row["label"])): float(row["quality"]) for row in run.rows if row["quality"]}
    masks = {case: history.label(case) for case in cases if run.mask(case) is not None}
    return [
        {"case": one.case, "label": one.value, "quality": rated[one.case, one.value], "dice": round(one.dice, 4)}
        for one in scores_of(run, masks)
        if (one.case, one.value) in rated and not math.isnan(one.dice)
    ]


def write_interval(run: SegmentedFolder, history: History) -> str:
    """
    Write ``interval.csv``: where the Dice score of each mask that was not corrected lies with a probability of 90 %.

    The interval is :func:`monai_fss.metrics.conformal_radius` about the quality, by the masks of all rounds that were
    corrected. It says something from nine of them on.

    Args:
        run: the folder as it is now.
        history: with ``checked`` in its rounds.

    Returns:
        what was found, in words.
    """
    known = [pair for one in history.done for pair in one.get("checked", [])]
    radius = conformal_radius([pair["quality"] for pair in known], [pair["dice"] for pair in known], COVERAGE)
    if math.isinf(radius):
        return (
            f"Interval of the Dice score: {len(known)} corrected mask(s) of organs; it takes "
            f"{math.ceil(round(COVERAGE / (1 - COVERAGE), 9))} to say it with {COVERAGE:.0%}."
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in run.rows:
        if row["quality"]:
            ends = conformal_interval(float(row["quality"]), radius)
            writer.writerow([*(row[key] for key in COLUMNS[:4]), *(f"{end:.4f}" for end in ends)])
    write_text_atomic(run.output / TABLE, text.getvalue())
    write_json(run.output / FILE, {"coverage": COVERAGE, "masks": len(known), "radius": round(radius, 4)})
    return (
        f"Interval of the Dice score ({COVERAGE:.0%}, by {len(known)} corrected masks of organs): quality +- "
        f"{radius:.2f}, see {run.output / TABLE}. It holds where these were not chosen by their quality."
    )


def read_radius(folder: Path) -> Mapping[str, Any] | None:
    """``coverage``, ``masks`` and ``radius``, as :func:`write_interval` leaves them in a folder; None where it has not.

    Raises:
        ScanError: the file is damaged.
    """
    file = folder / FILE
    if not file.exists():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {"coverage": float(found["coverage"]), "masks": int(found["masks"]), "radius": float(found["radius"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ScanError(f"{file}: is damaged ({error}). Remove it; the next correction writes it anew.") from error
