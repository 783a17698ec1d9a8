# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Output folders: nothing is overwritten unasked, and an interrupted run can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monai_fss.data.files.atomic import write_json
from monai_fss.data.problems import Findings

__all__ = ["RUN_FILE", "check_output", "finish_run", "part_name", "start_run", "unfinished_run"]

RUN_FILE = ".run.json"


def check_output(
    folder: str | Path,
    names: Iterable[str],
    overwrite: bool = False,
    run: Mapping[str, Any] | None = None,
    note: str = RUN_FILE,
) -> list[str]:
    """
    Decide which files are to be written into ``folder``.

    An existing file is refused, because it may be somebody's work, unless it is of this very run: :func:`start_run`
    left a note with the same settings and :func:`finish_run` has not removed it. Every file there is whole, since
    files are renamed only when they are complete, so the run goes on with those that are missing.

    Args:
        folder: where to write; it need not exist.
        names: file names in it, such as ``case_07.nii.gz``.
        overwrite: write all of them, whatever is there.
        run: what the results depend on (method, support, checkpoint, ...), as JSON values; ``None`` never goes on.
        note: name of the note.

    Returns:
        the names still to be written, in the order given.

    Raises:
        ScanError: ``folder`` is a file or cannot be written to; one problem for each file that exists.
    """
    folder, names = Path(folder), list(names)
    found = Findings(folder)
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not nearest.is_dir():
        found.refuse(f"cannot be an output folder: {nearest} is a file", "Give another folder")
    elif not os.access(nearest, os.W_OK | os.X_OK):
        found.refuse(f"cannot be written to ({nearest} is read-only)", "Give another folder")
    found.raise_if_any()
    if overwrite:
        return names
    existing = [name for name in names if (folder / name).exists()]
    if run is not None and unfinished_run(folder, note) == json.loads(json.dumps(run)):
        return [name for name in names if name not in existing]
    for name in existing:
        exists = Findings(folder / name)
        exists.refuse("exists already", "Give another output folder, or --overwrite")
        found.problems += exists.problems
    found.raise_if_any()
    return names


def start_run(folder: str | Path, run: Mapping[str, Any], todo: Iterable[str] = (), note: str = RUN_FILE) -> None:
    """
    Leave a note that a run with these settings is under way.

    Files of the names in ``todo`` that exist are removed first: with ``overwrite`` they are of another run, and a run
    that goes on must not take them for its own.

    Args:
        folder: the output folder; made when missing.
        run: see :func:`check_output`.
        todo: what :func:`check_output` returned.
        note: name of the note.
    """
    for name in todo:
        (Path(folder) / name).unlink(missing_ok=True)
    write_json(Path(folder) / note, dict(run))


def finish_run(folder: str | Path, note: str = RUN_FILE) -> None:
    """Remove the note of :func:`start_run`: from now on the results are refused to every rerun."""
    (Path(folder) / note).unlink(missing_ok=True)


def unfinished_run(folder: str | Path, note: str = RUN_FILE) -> Any:
    """
    What the note of a run that was interrupted in a folder says.

    Args:
        folder: the output folder; it need not exist.
        note: name of the note.

    Returns:
        what was given to :func:`start_run`; None if there is no such run.

    Raises:
        ScanError: the note is damaged.
    """
    path = Path(folder) / note
    if not path.exists():
        return None
    found = Findings(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        found.refuse(f"is not the note of an interrupted run ({e})", "Remove it, or give another output folder")
    found.raise_if_any()
    return None


def part_name(name: str, number: int, count: int) -> str:
    """Name of the file of one of several processes that do a part each: ``quality.part_0_of_3.csv`` of ``quality.csv``.

    Args:
        name: of the file of all.
        number: of the part, from 0.
        count: of the parts; with one alone the name stays.
    """
    path = Path(name)
    return name if count == 1 else f"{path.stem}.part_{number}_of_{count}{path.suffix}"
