# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Every problem of the scans of a run, each read once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_fss.data.cases import list_scans
from monai_fss.data.checks.queries import LABEL_MAP, check_queries, judge_queries
from monai_fss.data.dataset import chosen_cases
from monai_fss.data.items import support_items
from monai_fss.data.problems import InputWarning, ScanError
from monai_fss.data.reading.scans import Scan, check_scan, check_support

__all__ = ["Inputs", "inference_problems", "look_at_inputs", "problems_of", "query_problems", "training_problems"]


def training_problems(folder: str | Path, cases: Sequence[str] | None = None) -> list[str]:
    """Every problem of the images to train on; their labels are not looked at."""
    try:
        chosen = chosen_cases(folder, cases)
    except ScanError as error:
        return error.problems
    return [p for case in chosen for p in problems_of(lambda path=case.image: check_scan(path))]  # type: ignore[misc]


@dataclass
class Inputs:
    """
    What is known of the scans of a run.

    Args:
        problems: every problem of the labelled scans, and of the folder to segment; the scans are complete where there
            is none.
        supports: the labelled scans.
        values: label values that they show, or those of them that are wanted.
        listed: all scans of the folder to segment, by case name.
        queries: those that can be segmented, by case name.
        unusable: those that cannot, by case name, with every problem.
        label_maps: what looks like a label map among them; it is not in ``queries`` unless it is the only one.
    """

    problems: list[str] = field(default_factory=list)
    supports: list[Scan] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    listed: dict[str, Path] = field(default_factory=dict)
    queries: dict[str, Scan] = field(default_factory=dict)
    unusable: dict[str, list[str]] = field(default_factory=dict)
    label_maps: list[Scan] = field(default_factory=list)

    @property
    def all_problems(self) -> list[str]:
        """Those of the scans to segment too."""
        return [*self.problems, *(problem for own in self.unusable.values() for problem in own)]


def look_at_inputs(
    support_image: str | Sequence[str],
    support_label: str | Sequence[str],
    labels: Sequence[int] | None,
    images: str | Path,
    supported: bool = True,
    cases: Collection[str] | None = None,
    part: slice = slice(None),
) -> Inputs:
    """Read and judge the support scans and the scans to segment, each once; no bad scan to segment stops the others.

    Args:
        support_image, support_label: one or several labelled scans.
        labels: label values wanted, None for all.
        images: folder of the scans to segment, or one scan.
        supported: whether labelled scans are needed. If not, they are not looked at.
        cases: names of those of the scans that are looked at. Default: all.
        part: of the sorted list of scans, those that are looked at. Default: all.
    """
    found = Inputs()
    try:
        pairs = support_items(support_image, support_label) if supported else []
        queries = list_scans(images)
        queries = {case: scan for case, scan in queries.items() if cases is None or case in cases}
        found.listed = queries
    except ScanError as error:
        return Inputs(error.problems)
    values: set[int] = set()
    for pair in pairs:
        try:
            # Of several labelled scans not each need show every organ: a gallbladder may have been taken out.
            scan, label = check_support(pair["image"], pair["label"], labels if len(pairs) == 1 else None)
            found.supports.append(scan)
            values |= label.counts.keys()
        except ScanError as error:
            found.problems += error.problems
    if len(found.supports) == len(pairs) > 1:
        found.problems += _shown_by_none(labels or (), values)
    found.values = sorted(values if labels is None else labels)
    judged = judge_queries(dict(list(queries.items())[part]), found.supports)
    found.queries, found.unusable = judged.scans, judged.unusable
    found.label_maps = list(judged.label_maps.values())
    if len(queries) == 1:  # given by itself, it is meant
        found.queries |= judged.label_maps
    return found


def _shown_by_none(wanted: Sequence[int], shown: Collection[int]) -> list[str]:
    """What is wrong with label values that are wanted of several labelled scans."""
    missing = ", ".join(str(value) for value in wanted if value not in shown)
    if not missing:
        return []
    present = ", ".join(map(str, sorted(shown)))
    return [
        f"label(s) {missing}: no labelled scan has a voxel of it; present are {present}. "
        "Ask for one of these, or label it in one of them."
    ]


def inference_problems(
    support_image: str | Sequence[str],
    support_label: str | Sequence[str],
    labels: Sequence[int] | None,
    images: str | Path,
) -> list[str]:
    """Every problem of the support scans and of the scans to segment."""
    found = look_at_inputs(support_image, support_label, labels, images)
    for scan in found.label_maps:
        warnings.warn(f"{scan.path}: {LABEL_MAP}. Leave it out if so.", InputWarning, stacklevel=2)
    return found.all_problems


def query_problems(images: str | Path) -> list[str]:
    """Every problem of the scans to segment, for a method that needs no labelled one any more."""
    try:
        queries = list_scans(images)
    except ScanError as error:
        return error.problems
    return problems_of(lambda: check_queries(queries, []))


def problems_of(check: Callable[[], object]) -> list[str]:
    """The problems that a check finds, if any."""
    try:
        check()
    except ScanError as error:
        return error.problems
    return []
