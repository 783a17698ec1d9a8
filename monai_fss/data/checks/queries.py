# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Checks on the scans to be segmented, against the support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from monai_fss.data.problems import Findings, ScanError
from monai_fss.data.reading.scans import Scan, check_scan

__all__ = ["check_not_support", "check_queries", "check_range"]

_RATIO = 10.0
_NEGATIVE_SHARE = 0.25


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
    scans: dict[str, Scan] = {}
    problems: list[str] = []
    for name, path in queries.items():
        try:
            scans[name] = check_scan(path)
            for support in [supports] if isinstance(supports, Scan) else supports:
                check_not_support(scans[name], support)
                check_range(scans[name], support)
        except ScanError as e:
            problems += e.problems
    if problems:
        raise ScanError(problems)
    return scans


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
