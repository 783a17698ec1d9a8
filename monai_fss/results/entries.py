# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The result of one evaluation: scores, and the settings under which they were measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from monai_fss.metrics import STATES

__all__ = ["Entry", "Results"]

REQUIRED_SETTINGS = ("bundle", "dataset", "split", "protocol", "ways", "runs", "labelled_slices")
_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "str": (str,), "float": (int, float)}


@dataclass(frozen=True)
class Entry:
    """One score: one class in one query volume by one method.

    Args:
        fold: fold of the split in which the case is a query.
        run: number of the repetition.
        case: case id of the query.
        label: label value of the class.
        name: name of the class, such as "liver".
        method: what made the mask, such as "adnet", or a baseline, see :mod:`monai_fss.results.baselines`.
        dice: Dice score of the volume, a fraction 0..1; nan where the state is "absent".
        hd95: 95th percentile Hausdorff distance in mm; nan where it is undefined.
        assd: average symmetric surface distance in mm; nan where it is undefined.
        state: "scored", "absent_predicted" or "absent" (see :py:class:`monai_fss.metrics.Score`).
        quality: label-free quality of the mask, 0..1; nan where it was not asked for.
        volume_ml: of the mask; nan where it was not asked for.
        nsd: normalised surface Dice, a fraction 0..1; nan where it is undefined or was not measured.

    Raises:
        ValueError: where a value is of the wrong kind, the state is unknown, or a Dice score does not fit it.
    """

    fold: int
    run: int
    case: str
    label: int
    name: str
    method: str
    dice: float
    hd95: float
    assd: float
    state: str
    quality: float = math.nan
    volume_ml: float = math.nan
    nsd: float = math.nan

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), str(field.type)
            if not isinstance(value, _KINDS[kind]) or isinstance(value, bool):
                raise ValueError(
                    f"entry of case {self.case!r}: {field.name} is {value!r}. Give a value of type {kind}."
                )
        if self.state not in STATES:
            raise ValueError(f"entry of case {self.case!r}: unknown state {self.state!r}. Use one of {STATES}.")
        if math.isnan(self.dice) != (self.state == "absent") or not (math.isnan(self.dice) or 0 <= self.dice <= 1):
            raise ValueError(
                f"entry of case {self.case!r}: a Dice score of {self.dice} does not fit the state {self.state!r}. "
                "Give a fraction 0..1, and nan for an absent class."
            )


@dataclass(frozen=True)
class Results:
    """All scores of one evaluation and the settings under which they were measured.

    Args:
        settings: at least ``bundle``, ``dataset``, ``split``, ``protocol``, ``ways``, ``runs`` and
            ``labelled_slices``; further ones, such as ``folds``, ``steps``, ``seeds``, ``versions`` and ``command``,
            are kept. Values are such as JSON knows.
        entries: the scores.

    Raises:
        ValueError: where a setting is missing, or two entries are of the same fold, run, case, label and method.
    """

    settings: dict[str, Any]
    entries: list[Entry]

    def __post_init__(self) -> None:
        missing = [key for key in REQUIRED_SETTINGS if key not in self.settings]
        if missing:
            raise ValueError(f"settings: {', '.join(missing)} missing. Say under which settings the scores were made.")
        seen = set()
        for entry in self.entries:
            key = (entry.fold, entry.run, entry.case, entry.label, entry.method)
            if key in seen:
                raise ValueError(
                    f"entries: fold, run, case, label and method {key} occur twice. Score each volume once."
                )
            seen.add(key)
