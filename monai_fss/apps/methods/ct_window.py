# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which intensities of CT are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_fss.data import Scan

__all__ = ["SOFT_TISSUE", "ct_window", "guessed_window", "say_window", "training_window"]

SOFT_TISSUE = [-125, 275]  # HU, of abdominal CT in the few-shot papers
AIR = -100  # HU: CT reaches below; MR, as scanners write it, does not


def ct_window(modality: str) -> dict[str, Any]:
    """The setting ``window`` for a data set: soft tissue where its dataset.json says CT, else none."""
    return {"window": list(SOFT_TISSUE)} if modality.upper() == "CT" else {}


def training_window(modality: str, known: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The setting ``window`` that a training adds to those of the user: soft tissue for CT, else none.

    Args:
        modality: of the data set.
        known: the configuration; nothing is added where it has no window, or one of its own.
        settings: of the user; nothing is added where they have one.
    """
    return {} if "window" in settings or known.get("window", 0) is not None else ct_window(modality)


def say_window() -> None:
    """Print that CT is clipped, and how to change it."""
    low, high = SOFT_TISSUE
    print(f"CT: intensities are clipped to {low} to {high} HU (soft tissue); --set window=[LOW,HIGH] for others")


def guessed_window(scan: Scan) -> dict[str, Any]:
    """The setting ``window`` for a scan of unknown modality: soft tissue where its least value is that of CT."""
    if scan.minimum > AIR:
        return {}
    say_window()
    return ct_window("CT")
