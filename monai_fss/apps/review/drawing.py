# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Pictures and measures of each scan of a run, made once and kept beside the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from monai_fss.apps.review.facts import mask_of, organ_facts
from monai_fss.apps.review.folder import REVIEW, Run
from monai_fss.data import ScanError, atomic_path, read_scan, write_json, write_text_atomic
from monai_fss.data.reading.geometry import spacing_of
from monai_fss.data.reading.labels import Grid
from monai_fss.digests import changes, digests
from monai_fss.visualize import grey_window, label_styles, organ_planes, outlines_svg, planes_picture

__all__ = ["FACTS", "draw_all", "kept_facts", "pictures_of"]

FACTS = "facts.json"
VERSION = 1
"""Of the pictures and measures: raise it when they change."""
_QUALITY = 90  # of JPEG: a quarter of a PNG's size, and no artefact to be seen


def pictures_of(folder: Path, case: str) -> Path:
    """Folder of a scan's pictures and measures in a folder of masks."""
    return folder / REVIEW / "images" / case


def kept_facts(folder: Path, case: str) -> dict[str, Any]:
    """What is known of a scan from an earlier call; empty where nothing is, or of another version.

    ``files``: digests of scan and mask; ``organs``: see :func:`draw_all`; ``problem``: why there is no picture.
    """
    try:
        facts = json.loads((pictures_of(folder, case) / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not drawn yet, or damaged: it is drawn anew
        return {}
    return facts if isinstance(facts, dict) and facts.get("version") == VERSION else {}


def draw_all(run: Run, scans: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """
    Measure and draw every mask that is new or changed, or whose scan is; one at a time is in memory.

    Args:
        run: the folder of masks. Pictures go to ``review/images/<case>/<label>.jpg``, contours to ``<label>.svg``.
        scans: case to scan, of those that are there. Without it a mask is measured, and pictures that are there stay.

    Returns:
        case to what is known of it: ``problem``, why there is no picture or measure, or an empty text; ``changed``,
        whether its scan is another one than was segmented; ``organs``, label value as text to
        :func:`monai_fss.apps.review.facts.organ_facts`, with ``mm`` and ``slices`` of the three planes where drawn.
    """
    from tqdm.auto import tqdm

    values: dict[str, list[int]] = {}
    for row in run.rows:
        values.setdefault(row.case, []).append(row.label)
    queries = run.note.get("queries", {})
    found = {}
    for case in tqdm(run.cases, "drawing", unit="scan", disable=None):
        facts = _up_to_date(run, case, values[case], scans.get(case))
        now, then = facts["files"].get("scan", {}), queries.get(case, {})
        found[case] = {**facts, "changed": bool(now and then and now["sha256"] != then["sha256"])}
    return found


def _up_to_date(run: Run, case: str, values: Sequence[int], scan: Path | None) -> dict[str, Any]:
    """Facts of a scan, from before where nothing has changed."""
    known, folder = kept_facts(run.folder, case), pictures_of(run.folder, case)
    files = {"mask": run.folder / f"{case}.nii.gz", **({} if scan is None else {"scan": scan})}
    before = known.get("files") or {"scan": run.note.get("queries", {}).get(case)}
    now = digests(files, before)
    settings = {"window": run.window and list(run.window), "values": list(values), "all": list(run.names)}
    if scan is None and "scan" in before:  # moved away since: what was drawn is still true
        before = {"mask": before.get("mask")}
    same = known and not changes(before, now) and known.get("settings") == settings
    if same and all((folder / name).is_file() for name in _pictures(known)):
        return known
    facts: dict[str, Any] = {"version": VERSION, "files": now, "settings": settings, "problem": "", "organs": {}}
    (folder / FACTS).unlink(missing_ok=True)  # pictures of two masks are not to be taken for one
    try:
        facts["organs"] = _drawn(run, case, files, values)
    except ScanError as error:
        facts["problem"] = " ".join(error.problems)
    write_json(folder / FACTS, facts)
    return facts


def _pictures(facts: Mapping[str, Any]) -> list[str]:
    drawn = [value for value, organ in facts["organs"].items() if "mm" in organ]
    return [f"{value}.{ending}" for value in drawn for ending in ("jpg", "svg")]


def _drawn(run: Run, case: str, files: Mapping[str, Path], values: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Measures of a mask; its pictures are written."""
    if "scan" not in files:
        return organ_facts(case, *mask_of(files["mask"]), values)
    import nibabel as nib

    image, affine = read_scan(files["scan"])
    shape = (image.shape[0], image.shape[1], image.shape[2])
    mask, _ = mask_of(files["mask"], Grid(files["scan"], affine, shape))
    organs = organ_facts(case, mask, affine, values)
    styles = label_styles(np.unique(mask[mask > 0]).tolist(), run.names)
    axcodes, window = nib.orientations.aff2axcodes(affine), run.window or grey_window(image)
    for value, planes in organ_planes(image, mask, spacing_of(affine), axcodes, window, values):
        place = pictures_of(run.folder, case) / str(value)
        with atomic_path(place.with_suffix(".jpg")) as unfinished:
            Image.fromarray(planes_picture(planes)).save(unfinished, quality=_QUALITY)
        write_text_atomic(place.with_suffix(".svg"), outlines_svg(planes, styles, value))
        organs[str(value)] |= {"mm": round(planes[0].millimetres, 1), "slices": [plane.number for plane in planes]}
    return organs
