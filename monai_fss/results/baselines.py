# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The baselines of an evaluation: what a method must be better than, by their names in the tables."""

from __future__ import annotations

__all__ = ["MASK_PASTE", "UNTRAINED", "is_baseline", "untrained_name"]

MASK_PASTE = "mask paste"
"""The masks of the labelled slices, laid on the query as they are."""
UNTRAINED = "untrained network"
"""The method's network before any training."""
_BEFORE = "untrained "  # a method's name has no space before " + atlas"


def untrained_name(method: str) -> str:
    """The name of :data:`UNTRAINED` where several methods stand in one table, such as "untrained adnet"."""
    return f"{_BEFORE}{method}"


def is_baseline(method: str) -> bool:
    """Whether a name of the tables is that of a baseline. These are compared by Dice alone; no distance is measured."""
    return method == MASK_PASTE or method.startswith(_BEFORE)
