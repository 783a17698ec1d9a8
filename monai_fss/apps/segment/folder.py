# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The folder of `monai-fss segment`: what its results depend on, and which scans are still to do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.data import check_output, sha256_of
from monai_fss.data.files.output import RUN_FILE
from monai_fss.handlers.segment_report import read_quality

__all__ = ["check_inputs_stay", "depends_on", "pending"]

SCAN_KEYS = ("images", "cases", "scans")
"""Of a report's inputs, what is of the scans that are segmented: there may be more of them than before."""


def depends_on(
    bundle: str,
    model: str | Path | None,
    support_image: Sequence[str],
    support_label: Sequence[str],
    labels: Sequence[int] | None,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """What the results depend on: an interrupted run goes on only with the same."""
    networks = [str(file) for file in (model, settings.get("prnet")) if file]
    files = [*networks, *support_image, *support_label]
    return {
        "bundle": bundle,
        "model": str(model) if model else None,
        "support_image": list(support_image),
        "support_label": list(support_label),
        "sha256": {file: sha256_of(file) for file in files},
        "labels": None if labels is None else list(labels),
        "settings": settings,
    }


def check_inputs_stay(inputs: Sequence[Path], output: Path, cases: Sequence[str]) -> None:
    """Refuse an output folder in which a mask would take the place of a scan or of its label."""
    masks = {(output / f"{case}.nii.gz").resolve() for case in cases}
    lost = [file for file in inputs if file.resolve() in masks]
    if lost:
        raise UsageError(
            f"{output}: a result would replace the input {', '.join(map(str, lost[:3]))}. Give another --output."
        )


def pending(
    output: Path,
    cases: list[str],
    overwrite: bool,
    note: dict[str, Any],
    quality: bool,
    overlays: bool,
    ending: str = "nii.gz",
    failed: bool = False,
) -> list[str]:
    """Cases without a complete result: a mask, its rows in quality.csv and its picture.

    A finished folder of the same command goes on where it lacks a mask: of a scan that is new, or could not be done.

    Args:
        output: folder of the results.
        cases: names of the usable scans.
        overwrite: do them all again.
        note: what the results depend on.
        quality, overlays: whether they are wanted.
        ending: of the masks that stay.
        failed: whether scans that cannot be used are there: a finished folder is then looked at again.

    Raises:
        ScanError: results exist, and are not of this command, or complete.
    """
    # The report is written last: where there is one, a run is finished, be it over other scans.
    names = [*(f"{case}.nii.gz" for case in cases), "report.json"]
    if not overwrite and not (output / RUN_FILE).exists() and _same_command(output, note):
        missing = [case for case in cases if not (output / f"{case}.{ending}").exists()]
        if missing or failed:
            check_output(output, [f"{case}.{ending}" for case in missing])
            return missing
    unmade = check_output(output, names, overwrite, note)
    if overwrite:
        return cases
    rows = {row["case"] for row in read_quality(output / "quality.csv")}
    drawn = {p.stem for p in (output / "overlays").glob("*.png")} if overlays else set(cases)
    return [c for c in cases if f"{c}.nii.gz" in unmade or c not in rows or c not in drawn]


def _same_command(output: Path, note: dict[str, Any]) -> bool:
    """Whether the report of a finished folder says the same of what its masks depend on, whatever scans there are."""
    try:
        known = json.loads((output / "report.json").read_text(encoding="utf-8"))["inputs"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or of something else: refused as any file there
        return False
    wanted = json.loads(json.dumps({key: value for key, value in note.items() if key not in SCAN_KEYS}))
    return isinstance(known, dict) and wanted == {key: value for key, value in known.items() if key not in SCAN_KEYS}
