# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a review page shows, as JSON values: the template knows nothing else."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from monai_fss.apps.correct.checked import read_radius
from monai_fss.apps.correct.table import last_changes
from monai_fss.apps.review.folder import Row, Run
from monai_fss.apps.segment.folder import HISTORY
from monai_fss.metrics import FAR, conformal_interval, robust_z
from monai_fss.visualize import LETTERS, PIXELS, label_styles

__all__ = ["SCHEMA", "page_content"]

SCHEMA = "monai-fss review 1"
"""Of the page's content and of review.json."""


def page_content(
    run: Run,
    facts: Mapping[str, Mapping[str, Any]],
    support: Mapping[int, Mapping[str, Any]],
    notes: list[str],
    earlier: list[str],
) -> dict[str, Any]:
    """
    Everything that a page shows.

    Args:
        run: the folder of masks.
        facts: of each scan, see :func:`monai_fss.apps.review.drawing.draw_all`.
        support, notes: see :func:`monai_fss.apps.review.facts.support_facts`.
        earlier: numbers that the run had before; the browser may keep verdicts under them.

    Returns:
        JSON values. ``items`` has one entry for each organ of each scan, the worst first: those of the lowest quality,
        an empty mask's being 0; then those without a quality; among equals those whose volume is farthest from usual.
    """
    cases = {case: number for number, case in enumerate(run.cases)}
    items = [_item(row, cases[row.case], facts[row.case], support.get(row.label, {})) for row in run.rows]
    _add_corrections(run, items)
    _score_volumes(items)
    items.sort(key=_badness)
    styles = label_styles(list(run.names), run.names)
    return {
        "schema": SCHEMA,
        "run": run.number,
        "earlier": earlier,
        "title": run.folder.resolve().name,
        "bundle": str(run.note.get("bundle")),
        "far": FAR,
        "pixels": PIXELS,
        "letters": LETTERS,
        "notes": notes,
        "failed": [{"case": case, "reason": reason} for case, reason in run.failed.items()],
        "organs": {
            str(value): {"name": name, "colour": styles[value][0], "dashed": styles[value][1] != "-"}
            for value, name in run.names.items()
        },
        "cases": [_case(run.folder, case, facts[case]) for case in cases],
        "items": items,
    }


def _case(folder: Path, case: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Name, place of its pictures as an address relative to the page, and what is wrong with it."""
    overlay = folder / "overlays" / f"{case}.png"
    return {
        "name": case,
        "images": f"images/{_quoted(case)}/",
        "overlay": f"../overlays/{_quoted(overlay.name)}" if overlay.is_file() else None,
        "problem": facts["problem"],
        "changed": facts["changed"],
    }


def _quoted(name: str) -> str:
    return quote(os.fsencode(name), safe="")


def _item(row: Row, case: int, facts: Mapping[str, Any], support: Mapping[str, Any]) -> dict[str, Any]:
    organ = facts["organs"].get(str(row.label), {})
    volume, usual = organ.get("volume_ml"), support.get("volume_ml")
    return {
        "case": case,
        "label": row.label,
        "quality": row.quality,
        "volume": volume,
        "ratio": round(volume / usual, 3) if usual and volume is not None else None,
        "z": None,
        "pieces": organ.get("pieces"),
        "expected": support.get("pieces"),
        "note": row.note,
        "mask": organ.get("mask"),
        "mm": organ.get("mm"),
        "slices": organ.get("slices"),
    }


def _add_corrections(run: Run, items: list[dict[str, Any]]) -> None:
    """Give each item what the last round of corrections did about it, and the interval of its Dice score."""
    there = (run.folder / HISTORY).is_dir()  # moved away, it is of masks that are no longer these
    changes, known = (last_changes(run.folder), read_radius(run.folder)) if there else ({}, None)
    names = run.cases
    for item in items:
        row = changes.get((names[item["case"]], item["label"]))
        item["before"] = None if row is None else _before(run.folder, row)
        item["dice"] = None
        if known is not None and item["quality"] is not None:
            ends = [round(end, 2) for end in conformal_interval(item["quality"], known["radius"])]
            item["dice"] = [*ends, round(100 * known["coverage"]), known["masks"]]


def _before(folder: Path, row: Mapping[str, str]) -> dict[str, Any]:
    """A row of correct.csv: what became of the mask, quality and volume before, and the picture of then."""
    number = int(row["round"])
    kept = f"{number:03d}"
    picture = folder / HISTORY / kept / "overlays" / f"{row['case']}.png"
    return {
        "round": number,
        "mask": row["mask"],
        "quality": [float(text) if text else None for text in (row["quality_before"], row["quality_new"])],
        "volume": float(row["volume_before_ml"]) if row["volume_before_ml"] else None,
        "overlay": f"../{HISTORY}/{kept}/overlays/{_quoted(picture.name)}" if picture.is_file() else None,
    }


def _score_volumes(items: list[dict[str, Any]]) -> None:
    """Give each item its volume's score among the folder's masks of that organ that are not empty."""
    organs: dict[int, list[dict[str, Any]]] = {}
    for item in items:
        if item["volume"] is not None:
            organs.setdefault(item["label"], []).append(item)
    for own in organs.values():
        scores = robust_z([item["volume"] for item in own], [item["volume"] for item in own if item["volume"] > 0])
        for item, score in zip(own, scores, strict=True):
            item["z"] = None if score is None else round(score, 2)


def _badness(item: Mapping[str, Any]) -> tuple[float, float]:
    quality = 0.0 if item["quality"] is None and item["volume"] == 0 else item["quality"]
    return math.inf if quality is None else quality, -abs(item["z"] or 0.0)
