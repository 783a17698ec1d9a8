# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which scan to correct next: that whose label may bring most to the folder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from monai_fss.apps.correct.folder import SegmentedFolder
from monai_fss.apps.correct.history import History
from monai_fss.apps.distances import scan_distances
from monai_fss.apps.errors import UsageError
from monai_fss.apps.segment.folder import deciding
from monai_fss.data import ContentCache, natural_key
from monai_fss.metrics import expected_gains, likeness
from monai_fss.results.markdown import markdown_table

__all__ = ["COLUMNS", "Gain", "advice_text", "alike_to", "expected_order", "folder_distances", "suggested"]

MOST = 300
"""Scans that are compared with each other: what is kept of each takes some MB of memory. More: those of the lowest
quality."""
COLUMNS = ("rank", "case", "expected_gain", "quality")


class Gain(NamedTuple):
    """A scan that may be corrected.

    Args:
        case: its name.
        gain: expected, in scans that are wholly bad and become wholly right, see
            :func:`monai_fss.metrics.expected_gains`.
        quality: mean of its organs.
    """

    case: str
    gain: float
    quality: float

    def cells(self, rank: int) -> list[str]:
        """As text, in the order of :data:`COLUMNS`."""
        return [str(rank), self.case, f"{self.gain:.3f}", f"{self.quality:.3f}"]


def folder_distances(run: SegmentedFolder, cases: Sequence[str]) -> np.ndarray:
    """How unlike scans of a folder are, (n, n), see :func:`monai_fss.apps.distances.scan_distances`; kept in its
    cache."""
    cache = ContentCache(run.inputs["settings"].get("cache_dir") or run.output / "cache")
    return scan_distances({case: run.scans[case] for case in cases}, run.modality, cache, run.contents)


def expected_order(
    run: SegmentedFolder, labelled: Collection[str] = (), without: Collection[str] = (), count: int | None = None
) -> list[Gain]:
    """
    Rank the scans of a folder for correction.

    Args:
        run: the folder.
        labelled: cases that have a label: they are right, and not ranked.
        without: cases that are not ranked, such as those of a validation; they count among those that may gain.
        count: how many to rank at most. Default: all.

    Returns:
        the ranking: greatest expected gain first.

    Raises:
        UsageError: the masks have no quality.
    """
    known = {case: 1.0 if case in labelled else rated for case, rated in run.quality().items()}
    rated = {case: value for case, value in known.items() if value is not None}
    if len(rated) < len(known):
        raise UsageError(f"{run.output}: masks have no quality. Segment without --no-quality to know what may gain.")
    cases = sorted(sorted(rated, key=natural_key), key=lambda case: rated[case])[:MOST]
    gains = expected_gains(folder_distances(run, cases), [rated[case] for case in cases])
    found = [Gain(case, float(gain), rated[case]) for case, gain in zip(cases, gains, strict=True)]
    return sorted((g for g in found if g.case not in {*labelled, *without}), key=lambda g: -g.gain)[:count]


def suggested(run: SegmentedFolder, labelled: Collection[str] = (), count: int | None = None) -> list[Gain]:
    """:func:`expected_order` of a folder, of which corrections are known: by its own history, and ``labelled``."""
    history = History(run.output, deciding(run.inputs))
    truths = {case for one in history.rounds for case in one.get("truths", {})}
    return expected_order(run, {*history.labels, *labelled}, truths, count)


def alike_to(run: SegmentedFolder, labels: Collection[str]) -> dict[str, dict[str, float]]:
    """Case of each label to case to likeness, of all scans of a folder; of more than :data:`MOST` scans those of the
    lowest quality, the others being 0 alike."""
    rated = run.quality()
    others = sorted((case for case in run.scans if case not in labels), key=lambda case: rated[case] or 0.0)
    cases = [*labels, *others[: max(MOST - len(labels), 1)]]
    if len(cases) < 2:
        return {label: {} for label in labels}
    alike = likeness(folder_distances(run, cases))
    unknown = dict.fromkeys(run.scans, 0.0)
    return {
        label: unknown | dict(zip(cases, map(float, alike[place]), strict=True)) for place, label in enumerate(labels)
    }


def advice_text(order: Sequence[Gain], whole: bool = False) -> str:
    """The ranking as a table, or in one line what to correct next."""
    if not order:
        return "No scan is left to be corrected."
    first = order[0]
    line = f"Correct {first.case} next (expected gain {first.gain:.2f} scans, quality {first.quality:.3f})."
    if not whole:
        return line
    table = markdown_table([*COLUMNS], [gain.cells(rank) for rank, gain in enumerate(order, 1)])
    told = "Expected gain: the sum over the scans of (1 - quality) x likeness, in scans that become wholly right."
    return f"{table}\n\n{told}\n{line}"
