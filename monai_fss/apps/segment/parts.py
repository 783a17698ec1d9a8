# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The folder of `monai-fss segment` that several processes fill: what is done, and one table of all.

Each part has its own table, report and note (``quality.part_0_of_3.csv``, ...), so that no two processes write to one
file; masks and pictures are named by their scans. Whoever sees the reports of all parts joins them. Two may do so at
once: each makes the same files of the same parts, whole or not at all.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.parts.part import Part, parts_in
from monai_fss.apps.segment.folder import REPORT, check_history, deciding, read_report
from monai_fss.data import InputWarning, case_name, finish_run, natural_key, remove_stale, unfinished_run, write_json
from monai_fss.data.files.output import RUN_FILE
from monai_fss.data.scan_table import TableReader, complete_scans, write_rows
from monai_fss.digests import changes
from monai_fss.handlers.segment_report import QUALITY, QUALITY_COLUMNS

__all__ = ["begin", "check_others", "join", "join_if_done", "part_note", "pending_part", "unfinished_parts"]

PARTS = "parts"  # key of a report: the part, or how many were joined
_OWN = (QUALITY, REPORT, RUN_FILE)
STALE = 86400.0
"""Seconds after which an unfinished file of another process is one that was left: none takes so long."""


def check_others(output: Path, part: Part, overwrite: bool = False) -> None:
    """Refuse a folder that parts of another number have not finished, or whose results are not joined.

    Raises:
        UsageError: as said; and where a run without parts was interrupted.
    """
    if overwrite:
        return
    counts = {own.count for name, own, _ in parts_in(output) if name in _OWN} - {part.count}
    for count in sorted(counts):
        missing = unfinished_parts(output, count)
        if missing:
            raise UsageError(
                f"{output}: {_text(missing)} of {count} is not done. Do it by the same command with --num-parts "
                f"{count}, give another --output, or --overwrite."
            )
        if read_report(output / REPORT).get(PARTS) != count:
            raise UsageError(f"{output}: {count} parts are done but not joined. Run `monai-fss merge {output}` first.")
    if not part.whole and unfinished_run(output) is not None:
        raise UsageError(
            f"{output}: a run without --num-parts was interrupted here. Finish it by the same command, give another "
            "--output, or --overwrite."
        )


def _remove_parts(output: Path, part: Part) -> None:
    """Remove the files of parts of another number."""
    for name, other, path in list(parts_in(output)):
        if name in _OWN and other.count != part.count:
            path.unlink(missing_ok=True)


def begin(output: Path, part: Part, overwrite: bool) -> None:
    """
    Take away what must not be left from before.

    That is what killed runs have left; the files of other parts, which are joined or overwritten; and of a part its
    report, as it is not done now. Where results are overwritten, a part's table and what was joined go too.
    """
    remove_stale(output, 0 if part.whole else STALE)
    if part.whole or overwrite:
        _remove_parts(output, part)
    names = [] if part.whole else [part.file(REPORT), *([part.file(QUALITY), *_OWN] if overwrite else ())]
    for name in names:
        (output / name).unlink(missing_ok=True)


def part_note(part: Part, listed: Iterable[str]) -> dict[str, Any]:
    """What the report of a part says of it.

    Args:
        part: which.
        listed: names of all scans in the folder, of which it has its own: those of all parts must be alike.
    """
    if part.whole:
        return {}
    names = "\n".join(listed)
    digest = hashlib.sha256(names.encode()).hexdigest()
    return {PARTS: {"number": part.number, "count": part.count, "listed": digest}}


def unfinished_parts(output: Path, count: int) -> list[int]:
    """The parts that have no report yet; asked for by name, as listings of network folders may be old."""
    return [part.number for part in Part(0, count).all() if not (output / part.file(REPORT)).exists()]


def pending_part(
    output: Path,
    part: Part,
    places: Mapping[str, str],
    overwrite: bool,
    note: Mapping[str, Any],
    overlays: bool,
    ways: int,
) -> list[str]:
    """Of its cases, those that are not done: by this part before, or by the run whose results are joined.

    A case is done where there is its mask, its rows, its picture, and a note that it was made of a scan of the same
    content.

    Args:
        output: folder of the results.
        part: which.
        places: its scans to the files of their masks, relative to the folder.
        overwrite: do them all again.
        note: what the results depend on.
        overlays: whether pictures are wanted.
        ways: organs, and so rows of a scan.

    Raises:
        UsageError: the folder holds results of another command, masks of which nothing is known, or corrected ones
            that would be replaced.
    """
    cases = list(places)
    check_history(output, overwrite)
    if overwrite:
        return cases
    sources = [(QUALITY, _inputs(output, REPORT)), (part.file(QUALITY), _inputs(output, part.file(REPORT)))]
    sources.append((part.file(QUALITY), unfinished_run(output, part.file(RUN_FILE)) or {}))
    if any(deciding(known) != deciding(note) for _, known in sources if known):
        raise UsageError(f"{output}: holds results of another command. Give another --output, or --overwrite.")
    there = [case for case in cases if (output / places[case]).exists()]
    of_parts = any(name in _OWN for name, _, _ in parts_in(output))  # whose reports are compared when they are joined
    if there and not of_parts and not any(known for _, known in sources):
        raise UsageError(f"{output / places[there[0]]}: exists already. Give another --output, or --overwrite.")
    done: set[str] = set()
    for table, known in sources:
        changed = changes(known.get("queries", {}), note["queries"])
        done |= {case for case in complete_scans(output / table, ways) if case not in changed}
    drawn = {path.stem for path in (output / "overlays").glob("*.png")} if overlays else set(cases)
    return [case for case in cases if not (case in there and case in done and case in drawn)]


