# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Checks on the scans to be segmented, against the support."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_fss.data.problems import Findings, InputWarning, ScanError
from monai_fss.data.reading.scans import Scan, check_scan

__all__ = ["Queries", "check_not_support", "check_queries", "check_range", "judge_queries"]

_RATIO = 10.0
_NEGATIVE_SHARE = 0.25
_LONGEST_NAME = 255  # bytes, of a file on the file systems in use
_MASK_SUFFIX = ".nii.gz"
LABEL_MAP = "looks like a label map, not a scan (few whole numbers, and most neighbouring voxels are equal)"


@dataclass
class Queries:
    """
    What is known of the scans to segment.

    Args:
        scans: the usable ones, by case name.
        unusable: case name to its problems.
        label_maps: usable files that look like label maps, by case name.
    """

    scans: dict[str, Scan] = field(default_factory=dict)
    unusable: dict[str, list[str]] = field(default_factory=dict)
    label_maps: dict[str, Scan] = field(default_factory=dict)


def judge_queries(queries: Mapping[str, Path], supports: Sequence[Scan]) -> Queries:
    """
    Look at every query by itself and against the supports; each is read once, and none stops the others.

    Args:
        queries: case name to path, as of :func:`monai_fss.data.list_scans`.
        supports: the labelled scans.

    Warns:
        InputWarning: see :func:`monai_fss.data.check_scan` and :func:`check_range`.
    """
    found = Queries()
    for name, path in queries.items():
        try:
            _check_name(name, path)
            scan = check_scan(path)
            for support in supports:
                check_not_support(scan, support)
            if not scan.label_like:
                for support in supports:
                    check_range(scan, support)
        except ScanError as error:
            found.unusable[name] = error.problems
        else:
            (found.label_maps if scan.label_like else found.scans)[name] = scan
    return found


def _check_name(name: str, path: Path) -> None:
    found = Findings(path)
    size = len(os.fsencode(name + _MASK_SUFFIX))
    if size > _LONGEST_NAME:
        found.refuse(
            f"name is too long: that of its mask would have {size} bytes, and {_LONGEST_NAME} are allowed",
            "Give it a shorter name",
        )
    found.raise_if_any()


def check_queries(queries: Mapping[str, Path], supports: Scan | Sequence[Scan]) -> dict[str, Scan]:
    """
    Check every query by itself and against the support; each is read once.

    Args:
        queries: case name to path, as of :func:`monai_fss.data.list_scans`.
        supports: the labelled scan or scans.

    Returns:
        case name to what is known of it.

    Raises:
        ScanError: with every problem of every query; a query that is the support.

    Warns:
        InputWarning: see :func:`monai_fss.data.check_scan` and :func:`check_range`.
    """
    judged = judge_queries(queries, [supports] if isinstance(supports, Scan) else supports)
    problems = [problem for own in judged.unusable.values() for problem in own]
    if problems:
        raise ScanError(problems)
    for name, scan in judged.label_maps.items():
        warnings.warn(f"{scan.path}: {LABEL_MAP}. Leave it out if so.", InputWarning, stacklevel=2)
        judged.scans[name] = scan
    return {name: judged.scans[name] for name in queries}


def check_not_support(query: Scan, support: Scan) -> None:
    """
    Refuse a query that is the support: the same file, or the same voxels under another name.

    Raises:
        ScanError: when it is.
    """
    found = Findings(query.path)
    if query.path.resolve() == support.path.resolve():
        found.refuse("is the support itself", "Leave it out of the queries")
    elif query.digest == support.digest:
        found.refuse(f"has the same voxels as the support {support.path}", "Leave it out of the queries")
    found.raise_if_any()


def check_range(query: Scan, support: Scan) -> None:
    """
    Warn when a query looks like another modality, scaling or export than the support.

    The ranges compared reach from the 1st to the 99th percentile (``Scan.low``, ``Scan.high``), so that a few bright
    voxels do not matter. The rule is wide on purpose, because the scale of MR is arbitrary: the ranges do not
    overlap, or one is more than ten times wider, or the part of the range below zero differs by more than a quarter
    of the range (CT in HU beside MR, or beside CT that was shifted to start at 0).

    Args:
        query: the scan in doubt.
        support: the labelled scan.

    Warns:
        InputWarning: when one of the three holds.
    """
    odd = query.low > support.high or query.high < support.low
    narrow, wide = sorted((query.high - query.low, support.high - support.low))
    odd = odd or wide > _RATIO * narrow
    odd = odd or abs(_negative_share(query) - _negative_share(support)) > _NEGATIVE_SHARE
    found = Findings(query.path)
    if odd:
        found.warn(
            f"intensities ({query.low:g} to {query.high:g}) are unlike those of the support {support.path}"
            f" ({support.low:g} to {support.high:g})",
            "Is it the same modality and export?",
        )
    found.raise_if_any()


def _negative_share(scan: Scan) -> float:
    width = scan.high - scan.low
    return min(max(-scan.low, 0.0), width) / width if width > 0 else float(scan.low < 0)
