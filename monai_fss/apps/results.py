# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The result of one evaluation: its data model and its files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from monai_fss.apps.results_tables import format_results
from monai_fss.data.writer import write_json, write_text_atomic
from monai_fss.metrics import STATES

__all__ = ["RESULT_FILES", "Entry", "Results", "read_results", "write_results"]

RESULT_FILES = ("results.json", "results.csv", "results.md")
FORMAT = "monai_fss results"
VERSION = 1
REQUIRED_SETTINGS = ("bundle", "dataset", "split", "protocol", "ways", "runs", "labelled_slices")
_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "str": (str,), "float": (int, float)}
_MEASURES = ("dice", "hd95", "assd", "quality", "volume_ml")


@dataclass(frozen=True)
class Entry:
    """One score: one class in one query volume by one method.

    Args:
        fold: fold of the split in which the case is a query.
        run: number of the repetition.
        case: case id of the query.
        label: label value of the class.
        name: name of the class, such as "liver".
        method: what made the mask, such as "adnet", or a floor, see :mod:`monai_fss.apps.floors`.
        dice: Dice score of the volume, a fraction 0..1; nan where the state is "absent".
        hd95: 95th percentile Hausdorff distance in mm; nan where it is undefined.
        assd: average symmetric surface distance in mm; nan where it is undefined.
        state: "scored", "absent_predicted" or "absent" (see :py:class:`monai_fss.metrics.Score`).
        quality: label-free quality of the mask, 0..1; nan where it was not asked for.
        volume_ml: of the mask; nan where it was not asked for.

    Raises:
        ValueError: where a value is of the wrong kind, the state is unknown, or a Dice score does not fit it.
    """

    fold: int
    run: int
    case: str
    label: int
    name: str
    method: str
    dice: float
    hd95: float
    assd: float
    state: str
    quality: float = math.nan
    volume_ml: float = math.nan

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), str(field.type)
            if not isinstance(value, _KINDS[kind]) or isinstance(value, bool):
                raise ValueError(
                    f"entry of case {self.case!r}: {field.name} is {value!r}. Give a value of type {kind}."
                )
        if self.state not in STATES:
            raise ValueError(f"entry of case {self.case!r}: unknown state {self.state!r}. Use one of {STATES}.")
        if math.isnan(self.dice) != (self.state == "absent") or not (math.isnan(self.dice) or 0 <= self.dice <= 1):
            raise ValueError(
                f"entry of case {self.case!r}: a Dice score of {self.dice} does not fit the state {self.state!r}. "
                "Give a fraction 0..1, and nan for an absent class."
            )


@dataclass(frozen=True)
class Results:
    """All scores of one evaluation and the settings under which they were measured.

    Args:
        settings: at least ``bundle``, ``dataset``, ``split``, ``protocol``, ``ways``, ``runs`` and
            ``labelled_slices``; further ones, such as ``folds``, ``steps``, ``seeds``, ``versions`` and ``command``,
            are kept. Values are such as JSON knows.
        entries: the scores.

    Raises:
        ValueError: where a setting is missing, or two entries are of the same fold, run, case, label and method.
    """

    settings: dict[str, Any]
    entries: list[Entry]

    def __post_init__(self) -> None:
        missing = [key for key in REQUIRED_SETTINGS if key not in self.settings]
        if missing:
            raise ValueError(f"settings: {', '.join(missing)} missing. Say under which settings the scores were made.")
        seen = set()
        for entry in self.entries:
            key = (entry.fold, entry.run, entry.case, entry.label, entry.method)
            if key in seen:
                raise ValueError(
                    f"entries: fold, run, case, label and method {key} occur twice. Score each volume once."
                )
            seen.add(key)


def write_results(folder: str | Path, results: Results) -> list[Path]:
    """Write ``results.json`` (all), ``results.csv`` (one row for each score) and ``results.md`` (tables).

    Each file appears whole or not at all. An undefined number is ``null`` in the JSON and an empty cell in the CSV.

    Args:
        folder: where to write; made if it does not exist.
        results: the scores.

    Returns:
        The three files.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    rows = [_finite(asdict(entry)) for entry in results.entries]
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Entry)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    paths = [target / name for name in RESULT_FILES]
    write_json(paths[0], {"format": FORMAT, "version": VERSION, "settings": results.settings, "entries": rows})
    write_text_atomic(paths[1], text.getvalue())
    write_text_atomic(paths[2], format_results(results))
    return paths


def read_results(path: str | Path) -> Results:
    """Read a result that :py:func:`write_results` wrote.

    Args:
        path: the folder, or its ``results.json``.

    Returns:
        The settings and the scores.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where the file is not a result of this package, or is damaged; the message names the entry.
    """
    source = Path(path)
    source = source / "results.json" if source.is_dir() else source
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file. Name a folder that an evaluation wrote, or its results.json.")
    content = _load(source)
    entries = []
    for number, row in enumerate(content["entries"]):
        try:
            undefined = {key: math.nan for key in _MEASURES if row.get(key) is None}
            entries.append(Entry(**{**row, **undefined}))
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{source}: entry {number} is damaged ({error}). Run the evaluation again.") from error
    try:
        return Results(content["settings"], entries)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    # JSON has no nan
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def _load(source: Path) -> dict[str, Any]:
    advice = "Name a results.json that an evaluation wrote."
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{source}: not a JSON file ({error}). {advice}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f"{source}: not a result file: its format is {found!r} instead of {FORMAT!r}. {advice}")
    if content.get("version") != VERSION:
        raise ValueError(
            f"{source}: result format version {content.get('version')!r}, but this package reads {VERSION}. "
            "Run the evaluation again."
        )
    if not isinstance(content.get("settings"), dict) or not isinstance(content.get("entries"), list):
        raise ValueError(f"{source}: settings or entries are missing. Run the evaluation again.")
    return content
