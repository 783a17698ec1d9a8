# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The one labelled scan of a self-training, and whether it and the others can be learnt from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_fss.data.checks.inputs import training_problems
from monai_fss.data.dataset import chosen_cases
from monai_fss.data.items import scan_item
from monai_fss.data.problems import ScanError
from monai_fss.data.reading.scans import check_label, check_support

__all__ = ["check_self_training", "labelled_case", "unlabelled_items"]


def labelled_case(folder: str | Path, support: str, label: str | Path = "") -> dict[str, Any]:
    """The labelled scan.

    Args:
        folder: data set folder.
        support: name of the case.
        label: its label. Default "": ``labels/<support>`` of the folder.

    Returns:
        ``image``, ``label`` (paths), ``stamp``, ``case`` (name) and ``values`` (label values that it shows, rising).

    Raises:
        ScanError: no case is named, there is no such case, or it has no label.
    """
    if not support:
        raise ScanError("support: is not set. Name the labelled case, such as support=case_01.")
    case = chosen_cases(folder, [support])[0]
    file = str(label or case.label or "")
    if not file:
        raise ScanError(f"{case.image}: has no label. Add labels/{case.name}.nii.gz, or give support_label=FILE.")
    values = sorted(value for value in check_label(file, None).counts if value)
    return {**scan_item(case.image, file), "case": case.name, "values": values}


def unlabelled_items(folder: str | Path, cases: Sequence[str] | None, support: str) -> list[dict[str, Any]]:
    """The other scans: ``image``, ``stamp``, ``case``; their labels are not looked at."""
    chosen = chosen_cases(folder, cases)
    return [{**scan_item(case.image), "case": case.name} for case in chosen if case.name != support]


def check_self_training(
    folder: str | Path,
    support: str,
    label: str | Path = "",
    cases: Sequence[str] | None = None,
    labels: Sequence[int] | None = None,
) -> None:
    """End the program with exit code 2 where a scan or the label is bad; for a bundle's ``initialize``.

    Args:
        folder, support, label: see :func:`labelled_case`.
        cases: names of the unlabelled scans. Default: all.
        labels: label values wanted. Default: all that the label shows.

    Raises:
        SystemExit: 2, after the problems have been printed, a line each.
    """
    problems = training_problems(folder, cases)
    try:
        item = labelled_case(folder, support, label)
        check_support(item["image"], item["label"], labels)
        if not unlabelled_items(folder, cases, item["case"]):
            problems.append(f"{folder}: has no scan beside {item['case']}. Add some; they need no label.")
    except ScanError as error:
        problems += error.problems
    if problems:
        print("\n".join(dict.fromkeys(problems)), file=sys.stderr)  # the labelled scan may be one of the folder
        raise SystemExit(2)
