# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What was decided on a review page: checked strictly, counted, and listed for the next step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monai_fss.apps.review.content import SCHEMA
from monai_fss.apps.review.folder import Row, Run
from monai_fss.data import ScanError, natural_key
from monai_fss.results.markdown import markdown_table

__all__ = ["LISTS", "VERDICTS", "Verdict", "case_lists", "read_verdicts", "verdict_table"]

VERDICTS = ("pass", "fail", "fix")
LISTS = ("fix", "fail", "pass", "open")
_KEYS = {"schema", "run", "exported", "verdicts"}
_MOST = 8  # problems that are named


class Verdict(NamedTuple):
    """One entry of review.json; ``mask`` tells what the organ's mask held, see `organ_facts`."""

    case: str
    label: int
    mask: str
    verdict: str


def read_verdicts(path: str | Path, run: Run, runs: Sequence[str]) -> list[Verdict]:
    """
    Read a review.json.

    Args:
        path: the file that a page has exported.
        run: the folder of masks.
        runs: numbers that the run has, or had before.

    Raises:
        ScanError: it cannot be read, is no such file, is of another run, or names a scan or an organ that is not there
            or one twice. Every such problem is named, up to eight.
    """
    path = Path(path)
    content = _content(path)
    if content["run"] not in runs:
        raise ScanError(
            f"{path}: is of another run ({content['run']}), not of {run.folder} ({run.number}). Give its own."
        )
    cases = set(run.cases)
    organs = {(row.case, row.label) for row in run.rows}
    found: dict[tuple[str, int], Verdict] = {}
    problems = []
    for number, entry in enumerate(content["verdicts"], 1):
        wrong = _damage(entry)
        if not wrong and entry["case"] not in cases:
            wrong = f"names {entry['case']!r}, and {run.folder} has no such scan"
        elif not wrong and (entry["case"], entry["label"]) not in organs:
            wrong = f"names label {entry['label']} of {entry['case']!r}, which quality.csv has not"
        elif not wrong and (entry["case"], entry["label"]) in found:
            wrong = f"names label {entry['label']} of {entry['case']!r} a second time"
        if wrong:
            problems.append(f"{path}: verdict {number} {wrong}. Export it from the page of this folder.")
        else:
            found[entry["case"], entry["label"]] = Verdict(**entry)
    if problems:
        more = [f"{path}: {len(problems) - _MOST} more problem(s) of this kind."] if len(problems) > _MOST else []
        raise ScanError(problems[:_MOST] + more)
    return list(found.values())


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ScanError(f"{path}: does not exist. Export it from the review page.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ScanError(f"{path}: cannot be read as JSON ({error}). Export it from the review page again.") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ScanError(f"{path}: is not a file of {SCHEMA!r}. Export it from the review page.")
    wrong = content.keys() ^ _KEYS
    if wrong or not isinstance(content["run"], str) or not isinstance(content["verdicts"], list):
        raise ScanError(f"{path}: is damaged ({', '.join(sorted(wrong)) or 'run or verdicts'}). Export it again.")
    return content


def _damage(entry: Any) -> str:
    """What is wrong with the form of an entry."""
    if not isinstance(entry, dict) or entry.keys() != set(Verdict._fields):
        return f"has not just {', '.join(Verdict._fields)}"
    if not all(isinstance(entry[key], str) for key in ("case", "mask", "verdict")) or type(entry["label"]) is not int:
        return "has a value of another kind"
    if entry["verdict"] not in VERDICTS:
        return f"is {entry['verdict']!r}, not one of {', '.join(VERDICTS)}"
    return ""


def verdict_table(rows: Sequence[Row], given: Mapping[tuple[str, int], str]) -> str:
    """Verdicts by organ, as a table.

    Args:
        rows: of quality.csv.
        given: case and label to verdict.
    """
    names = {row.label: row.name for row in rows}
    counts = {value: Counter(given.get((r.case, r.label), "open") for r in rows if r.label == value) for value in names}
    head = ["organ", *VERDICTS, "open"]
    cells = [[names[value], *(str(own[key]) for key in head[1:])] for value, own in counts.items()]
    total = sum(counts.values(), Counter[str]())
    return markdown_table(head, [*cells, ["all", *(str(total[key]) for key in head[1:])]])


def case_lists(rows: Sequence[Row], given: Mapping[tuple[str, int], str]) -> dict[str, list[str]]:
    """
    Scans by what is to be done with them; each is in one list.

    Returns:
        ``fix``: an organ is to be corrected; ``fail``: none is, and one is of no use; ``pass``: all organs are good;
        ``open``: the rest, not all organs of which were looked at.
    """
    cases: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: natural_key(row.case)):
        cases.setdefault(row.case, []).append(given.get((row.case, row.label), "open"))
    lists: dict[str, list[str]] = {name: [] for name in LISTS}
    for case, own in cases.items():
        lists[next(name for name in ("fix", "fail", "open", "pass") if name in own)].append(case)
    return lists
