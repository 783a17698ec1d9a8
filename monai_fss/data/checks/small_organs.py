# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which of the organs that are learnt get a second stage of their own."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monai_fss.data.checks.learnt_scans import LearntScans, learnt_scans
from monai_fss.data.problems import InputWarning
from monai_fss.data.reading.scans import check_label, check_scan

__all__ = ["check_small_organs", "small_organs"]


def small_organs(learnt: LearntScans, small: Sequence[int] | None = None, most_ml: float = 100.0) -> list[int]:
    """
    The small ones among the classes that are learnt, which get a second stage of their own.

    Args:
        learnt: what is learnt from.
        small: label values that are wanted; of these, those that are learnt. Default: by size.
        most_ml: by size, those whose mean volume over the scans that show them is less than this. Default 100: liver,
            spleen, kidneys and stomach are larger; pancreas, gallbladder, adrenal glands and oesophagus are not.

    Returns:
        label values, rising.
    """
    if small is not None:
        return sorted(set(small) & set(learnt.values))
    sizes: dict[int, list[float]] = {}
    for case in learnt.training:
        assert case.label is not None
        scan = check_scan(case.image)
        for value, voxels in check_label(case.label, scan).counts.items():
            sizes.setdefault(value, []).append(voxels * float(np.prod(scan.spacing)) / 1000)
    return [value for value in learnt.values if np.mean(sizes[value]) < most_ml]


def check_small_organs(learning: Mapping[str, Any], small: Sequence[int] | None, most_ml: float) -> None:
    """
    End the program with exit code 2 where small organs are wanted that are not learnt; for a bundle's ``initialize``.

    Args:
        learning: arguments of :func:`learnt_scans`.
        small, most_ml: see :func:`small_organs`.

    Raises:
        SystemExit: 2, after the problem has been printed.

    Warns:
        InputWarning: no organ is small, so that there is no second stage.
    """
    learnt = learnt_scans(**learning)
    if strange := sorted(set(small or ()) - set(learnt.values)):
        print(
            f"small: {_listed(strange)} is not learnt, which are {_listed(learnt.values)}. Choose from these.",
            file=sys.stderr,
        )
        raise SystemExit(2)
    if not small_organs(learnt, small, most_ml):
        text = (
            f"small: no organ has less than {most_ml:g} ml, so there is no second stage. Name some, or raise small_ml."
        )
        warnings.warn(text, InputWarning, stacklevel=2)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values)) or "none"
