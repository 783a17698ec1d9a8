# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which study to open next: the one to label, or the one whose mask most needs a look."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.studies import Study
from monai_fss.apps.suggest import Suggestion, suggest
from monai_fss.data import Case, ContentCache, DatasetFolder, ScanError, check_scan
from monai_fss.digests import file_states

__all__ = ["QUALITY", "any_unlabelled", "next_to_label", "quality_note", "worst_quality_first"]

QUALITY = "monai_fss_quality"
"""Key in what the datastore knows of a study: the quality of its last mask."""

_ranked: dict[tuple[Any, ...], tuple[list[Suggestion], list[str]]] = {}
"""The last ranking, by what it depends on: all scans are read for another one."""


def next_to_label(
    studies: Sequence[Study], root: Path, modality: str = "", cache: ContentCache | None = None
) -> dict[str, Any]:
    """
    The study to label next, by the rule of `monai-fss suggest`: the most typical one first, then the one that is worst
    covered by those that have a final label.

    Args:
        studies: of the datastore. One that cannot be read is passed over.
        root: of the datastore, for messages.
        modality, cache: see :func:`monai_fss.apps.suggest.suggest`.

    Returns:
        ``id``, ``why``, ``rank``, ``nearest_labelled`` (distance; None without a label) and ``passed_over`` (what is
        wrong with studies that cannot be read).

    Raises:
        UsageError: there is no study without a final label that can be read.
        ScanError: a scan cannot be registered.
    """
    key = (modality, *((study.name, study.label is not None, file_states(study.image)) for study in studies))
    if key not in _ranked:
        ranking = _rank(studies, root, modality, cache)
        _ranked.clear()
        _ranked[key] = ranking
    rows, passed_over = _ranked[key]
    best = rows[0]
    nearest = None if best.nearest_chosen != best.nearest_chosen else round(best.nearest_chosen, 4)
    return {"id": best.case, "why": best.why, "rank": 1, "nearest_labelled": nearest, "passed_over": passed_over}


def worst_quality_first(studies: Sequence[Study]) -> dict[str, Any]:
    """
    The study whose last mask is probably the worst: that with the lowest quality of any organ, of equal ones that with
    the lowest mean. Studies with a final label are done and do not count.

    Returns:
        ``id``, ``why``, ``quality`` (mean), ``worst_quality``.

    Raises:
        UsageError: no study without a final label has been segmented with a quality score.
    """
    waiting = [study for study in studies if study.label is None]
    noted = [(study.known[QUALITY], study.name) for study in waiting if isinstance(study.known.get(QUALITY), dict)]
    rated = [(note["worst_quality"], note["quality"], name) for note, name in noted if note["quality"] is not None]
    if not rated:
        raise UsageError(
            f"none of the {len(waiting)} studies without a final label has a mask with a quality score. Segment them "
            "first, for example all at once: POST /batch/infer/atlas?images=unlabeled."
        )
    worst, mean, name = min(rated, key=lambda entry: entry[:2])
    return {"id": name, "why": "lowest quality of an organ", "quality": mean, "worst_quality": worst}


def any_unlabelled(studies: Sequence[Study]) -> dict[str, Any]:
    """
    A study without a final label, by chance; no scan is read.

    Returns:
        ``id``, ``why``.

    Raises:
        UsageError: all have one.
    """
    waiting = [study.name for study in studies if study.label is None]
    if not waiting:
        raise UsageError(f"all {len(studies)} studies have a final label.")
    return {"id": random.choice(waiting), "why": "by chance"}


def quality_note(params: Mapping[str, Any], model: str) -> dict[str, Any]:
    """What the datastore notes of a mask: its quality, and by what it was made."""
    return {QUALITY: {key: params[key] for key in ("quality", "worst_quality", "support")} | {"model": model}}


def _rank(
    studies: Sequence[Study], root: Path, modality: str, cache: ContentCache | None
) -> tuple[list[Suggestion], list[str]]:
    usable, passed_over = [], []
    for study in studies:
        try:
            check_scan(study.image)
            usable.append(study)
        except ScanError as error:
            passed_over += error.problems
    waiting = [study for study in usable if study.label is None]
    if not waiting:
        why = f" ({'; '.join(passed_over)})" if passed_over else ""
        raise UsageError(f"all {len(studies) - len(passed_over)} studies that can be read have a final label{why}.")
    if len(usable) == 1:
        only = Suggestion(1, waiting[0].name, "the only study", 0.0, float("nan"), 0.0, 0.0)
        return [only], passed_over
    cases = {study.name: Case(study.name, study.image) for study in usable}
    data = DatasetFolder(root, root.name, modality=modality, cases=cases)
    return suggest(data, [study.name for study in usable if study.label is not None], 1, cache), passed_over
