# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a folder of `monai-fss segment` says of its masks."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from monai_fss.apps.errors import UsageError
from monai_fss.data import ScanError, list_scans, natural_key, unfinished_run
from monai_fss.handlers.segment_report import read_quality

__all__ = ["PAGE", "REVIEW", "Row", "Run", "read_run", "scans_of"]

REVIEW = "review"
"""Folder of the page, its pictures and its lists, in that of the masks."""
PAGE = "index.html"


class Row(NamedTuple):
    """What quality.csv says of one organ of one scan; None for what was not measured."""

    case: str
    label: int
    name: str
    quality: float | None
    note: str


@dataclass(frozen=True)
class Run:
    """
    A folder of masks.

    Args:
        folder: where they are.
        note: what they depend on, see :func:`monai_fss.apps.segment.folder.depends_on`.
        images: where the scans were; None where an interrupted run has not said it.
        rows: of quality.csv, one for each scan and organ.
        failed: scans that could not be segmented, and why.
    """

    folder: Path
    note: Mapping[str, Any]
    images: str | None
    rows: list[Row]
    failed: dict[str, str]

    @property
    def cases(self) -> list[str]:
        """Names of the scans that have rows, in natural order."""
        return sorted({row.case for row in self.rows}, key=natural_key)

    @property
    def names(self) -> dict[int, str]:
        """Label value to name, in the order of the rows."""
        return {row.label: row.name for row in self.rows}

    @property
    def window(self) -> tuple[float, float] | None:
        """Grey values between which the run looked at the scans, where it was told."""
        given = self.note.get("settings", {}).get("window")
        known = isinstance(given, list) and len(given) == 2 and all(isinstance(x, (int, float)) for x in given)
        return (float(given[0]), float(given[1])) if known and given[0] < given[1] else None

    @property
    def number(self) -> str:
        """What tells the run from others: method, model, labelled scans and settings, wherever they lie."""
        note = {key: self.note.get(key) for key in ("bundle", "labels", "settings")}
        text = json.dumps([note, list(self.note.get("sha256", {}).values())], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_run(folder: str | Path) -> Run:
    """
    Read what a folder of masks says of itself.

    Raises:
        UsageError: there is no such folder, or it has no results of `segment`.
        ScanError: its files are damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder. Give the one that `monai-fss segment` wrote to.")
    report = _report(folder / "report.json")
    note = report.get("inputs") or unfinished_run(folder)
    if not isinstance(note, dict):
        raise UsageError(f"{folder}: has no report.json. Give the folder that `monai-fss segment` wrote to.")
    rows = _rows(folder / "quality.csv")
    failed = {str(case): str(reason) for case, reason in report.get("failed", {}).items()}
    if not rows and not failed:
        raise UsageError(f"{folder}: has no mask yet (quality.csv has no row). Segment the scans first.")
    images = note.get("images")
    return Run(folder, note, None if images is None else str(images), rows, failed)


def scans_of(run: Run, images: str | None = None) -> dict[str, Path]:
    """
    The scans of the masks.

    Args:
        run: the folder.
        images: where they are now. Default: where they were.

    Returns:
        case to file, of those that are there.

    Raises:
        UsageError: it is not known where they are, or none is there.
        ScanError: see :func:`monai_fss.data.list_scans`.
    """
    place = images or run.images
    if place is None:
        raise UsageError(f"{run.folder}: is of an interrupted run and does not say where its scans are. Give --images.")
    if images is None and not Path(place).exists():
        raise UsageError(f"{place}: the scans are no longer there. Say where they are by --images.")
    found = list_scans(place)
    scans = {case: found[case] for case in run.cases if case in found}
    if run.rows and not scans:
        raise UsageError(f"{place}: holds none of the {len(run.cases)} scan(s) of {run.folder}. Give another --images.")
    return scans


def _report(path: Path) -> dict[str, Any]:
    """report.json; empty where there is none."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ScanError(f"{path}: cannot be read ({error}). Segment the scans again.") from error
    if not isinstance(content, dict) or not isinstance(content.get("failed", {}), dict):
        raise ScanError(f"{path}: is not the report of `monai-fss segment`. Give the folder that it wrote to.")
    return content


def _rows(path: Path) -> list[Row]:
    """Rows of a quality.csv; of two of the same organ of a scan the later one counts."""
    rows: dict[tuple[str, str], Row] = {}
    for number, row in enumerate(read_quality(path), 2):
        try:
            quality = float(row["quality"]) if row["quality"] else None
            if quality is not None and not math.isfinite(quality):
                raise ValueError(f"quality is {row['quality']}")
            rows[row["case"], row["label"]] = Row(row["case"], int(row["label"]), row["name"], quality, row["note"])
        except (TypeError, ValueError) as error:
            raise ScanError(f"{path}: line {number} is damaged ({error}). Segment the scans again.") from error
    return list(rows.values())