def join(output: Path, count: int) -> dict[str, Any] | None:
    """
    Make ``quality.csv`` and ``report.json`` of those of all parts, as one process would have written them.

    Scans of an earlier run that are none of the parts' keep their rows. It may be done again, and by two at once.

    Args:
        output: folder of the results.
        count: how many parts there are.

    Returns:
        the report; None where a part is not done.

    Raises:
        UsageError: the parts are not of one command, or saw different scans.
    """
    if unfinished_parts(output, count):
        return None
    parts = Part(0, count).all()
    reports = [read_report(output / part.file(REPORT)) for part in parts]
    _check_alike(output, reports)
    owners = {case: part for part, report in zip(parts, reports, strict=True) for case in report["inputs"]["cases"]}
    failed = {case: why for report in reports for case, why in report["failed"].items()}
    with ExitStack() as stack:
        before = stack.enter_context(TableReader(output / QUALITY))
        own = {part: stack.enter_context(TableReader(output / part.file(QUALITY))) for part in parts}
        columns = max((list(QUALITY_COLUMNS), *(table.columns for table in (before, *own.values()))), key=len)
        cases = sorted({*before.spans, *owners}, key=natural_key)
        tables = [_Rows(case, [own[owners[case]], before] if case in owners else [before]) for case in cases]
        write_rows(output / QUALITY, columns, (row for one in tables if one.case not in failed for row in one))
    report = _joined(reports, failed, count)
    write_json(output / REPORT, report)
    finish_run(output)
    _remove_parts(output, parts[0])
    return report


def join_if_done(output: Path, count: int) -> bool:
    """:func:`join`, at the end of a part; whether that was done.

    Warns:
        InputWarning: it cannot be: the scans of this part are done all the same.
    """
    try:
        return join(output, count) is not None
    except UsageError as error:
        warnings.warn(f"not joined: {error}", InputWarning, stacklevel=2)
        return False


@dataclass(frozen=True)
class _Rows:
    """The rows of a scan, of the first table that has it."""

    case: str
    tables: list[TableReader]

    def __iter__(self) -> Iterator[dict[str, str]]:
        for table in self.tables:
            if self.case in table.spans:
                return table.rows(self.case)
        return iter(())


def _check_alike(output: Path, reports: list[dict[str, Any]]) -> None:
    first = reports[0]
    for report in reports[1:]:
        part = report[PARTS]["number"]
        if deciding(report["inputs"]) != deciding(first["inputs"]):
            raise UsageError(f"{output}: part {part} is of another command than part 0. Do it again by the same.")
        if report[PARTS]["listed"] != first[PARTS]["listed"]:
            raise UsageError(
                f"{output}: part {part} saw other scans in the folder than part 0 (some were added or removed "
                "meanwhile). Do all parts again: what is done is not done again."
            )


def _joined(reports: list[dict[str, Any]], failed: Mapping[str, str], count: int) -> dict[str, Any]:
    inputs = [report["inputs"] for report in reports]
    queries = {case: entry for own in inputs for case, entry in own["queries"].items()}
    cases = sorted(queries, key=natural_key)
    return {
        **reports[0],
        "inputs": {**inputs[0], "cases": cases, "queries": {case: queries[case] for case in cases}},
        "segmented_now": sorted((case for own in reports for case in own["segmented_now"]), key=natural_key),
        "failed": {case: failed[case] for case in sorted(failed, key=natural_key)},
        "passed_over": sorted(
            (p for own in reports for p in own["passed_over"]), key=lambda p: natural_key(case_name(p))
        ),
        "seconds": round(sum(report["seconds"] for report in reports), 2),
        PARTS: count,
    }


def _inputs(output: Path, name: str) -> dict[str, Any]:
    known = read_report(output / name).get("inputs", {})
    return known if isinstance(known, dict) else {}


def _text(numbers: list[int]) -> str:
    return f"part{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
