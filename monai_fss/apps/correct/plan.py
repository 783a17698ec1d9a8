# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which scans are segmented again after a correction, and how long that will take."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from monai_fss.apps.correct.folder import SegmentedFolder
from monai_fss.apps.errors import UsageError
from monai_fss.data import natural_key
from monai_fss.results.markdown import markdown_table

__all__ = ["ALL", "SHARE", "chosen", "expected_minutes", "plan_text", "reviewed_cases"]

SHARE = 1 / 3
"""Share of the scans that count as of low quality, and share of those that count as alike to an edited one."""
ALL, BAD, LOW, ALIKE, VALIDATED, MISSING = "--all", "reviewed as bad", "low quality", "like", "validation", "no mask"


def reviewed_cases(file: str | None, run: SegmentedFolder) -> list[str]:
    """The cases that were reviewed as bad.

    Args:
        file: a text file with one case on each line; or what the review page has exported, ``<name>.json``, of which
            the scans count that have an organ with the verdict "fix" or "fail". Default: none.
        run: the folder of the masks.

    Raises:
        UsageError: it cannot be read, or names a case that the run does not have.
        ScanError: see :func:`monai_fss.apps.review.counted.counted_verdicts`.
    """
    if file is None:
        return []
    if file.lower().endswith(".json"):
        from monai_fss.apps.review.counted import counted_verdicts
        from monai_fss.apps.review.folder import read_run

        given = counted_verdicts(read_run(run.output), file)
        return list(dict.fromkeys(case for (case, _), verdict in given.items() if verdict in ("fix", "fail")))
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--review {file}: cannot be read ({error}). Give a text file, a case on each line, or a review.json."
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    strange = [name for name in names if name not in run.scans]
    if strange:
        raise UsageError(f"--review {file}: {', '.join(strange[:8])}: no such scan in {run.output}.")
    return list(dict.fromkeys(names))


def chosen(
    run: SegmentedFolder,
    likeness: Mapping[str, Mapping[str, float]],
    labelled: Collection[str],
    bad: Collection[str] = (),
    validation: Collection[str] = (),
    every: bool = False,
) -> dict[str, str]:
    """
    The scans that may gain from new labels, and why.

    They are those reviewed as bad, those kept for validation, those without a mask, the third of the lowest quality,
    and for each new label the third that is most like it, at least one each.

    Args:
        run: the folder.
        likeness: new label's case to case to likeness, see :func:`monai_fss.metrics.likeness`.
        labelled: cases that have a label now; they are never done again.
        bad: cases reviewed as bad.
        validation: cases kept for validation.
        every: take all.

    Returns:
        case to reason, in natural order.
    """
    left = [case for case in sorted(run.scans, key=natural_key) if case not in labelled]
    if every:
        return dict.fromkeys(left, ALL)
    why: dict[str, str] = {case: BAD for case in left if case in bad}
    why |= {case: VALIDATED for case in left if case in validation and case not in why}
    why |= {case: MISSING for case in left if run.mask(case) is None and case not in why}
    count = math.ceil(SHARE * len(left))
    quality = {case: rated for case, rated in run.quality().items() if rated is not None and case in left}
    for case in sorted(quality, key=lambda case: quality[case])[:count]:
        why.setdefault(case, LOW)
    for label, alike in likeness.items():
        for case in sorted(left, key=lambda case: -alike[case])[:count]:
            why.setdefault(case, f"{ALIKE} {label}")
    return {case: why[case] for case in left if case in why}


def expected_minutes(cases: Collection[str], new: Mapping[str, int], seconds: float | None) -> float | None:
    """
    Minutes that scans will take.

    Args:
        cases: of the scans.
        new: case to the number of labelled scans that are registered to it for the first time.
        seconds: of one scan and labelled scan, as measured; None where it is not known.

    Returns:
        minutes; None where that is not known.
    """
    return None if seconds is None else sum(new[case] for case in cases) * seconds / 60


def plan_text(run: SegmentedFolder, why: Mapping[str, str], labels: Sequence[str], minutes: float | None) -> str:
    """What will be done, before it is."""
    rated = run.quality()
    rows = [[case, reason, _number(rated[case])] for case, reason in why.items()]
    scans = len(run.scans)
    head = f"{len(why)} of {scans} scan(s) are segmented again by {len(labels)} labelled scan(s): {', '.join(labels)}"
    if not rows:
        return f"{head}; none is left that may gain."
    time = "how long that takes is not known" if minutes is None else f"about {max(minutes, 0.1):.1f} minute(s)"
    more = "" if set(why.values()) == {ALL} else " Do all with --all."
    table = markdown_table(["case", "why", "quality"], rows)
    return f"{head}\n\n{table}\n\nExpected: {time}.{more}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
