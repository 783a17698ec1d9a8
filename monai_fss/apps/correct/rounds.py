# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A round of corrections: scans are segmented again, and better masks take the place of the old ones."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor

from monai_fss.apps.correct.folder import SegmentedFolder, mean_quality
from monai_fss.apps.correct.history import History
from monai_fss.apps.segment.pipeline import segment
from monai_fss.data import LoadScan
from monai_fss.data.files.nifti_output import save_nifti
from monai_fss.handlers.segment_report import SegmentReport, read_quality, write_quality
from monai_fss.inferers.found import with_found

__all__ = ["BY_HAND", "apply_round", "decide", "segment_again"]

BY_HAND = "corrected by hand"
KEPT, REPLACED, FAILED = "kept", "replaced", "failed"


def segment_again(run: SegmentedFolder, history: History, entry: dict[str, Any], resumed: bool) -> dict[str, str]:
    """
    Segment the scans of a round by all labelled scans into ``history/NNN/new``; an interrupted one goes on.

    Args:
        resumed: whether it was interrupted, so that its time tells nothing.

    Returns:
        case to reason, of those that failed.
    """
    target = history.place(entry["number"], "new")
    report = target / "report.json"
    if not entry["why"]:
        return {}
    if not report.exists():
        start, inputs = time.time(), run.inputs
        labels = sorted(history.labels)
        settings = {**inputs["settings"], "names": run.names}
        settings.setdefault("cache_dir", str(run.output / "cache"))
        segment(
            run.method,
            inputs["model"],
            [*inputs["support_image"], *(run.scans[case] for case in labels)],
            [*inputs["support_label"], *(history.label(case) for case in labels)],
            run.images,
            target,
            labels=list(run.names),
            settings=settings,
            cases=entry["why"],
            score=_to_score(run, entry),
        )
        entry["seconds"] = None if resumed else round(time.time() - start, 2)
        history.save()
    failed: dict[str, str] = json.loads(report.read_text(encoding="utf-8"))["failed"]
    return failed


def _to_score(run: SegmentedFolder, entry: Mapping[str, Any]) -> dict[str, Path]:
    """The old masks, where quality is wanted."""
    if not run.inputs["settings"].get("quality", True):
        return {}
    return {case: mask for case in entry["why"] if (mask := run.mask(case)) is not None}


def decide(run: SegmentedFolder, history: History, entry: dict[str, Any], always: bool) -> None:
    """
    Decide which new masks replace the old ones, and note it in the round.

    A mask is replaced as a whole, as its organs compete for voxels and their borders belong together: where the mean
    score of its organs is not lower. Old and new mask are scored by the same labelled scans and in the same way: by the
    quality, or by what a bundle names beside it (``comparison_score``).

    Args:
        always: replace all.
    """
    target = history.place(entry["number"], "new")
    report = target / "report.json"
    note = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    scored, scored_new = note.get("scored", {}), note.get("scored_new", {})
    new: dict[str, list[dict[str, str]]] = {}
    for row in read_quality(target / "quality.csv"):
        new.setdefault(row["case"], []).append(row)
    entry["masks"] = {
        case: _decided(new.get(case, []), scored.get(case), scored_new.get(case), always) | {"files": _files(run, case)}
        for case in (*entry["why"], *entry["labels"])
    }
    for case in entry["labels"]:
        entry["masks"][case] |= {"mask": BY_HAND, "before": None, "after": None}
    history.save()


def _decided(
    rows: list[dict[str, str]],
    scored: Mapping[str, float] | None,
    scored_new: Mapping[str, float] | None,
    always: bool,
) -> dict[str, Any]:
    before, after = (sum(one.values()) / len(one) if one else None for one in (scored, scored_new))
    after = mean_quality(rows) if after is None else after
    better = before is None or (after is not None and after >= before)
    word = FAILED if not rows else REPLACED if always or better else KEPT
    made: dict[str, Any] = {"mask": word, "before": before, "after": after, "scored": dict(scored or {})}
    return made | ({"scored_new": dict(scored_new)} if scored_new else {})


def _files(run: SegmentedFolder, case: str) -> list[str]:
    names = [*run.files.all_of(case), f"overlays/{case}.png", f"probabilities/{case}.nii.gz"]
    return [name for name in names if (run.output / name).exists()]


def apply_round(run: SegmentedFolder, history: History, entry: dict[str, Any]) -> None:
    """Put the masks of a round that is decided into the folder; done again after an interruption, it goes on."""
    number, masks = entry["number"], entry["masks"]
    target = history.place(number, "new")
    before = history.place(number, "quality.csv")
    if not before.exists():
        write_quality(before, run.rows)
    for case in (case for case, own in masks.items() if own["mask"] == REPLACED):
        names = [f"{case}.nii.gz", f"overlays/{case}.png", f"probabilities/{case}.nii.gz"]
        history.exchange(number, masks[case]["files"], {name: target / name for name in names})
    for case in entry["labels"]:
        history.exchange(number, masks[case]["files"], {})
        _draw(run, case, history.label(case))
    rows = _rows(run, read_quality(before), read_quality(target / "quality.csv"), masks)
    write_quality(run.output / "quality.csv", rows)
    changed = [case for case, own in masks.items() if own["mask"] in (REPLACED, BY_HAND)]
    again = [case for case in changed if (run.output / f"{case}.nii.gz").exists()]
    made = {case: scan for case, scan in run.scans.items() if case in again or run.mask(case) is not None}
    run.files.write(run.output, made, again, run.method.bundle, manual=entry["labels"])
    entry["done"] = True
    history.save()


def _draw(run: SegmentedFolder, case: str, label: Path) -> None:
    """The edited mask as a result of the run: mask, picture, and its rows of quality.csv."""
    mask = LoadScan(as_label=True)(label, run.scans[case])
    pred = with_found(mask, mask, [{"notes": {str(value): BY_HAND for value in run.names}}])
    overlays = bool(run.inputs["settings"].get("overlays", True))
    image = MetaTensor(torch.empty(0), meta={"filename_or_obj": str(run.scans[case])})
    save_nifti(run.output / f"{case}.nii.gz", mask[0].numpy(), mask.affine.numpy(), run.scans[case])
    SegmentReport(run.output, list(run.names), run.names, overlays=overlays).report({"image": image, "pred": pred})


def _rows(
    run: SegmentedFolder,
    before: list[dict[str, str]],
    new: list[dict[str, str]],
    masks: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, str]]:
    """Rows of quality.csv: of new masks theirs, of edited ones what was found now, of kept ones their new score, where
    that is the quality."""
    word = {case: own["mask"] for case, own in masks.items()}
    drawn = [row for row in read_quality(run.output / "quality.csv") if word.get(row["case"]) == BY_HAND]
    taken = [row for row in new if word.get(row["case"]) == REPLACED]
    fresh = {row["case"] for row in (*drawn, *taken)}
    kept = []
    for row in (row for row in before if row["case"] not in fresh):
        own = masks.get(row["case"], {})
        score = None if "scored_new" in own else own.get("scored", {}).get(row["label"])
        kept.append(row if score is None else {**row, "quality": f"{score:.4f}"})
    order = {case: place for place, case in enumerate(run.scans)}
    return sorted([*kept, *taken, *drawn], key=lambda row: order.get(row["case"], len(order)))
