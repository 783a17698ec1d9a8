# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The files of an evaluation's result."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from monai_fss.data.files.writer import write_json, write_text_atomic
from monai_fss.results.entries import Entry, Results
from monai_fss.results.spread import DEFAULT_SPREAD
from monai_fss.results.tables import format_results

__all__ = ["RESULT_FILES", "entry_of", "entry_row", "read_results", "write_results"]

RESULT_FILES = ("results.json", "results.csv", "results.md")
FORMAT = "monai_fss results"
VERSION = 1
_MEASURES = ("dice", "hd95", "assd", "quality", "volume_ml", "nsd")


def write_results(folder: str | Path, results: Results, spread: str = DEFAULT_SPREAD) -> list[Path]:
    """Write ``results.json`` (all), ``results.csv`` (one row for each score) and ``results.md`` (tables).

    Each file appears whole or not at all. An undefined number is ``null`` in the JSON and an empty cell in the CSV.

    Args:
        folder: where to write; made if it does not exist.
        results: the scores.
        spread: what the deviations in the tables are over, see :data:`monai_fss.results.SPREADS`.

    Returns:
        The three files.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    rows = [entry_row(entry) for entry in results.entries]
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Entry)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    paths = [target / name for name in RESULT_FILES]
    write_json(paths[0], {"format": FORMAT, "version": VERSION, "settings": results.settings, "entries": rows})
    write_text_atomic(paths[1], text.getvalue())
    write_text_atomic(paths[2], format_results(results, spread))
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
            entries.append(entry_of(row))
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{source}: entry {number} is damaged ({error}). Run the evaluation again.") from error
    try:
        return Results(content["settings"], entries)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def entry_row(entry: Entry) -> dict[str, Any]:
    """A score as JSON values; None for an undefined number, as JSON has no nan."""
    row = asdict(entry)
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def entry_of(row: Mapping[str, Any]) -> Entry:
    """The score of :func:`entry_row`.

    Raises:
        TypeError, ValueError: it is none.
    """
    undefined = {key: math.nan for key in _MEASURES if row.get(key) is None}
    return Entry(**{**row, **undefined})


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
