# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which verdicts of a review page count: those on masks that are still the same."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from monai_fss.apps.errors import UsageError
from monai_fss.apps.review.drawing import kept_facts
from monai_fss.apps.review.folder import PAGE, REVIEW, Run
from monai_fss.apps.review.verdicts import read_verdicts
from monai_fss.data import InputWarning, ScanError
from monai_fss.digests import changes, digests

__all__ = ["NUMBERS", "counted_verdicts", "run_numbers"]

NUMBERS = "run.json"
"""File of the page: the run's number, and those that it had before."""


def counted_verdicts(folder: Run, file: str | Path) -> dict[tuple[str, int], str]:
    """
    Read a review.json, without verdicts on masks that have changed since.

    Args:
        folder: the masks, with a page.
        file: what the page has exported.

    Returns:
        case and label to verdict.

    Raises:
        UsageError: there is no page.
        ScanError: see :func:`monai_fss.apps.review.verdicts.read_verdicts`; a case cannot be listed.

    Warns:
        InputWarning: with the verdicts that do not count.
    """
    if not (folder.folder / REVIEW / PAGE).is_file():
        raise UsageError(f"{folder.folder}: has no page yet. Run `monai-fss review {folder.folder}` first.")
    verdicts = read_verdicts(file, folder, run_numbers(folder))
    broken = [case for case in folder.cases if len(case.splitlines()) > 1]
    if broken:
        raise ScanError(
            f"{folder.folder}: the name {broken[0]!r} has a line break, and lists have a name a line. Rename it."
        )
    masks = _masks(folder)
    stale = [own for own in verdicts if masks.get((own.case, own.label)) != own.mask]
    if stale:
        named = ", ".join(f"{own.case} (label {own.label})" for own in stale[:5])
        more = f" and {len(stale) - 5} more" if len(stale) > 5 else ""
        text = f"{file}: {len(stale)} verdict(s) are of masks that have changed since and do not count: {named}{more}"
        warnings.warn(f"{text}. Run `monai-fss review` and look at them again.", InputWarning, stacklevel=3)
    return {(own.case, own.label): own.verdict for own in verdicts if own not in stale}


def run_numbers(folder: Run) -> list[str]:
    """The run's number, then those that its page had before."""
    path = folder.folder / REVIEW / NUMBERS
    if not path.exists():
        return [folder.number]
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        before = [str(number) for number in (known["run"], *known["earlier"])]
    except (ValueError, KeyError, TypeError) as error:
        raise ScanError(f"{path}: is damaged ({error}). Remove it; verdicts can then be imported no more.") from error
    return list(dict.fromkeys([folder.number, *before]))


def _masks(folder: Run) -> dict[tuple[str, int], str]:
    """Case and label to what the mask held when the page was made, without masks that have changed since."""
    found: dict[tuple[str, int], str] = {}
    for case in folder.cases:
        facts = kept_facts(folder.folder, case)
        before = {"mask": facts.get("files", {}).get("mask")}
        if facts and not changes(before, digests({"mask": folder.folder / f"{case}.nii.gz"}, before)):
            found |= {(case, int(value)): organ["mask"] for value, organ in facts["organs"].items()}
    return found
