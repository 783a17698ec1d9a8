# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A label-free score of masks that are there already, to compare them with others of the same scans."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_fss.data import LoadScan, query_items

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["COMPARISON", "score_masks"]

COMPARISON = "comparison_score"
"""Of a bundle's ``inference.yaml``."""


def score_masks(parser: ConfigParser, masks: Mapping[str, tuple[Path, Path]]) -> dict[str, dict[int, float]]:
    """
    Score masks by the labelled scans of a run.

    Where registrations are kept, this costs none that the run has not made: a mask is carried back by the registration
    of its scan, whatever it shows.

    The score is the bundle's ``comparison_score``, where its quality asks more of a mask than its voxels, or else its
    ``quality_score``.

    Args:
        parser: of the bundle's ``configs/inference.yaml``, ready to run.
        masks: case name to scan and mask.

    Returns:
        case name to label value to score, rounded as in ``quality.csv``.
    """
    from monai.transforms import ResampleToMatch

    if not masks:
        return {}
    by = COMPARISON if COMPARISON in parser else "quality_score"
    prepare, quality = (parser.get_parsed_content(key) for key in ("preprocessing", by))
    on_image = ResampleToMatch(mode="nearest", padding_mode="zeros")
    scored = {}
    for case, (scan, mask) in masks.items():
        image = prepare(query_items([scan])[0])["image"]
        label: Any = LoadScan(as_label=True)(mask, scan)
        working = on_image(label.float(), image).round().to(label.dtype)
        found = quality({"image": image, "pred": label, "working": working})
        scored[case] = {int(value): round(float(score), 4) for value, score in found.items()}
    return scored
