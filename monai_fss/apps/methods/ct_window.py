# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which intensities of CT are looked at."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from monai_fss.data import InputWarning

if TYPE_CHECKING:
    from monai_fss.data import Scan

__all__ = ["SOFT_TISSUE", "ct_window", "guessed_window", "looks_like_ct", "say_window", "training_window"]

SOFT_TISSUE = [-125, 275]  # HU, of abdominal CT in the few-shot papers
AIR = -100  # HU: CT reaches below; MR, as scanners write it, does not


def ct_window(modality: str) -> dict[str, Any]:
    """The setting ``window`` for a data set: soft tissue where its dataset.json says CT, else none."""
    return {"window": list(SOFT_TISSUE)} if modality.upper() == "CT" else {}


def training_window(
    modality: str, known: Mapping[str, Any], settings: Mapping[str, Any], scans: Sequence[Scan] = ()
) -> dict[str, Any]:
    """The setting ``window`` that a training adds to those of the user: soft tissue for CT, else none.

    Args:
        modality: of the data set; where it is not known, the scans say it, if they agree.
        known: the configuration; nothing is added where it has no window, or one of its own.
        settings: of the user; nothing is added where they have one.
        scans: that are trained on.

    Warns:
        InputWarning: some of the scans look like CT and others do not.
    """
    if not modality:
        modality = _modality(scans)
    return {} if "window" in settings or known.get("window", 0) is not None else ct_window(modality)


def _modality(scans: Sequence[Scan]) -> str:
    ct = [looks_like_ct(scan) for scan in scans]
    if any(ct) and not all(ct):
        odd = next(scan for scan, own in zip(scans, ct, strict=True) if not own)
        warnings.warn(
            f"{odd.path}: does not look like CT, and {sum(ct)} of {len(ct)} scans do. Each is scaled by itself. Name "
            "the modality in dataset.json, or give --set window=[-125,275].",
            InputWarning,
            stacklevel=3,
        )
    return "CT" if ct and all(ct) else ""


def say_window() -> None:
    """Print that CT is clipped, and how to change it."""
    low, high = SOFT_TISSUE
    print(f"CT: intensities are clipped to {low} to {high} HU (soft tissue); --set window=[LOW,HIGH] for others")


def looks_like_ct(scan: Scan) -> bool:
    """Whether the darkest hundredth of a scan is as dark as air or fat in CT: a voxel or two of ringing are not."""
    return scan.low < AIR


def guessed_window(scan: Scan, modality: str = "") -> dict[str, Any]:
    """The setting ``window`` for a scan: soft tissue where it is CT.

    Args:
        scan: what is known of it.
        modality: where that is known. Default: it is guessed, see :func:`looks_like_ct`.
    """
    if modality.upper() != "CT" if modality else not looks_like_ct(scan):
        return {}
    say_window()
    return ct_window("CT")
