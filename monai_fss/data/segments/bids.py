# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Masks as a BIDS derivative: names of files, and the files that describe the whole."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import monai_fss
from monai_fss.data.files.atomic import write_json, write_text_atomic
from monai_fss.data.problems import ScanError
from monai_fss.data.segments.label_tables import tsv_text
from monai_fss.data.segments.segment import Segment

__all__ = ["DESCRIPTION_FILE", "bids_cases", "bids_places", "write_bids_files", "write_bids_sidecars"]

DESCRIPTION_FILE = "dataset_description.json"
_VERSION = "1.10.0"
_CASES = "participants.tsv"
_COLUMN = "monai_fss_cases"
_MASK = "_dseg.nii.gz"
_BIDS = re.compile(r"sub-[0-9A-Za-z]+(?:_[a-z]+-[0-9A-Za-z]+)*(?:_[0-9A-Za-z]+)?")
# What a run writes that BIDS has no place for.
_IGNORED = ("*.csv", "report.json", ".run.json", "overlays/", "probabilities/", "cache/", "history/")


def bids_places(cases: Iterable[str]) -> dict[str, str]:
    """
    Where the masks of cases lie in a BIDS derivative.

    A case that is named as BIDS names scans keeps its entities: ``sub-01_ses-2_T1w`` is
    ``sub-01/ses-2/anat/sub-01_ses-2_dseg.nii.gz``. Of any other name the letters and digits are the subject:
    ``case_07`` is ``sub-case07/anat/sub-case07_dseg.nii.gz``.

    Args:
        cases: their names.

    Returns:
        case to the place of its mask, relative to the derivative.

    Raises:
        ScanError: two cases would have one name, or one has no letter nor digit that BIDS allows.
    """
    places: dict[str, str] = {}
    problems = []
    known: dict[str, str] = {}
    for case in cases:
        try:
            places[case] = _place(case)
        except ValueError as error:
            problems.append(str(error))
            continue
        other = known.setdefault(places[case].lower(), case)  # file systems may not tell capitals
        if other != case:
            problems.append(
                f"{case}: has the same BIDS name as {other}, {places[case]}. Rename one of the scans, or leave out "
                "--bids."
            )
    if problems:
        raise ScanError(problems)
    return places


def _place(case: str) -> str:
    if _BIDS.fullmatch(case):
        entities = [part for part in case.split("_") if "-" in part]
    else:
        plain = re.sub(r"[^0-9A-Za-z]", "", case.removeprefix("sub-"))
        if not plain:
            raise ValueError(f"{case}: has no letter or digit that a BIDS name may have. Rename the scan.")
        entities = [f"sub-{plain}"]
    folders = [part for part in entities[:2] if part.startswith(("sub-", "ses-"))]
    return "/".join((*folders, "anat", "_".join(entities) + _MASK))


def bids_cases(folder: str | Path) -> dict[str, Path]:
    """
    The masks of a BIDS derivative, by the names that their cases have for us.

    Args:
        folder: of a ``dataset_description.json``.

    Returns:
        case to mask: as ``participants.tsv`` says where this package has written it, else the name without ``_dseg``.

    Raises:
        ScanError: what it says of cases has been damaged.
    """
    folder = Path(folder)
    masks = sorted(folder.glob(f"sub-*/**/anat/*{_MASK}"))
    known = {place: case for case, place in _known(folder).items()}
    return {known.get(mask.relative_to(folder).as_posix(), mask.name.removesuffix(_MASK)): mask for mask in masks}


def _known(folder: Path) -> dict[str, str]:
    """Case to place, of those that ``participants.tsv`` names."""
    if not (folder / _CASES).is_file():
        return {}
    text = (folder / _CASES).read_text(encoding="utf-8", errors="replace")
    rows = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        return {str(name): _place(str(name)) for row in rows for name in json.loads(row.get(_COLUMN) or "[]")}
    except (TypeError, ValueError) as error:
        raise ScanError(
            f"{folder / _CASES}: column {_COLUMN} does not hold names of cases ({error}). Remove the column."
        ) from error


def write_bids_files(
    folder: str | Path, places: Mapping[str, str], segments: Sequence[Segment], algorithm: str
) -> None:
    """
    Write what describes a derivative as a whole: its description, the case names of its participants, what of the
    folder is not BIDS, and the lookup table of labels.

    Args:
        folder: of the derivative.
        places: of :func:`bids_places`, of all cases that it has.
        segments: the organs.
        algorithm: name of the method.
    """
    folder = Path(folder)
    made = {"Name": "monai_fss", "Version": monai_fss.__version__, "Description": f"segmentation by {algorithm}"}
    description: dict[str, Any] = {"Name": "Segmentations by monai_fss", "BIDSVersion": _VERSION}
    description |= {"DatasetType": "derivative", "GeneratedBy": [made]}
    write_json(folder / DESCRIPTION_FILE, description)
    subjects: dict[str, list[str]] = {}
    for case, place in places.items():
        subjects.setdefault(place.split("/", 1)[0], []).append(case)
    lines = [f"{subject}\t{json.dumps(cases)}" for subject, cases in subjects.items()]
    write_text_atomic(folder / _CASES, "\n".join((f"participant_id\t{_COLUMN}", *lines)) + "\n")
    told = "names of the scans that were segmented, a JSON list"
    write_json(folder / "participants.json", {_COLUMN: {"Description": told}})
    write_text_atomic(folder / ".bidsignore", "\n".join(_IGNORED) + "\n")
    write_text_atomic(folder / "dseg.tsv", tsv_text(segments))


def write_bids_sidecars(mask: str | Path, segments: Sequence[Segment], manual: bool = False) -> None:
    """
    Write the sidecars of a mask: its table of labels (``.tsv``) and its description (``.json``).

    Args:
        mask: ``..._dseg.nii.gz``.
        segments: the organs.
        manual: whether a person has drawn or corrected it. Default: not.
    """
    stem = str(mask).removesuffix(".nii.gz")
    write_text_atomic(f"{stem}.tsv", tsv_text(segments))
    write_json(f"{stem}.json", {"Manual": manual})
