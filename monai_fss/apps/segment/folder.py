# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The folder of `monai-fss segment`: what its results depend on, and which scans are still to do."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.segment.formats import MaskFiles
from monai_fss.data import InputWarning, check_output, sha256_of, unfinished_run
from monai_fss.data.scan_table import complete_scans
from monai_fss.digests import changes, digests
from monai_fss.handlers.segment_report import QUALITY

__all__ = [
    "HISTORY",
    "REPORT",
    "check_history",
    "check_inputs_stay",
    "deciding",
    "depends_on",
    "pending",
    "read_report",
]

REPORT = "report.json"

HISTORY = "history"  # sub-folder of what `monai-fss correct` has done to the masks
_QUERIES = "queries"  # key of the note: what each scan held, by case
_FILES = ("model", "support_image", "support_label")  # keys that say where files lie: what these held counts
_OF_SCANS = ("images", "cases", "scans")  # keys of a report's inputs: there may be more scans than before
_HARMLESS = ("prnet", "cache_gb")  # settings of which the first is a file, and the other changes no mask


def depends_on(
    bundle: str,
    model: str | Path | None,
    support_image: Sequence[str],
    support_label: Sequence[str],
    labels: Sequence[int] | None,
    settings: dict[str, Any],
    queries: Mapping[str, Path],
) -> dict[str, Any]:
    """What the results depend on: an interrupted run goes on only with the same, and does changed queries anew."""
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
        _QUERIES: digests(queries),
    }


def check_inputs_stay(inputs: Sequence[Path], output: Path, files: MaskFiles, cases: Iterable[str]) -> None:
    """Refuse an output folder in which a mask would take the place of a scan or of its label."""
    masks = {(output / file).resolve() for case in cases for file in files.all_of(case)}
    lost = [file for file in inputs if file.resolve() in masks]
    if lost:
        raise UsageError(
            f"{output}: a result would replace the input {', '.join(map(str, lost[:3]))}. Give another --output."
        )


def pending(
    output: Path,
    places: Mapping[str, str],
    overwrite: bool,
    note: dict[str, Any],
    quality: bool,
    overlays: bool,
    failed: bool = False,
    ways: int = 1,
) -> list[str]:
    """Cases without a complete result: a mask, its rows in quality.csv and its picture; and those whose scan has
    changed since its mask was made, which are named.

    A finished folder of the same command goes on where it lacks a mask: of a scan that is new, or could not be done.

    Args:
        output: folder of the results.
        places: usable scans by name, to the mask that stays, relative to the folder.
        overwrite: do them all again.
        note: what the results depend on.
        quality, overlays: whether they are wanted.
        failed: whether scans that cannot be used are there: a finished folder is then looked at again.
        ways: organs, and so rows of a scan.

    Raises:
        ScanError: results exist, and are not of this command, or complete.
        UsageError: they are to be replaced, and have been corrected by `monai-fss correct`.
    """
    cases = list(places)
    check_history(output, overwrite)
    # The report is written last: where there is one, a run is finished, be it over other scans.
    names = [*(f"{case}.nii.gz" for case in cases), REPORT]
    found = None if overwrite else unfinished_run(output)
    finished = {} if overwrite or found is not None else _finished(output)
    if finished and deciding(finished) == deciding(note):
        missing = [case for case in cases if not (output / places[case]).exists()]
        again = {*missing, *_changed(output, finished, note, [case for case in cases if case not in missing])}
        if again or failed:
            check_output(output, [places[case] for case in missing])
            return [case for case in cases if case in again]
    before = found if isinstance(found, dict) else {}
    unmade = check_output(output, names, overwrite, before if deciding(before) == deciding(note) else note)
    if overwrite:
        return cases
    rows = complete_scans(output / QUALITY, ways)
    drawn = {p.stem for p in (output / "overlays").glob("*.png")} if overlays else set(cases)
    kept = [c for c in cases if f"{c}.nii.gz" not in unmade and c in rows and c in drawn]
    changed = _changed(output, before, note, kept)
    return [c for c in cases if c not in kept or c in changed]


def check_history(output: Path, overwrite: bool) -> None:
    """Refuse to replace masks that `monai-fss correct` has worked on.

    Raises:
        UsageError: as said.
    """
    if overwrite and (output / HISTORY).exists():
        raise UsageError(
            f"{output / HISTORY}: has corrections of the masks that --overwrite would replace. Move it away, or give "
            "another --output."
        )


def deciding(note: Mapping[str, Any]) -> dict[str, Any]:
    """Of a note of :func:`depends_on`, what decides the masks of all scans: what files held and not where they lie."""
    own = {key: value for key, value in note.items() if key not in (_QUERIES, *_FILES, *_OF_SCANS)}
    own["settings"] = {key: value for key, value in note.get("settings", {}).items() if key not in _HARMLESS}
    given = {key: bool(note.get(key)) for key in _FILES} | {"prnet": bool(note.get("settings", {}).get("prnet"))}
    plain: dict[str, Any] = json.loads(json.dumps({**own, **given, "sha256": list(note.get("sha256", {}).values())}))
    return plain


def _changed(output: Path, before: Mapping[str, Any], note: Mapping[str, Any], kept: Sequence[str]) -> list[str]:
    """Of the cases that have a mask, those whose scan is another one now; they are named."""
    if not kept:
        return []
    if _QUERIES not in before:
        text = (
            f"{output}: its note does not say what the scans held: {len(kept)} mask(s) are kept as if none had changed."
        )
        warnings.warn(f"{text} Give --overwrite to make them anew.", InputWarning, stacklevel=3)
        return []
    told = changes(before[_QUERIES], note[_QUERIES])
    changed = [case for case in kept if case in told]
    if changed:
        print(f"{', '.join(changed)}: changed since the mask was made; segmenting again", flush=True)
    return changed


def read_report(file: Path) -> dict[str, Any]:
    """What a report says; empty where there is none."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or of something else: refused as any file there
        return {}
    return known if isinstance(known, dict) else {}


def _finished(output: Path) -> dict[str, Any]:
    """What the report of a finished folder says that its masks depend on; empty where there is none."""
    known = read_report(output / REPORT).get("inputs")
    return known if isinstance(known, dict) else {}
