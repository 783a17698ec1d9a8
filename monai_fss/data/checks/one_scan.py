# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which labelled scan a one-shot training learns from, and which unlabelled ones, and whether that can be right."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_fss.data.checks.inputs import training_problems
from monai_fss.data.dataset import Case, chosen_cases
from monai_fss.data.items import case_item, scan_item
from monai_fss.data.problems import InputWarning, ScanError
from monai_fss.data.reading.scans import check_support

__all__ = ["OneLabelledScan", "check_one_labelled_scan", "one_labelled_scan"]


@dataclass(frozen=True)
class OneLabelledScan:
    """
    What a one-shot training learns from.

    Args:
        labelled: the case with the label.
        unlabelled: the others, at least one. Their labels, where there are any, are not looked at.
        validation: those of them whose labels a validation is measured by.
        values: label values that are learnt, rising; the label shows each of them.
        unshown: label values that are wanted, but that it does not show, rising.
    """

    labelled: Case
    unlabelled: tuple[Case, ...]
    validation: tuple[Case, ...]
    values: list[int]
    unshown: tuple[int, ...] = ()

    @property
    def item(self) -> dict[str, Any]:
        """The labelled scan: ``image``, ``label`` (paths), ``case`` (name), ``stamp``."""
        return {**scan_item(self.labelled.image, self.labelled.label), "case": self.labelled.name}

    @property
    def items(self) -> list[dict[str, Any]]:
        """Data list of the unlabelled scans: ``image`` (path), ``case`` (name), ``stamp``."""
        return [{**scan_item(case.image), "case": case.name} for case in self.unlabelled]

    @property
    def val_items(self) -> list[dict[str, Any]]:
        """Data list of the validation, see :func:`monai_fss.data.case_item`."""
        return [case_item(case) for case in self.validation]

    def __str__(self) -> str:
        without = f"; it does not show {_text(self.unshown)}" if self.unshown else ""
        return (
            f"the label of {self.labelled.name} and {len(self.unlabelled)} unlabelled scan(s), labels "
            f"{_text(self.values)}{without}; validation on {', '.join(c.name for c in self.validation) or 'none'}"
        )


def one_labelled_scan(
    folder: str | Path,
    cases: Sequence[str] | None = None,
    support: str = "",
    labels: Sequence[int] | None = None,
    val_queries: int = 0,
) -> OneLabelledScan:
    """
    Choose the scans of a one-shot training, and the classes.

    Args:
        folder: data set folder.
        cases: names to choose from. Default: all.
        support: name of the labelled scan. Default "": the first one that has a label.
        labels: label values to learn; all others are background. Default: all that its label shows.
        val_queries: the first so many other cases with a label are validated on. They are learnt from as well, without
            their labels. Default 0: none.

    Raises:
        ScanError: with every problem: no scan has a label; there is no such scan, or no other one; the label or its
            scan is bad, or shows none of ``labels``.
    """
    chosen = chosen_cases(folder, cases)
    names = [case.name for case in chosen]
    labelled = [case for case in chosen if case.label is not None]
    if support and support not in names:
        raise ScanError(f"support {support}: is not among the scans {', '.join(names)}. Name one of them.")
    own = [case for case in labelled if support in ("", case.name)]
    if not own:
        place = f"{folder}/labels/{support or '<case>'}.nii.gz"
        raise ScanError(f"{place}: does not exist. Label one scan in all its slices, and name it with support.")
    others = [case for case in chosen if case.name != own[0].name]
    if not others:
        raise ScanError(f"{folder}: has {own[0].name} alone, and it learns from others too. Add scans.")
    assert own[0].label is not None
    shown = [value for value in check_support(own[0].image, own[0].label)[1].counts if value]
    values = sorted(set(shown) & set(shown if labels is None else labels))
    if not values:
        raise ScanError(
            f"{own[0].label}: shows none of {_text(labels or ())}, but {_text(shown)}. Name labels that it shows, or "
            "another scan with support."
        )
    validation = [case for case in labelled if case.name != own[0].name][: max(val_queries, 0)]
    unshown = tuple(sorted(set(labels or ()) - set(shown)))
    return OneLabelledScan(own[0], tuple(others), tuple(validation), values, unshown)


def check_one_labelled_scan(folder: str | Path, cases: Sequence[str] | None = None, **more: Any) -> None:
    """
    End the program with exit code 2 if a scan to train on is bad, or where :func:`one_labelled_scan` refuses; for a
    bundle's ``initialize``.

    Args:
        folder, cases, more: see :func:`one_labelled_scan`.

    Raises:
        SystemExit: 2, after the problems have been printed, a line each.

    Warns:
        InputWarning: a label value is wanted that the labelled scan does not show: it is left out.
    """
    problems = training_problems(folder, cases)
    unshown: tuple[int, ...] = ()
    try:
        unshown = one_labelled_scan(folder, cases, **more).unshown
    except ScanError as error:
        problems += error.problems
    if problems:
        print("\n".join(dict.fromkeys(problems)), file=sys.stderr)
        raise SystemExit(2)
    if unshown:
        text = f"labels: {_text(unshown)} is not learnt, as the labelled scan does not show it. Leave it out."
        warnings.warn(text, InputWarning, stacklevel=2)


def _text(values: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(values))) or "none"
