# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Before and after a round of corrections, in ``correct.csv`` and on the screen."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_fss.apps.correct.folder import SegmentedFolder
from monai_fss.apps.correct.history import History
from monai_fss.data import ScanError, write_text_atomic
from monai_fss.handlers.segment_report import read_quality
from monai_fss.results.markdown import markdown_table

__all__ = ["COLUMNS", "TABLE", "last_changes", "round_text", "write_table"]

TABLE = "correct.csv"
COLUMNS = (
    *("round", "case", "mask", "why", "label", "name"),
    *("volume_before_ml", "volume_ml", "quality_before", "quality_new"),
)


def write_table(run: SegmentedFolder, history: History, entry: Mapping[str, Any]) -> Path:
    """
    Put a round into ``correct.csv``: a row for each scan and organ.

    ``mask`` says what became of the mask: "replaced", "kept", "failed" or "corrected by hand"; ``quality_before`` and
    ``quality_new`` are those of the old mask and of the new one by the same labelled scans, whichever was taken.
    """
    number, file = int(entry["number"]), run.output / TABLE
    rows: list[dict[str, str]] = []
    if file.exists():
        with file.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if int(row["round"]) < number]
    old = _by_organ(history.place(number, "quality.csv"))
    now, new = _by_organ(run.output / "quality.csv"), _by_organ(history.place(number, "new", "quality.csv"))
    for case, own in entry["masks"].items():
        for value, name in run.names.items():
            key = case, str(value)
            scored = own.get("scored", {}).get(str(value))
            cells = (number, case, own["mask"], entry["why"].get(case, ""), value, name)
            volumes = (old.get(key, {}).get("volume_ml", ""), now.get(key, {}).get("volume_ml", ""))
            quality = "" if scored is None else f"{scored:.4f}"
            again = own.get("scored_new", {}).get(str(value))
            row = (*cells, *volumes, quality, new.get(key, {}).get("quality", "") if again is None else f"{again:.4f}")
            rows.append(dict(zip(COLUMNS, map(str, row), strict=True)))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomic(file, text.getvalue())
    return file


def last_changes(folder: Path) -> dict[tuple[str, int], dict[str, str]]:
    """
    What the last round that did something about a mask did, from ``correct.csv``.

    Args:
        folder: of masks.

    Returns:
        case and label value to a row of the table; empty where nothing was corrected.

    Raises:
        ScanError: the table is damaged.
    """
    file = folder / TABLE
    if not file.exists():
        return {}
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    try:
        for row in rows:
            for key in ("volume_before_ml", "quality_before", "quality_new"):
                float(row[key] or 0)
        return {(row["case"], int(row["label"])): row for row in sorted(rows, key=lambda row: int(row["round"]))}
    except (KeyError, TypeError, ValueError) as error:
        raise ScanError(
            f"{file}: is damaged ({error}). Remove it; the next correction writes its own rounds."
        ) from error


def round_text(entry: Mapping[str, Any]) -> str:
    """What became of each mask of a round, as a table."""
    rows = [
        [case, entry["why"].get(case, ""), _number(own["before"]), _number(own["after"]), own["mask"]]
        for case, own in entry["masks"].items()
    ]
    return markdown_table(["case", "why", "quality before", "quality new", "mask"], rows)


def _by_organ(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    return {(row["case"], row["label"]): row for row in read_quality(path)}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
