# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""`monai-fss review`: a page to look through the masks of a folder, and what was decided on it."""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.review.folder import PAGE, REVIEW, Run, read_run, scans_of
from monai_fss.data import InputWarning, check_output, write_json, write_text_atomic

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("folder", metavar="OUT", help="folder that `monai-fss segment` wrote to")
    parser.add_argument("--images", metavar="DIR", help="where the scans are now (default: where they were)")
    parser.add_argument(
        "--verdicts",
        metavar="review.json",
        help="what the page has exported: print a table and write lists of the scans, OUT/review/fix.txt and others",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    folder = read_run(args.folder)
    check_output(folder.folder, [])
    return _write_page(folder, args.images) if args.verdicts is None else _read_back(folder, args.verdicts)


def _write_page(folder: Run, images: str | None) -> int:
    """Draw what is new, and write the page. Exit code 1 where a mask could not be looked at; it is named."""
    from monai_fss.apps.review.content import page_content
    from monai_fss.apps.review.counted import NUMBERS, run_numbers
    from monai_fss.apps.review.drawing import draw_all
    from monai_fss.apps.review.facts import support_facts
    from monai_fss.apps.review.page import page_html
    from monai_fss.data import remove_stale

    if folder.rows and not any((folder.folder / f"{case}.nii.gz").is_file() for case in folder.cases):
        raise UsageError(f"{folder.folder}: has no <case>.nii.gz. Segment with --format nifti or both to review it.")
    scans = scans_of(folder, images) if folder.rows else {}
    support, notes = support_facts(folder)
    numbers = run_numbers(folder)
    remove_stale(folder.folder / REVIEW)
    facts = draw_all(folder, scans)
    content = page_content(folder, facts, support, notes, numbers[1:])
    write_json(folder.folder / REVIEW / NUMBERS, {"run": numbers[0], "earlier": numbers[1:]})
    page = folder.folder / REVIEW / PAGE
    write_text_atomic(page, page_html(content))
    for note in notes:
        warnings.warn(note, InputWarning, stacklevel=2)
    print(f"{len(content['items'])} organ(s) of {len(facts)} scan(s): open {page} in a browser")
    without = [case for case in facts if case not in scans]
    if without:
        print(f"{len(without)} scan(s) not found, such as {without[0]}: --images says where they are", file=sys.stderr)
    problems = [own["problem"] for own in facts.values() if own["problem"]]
    print("\n".join(problems), end="\n" if problems else "", file=sys.stderr)
    return 1 if problems or without else 0


def _read_back(folder: Run, file: str) -> int:
    """Print the verdicts as a table and write the lists."""
    from monai_fss.apps.review.counted import counted_verdicts
    from monai_fss.apps.review.verdicts import LISTS, case_lists, verdict_table

    place = folder.folder / REVIEW
    given = counted_verdicts(folder, file)
    lists = case_lists(folder.rows, given)
    for name in LISTS:
        write_text_atomic(place / f"{name}.txt", "".join(f"{case}\n" for case in lists[name]))
    write_json(place / "verdicts.json", _entries(folder, given))
    print(verdict_table(folder.rows, given))
    print()
    for name in LISTS:
        print(f"{place / name}.txt: {len(lists[name])} scan(s)")
    return 0


def _entries(folder: Run, given: dict[tuple[str, int], str]) -> list[dict[str, Any]]:
    """The verdicts that count, for programs."""
    return [
        {"case": row.case, "label": row.label, "name": row.name, "verdict": given[row.case, row.label]}
        for row in folder.rows
        if (row.case, row.label) in given
    ]
