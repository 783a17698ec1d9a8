# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which scans a folder holds, by case name."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from monai_fss.data.problems import Findings, InputWarning, ScanError
from monai_fss.data.segments.bids import DESCRIPTION_FILE, bids_cases

__all__ = [
    "SCAN_SUFFIXES",
    "case_name",
    "is_dicom_file",
    "is_dicom_folder",
    "label_case_name",
    "list_labels",
    "list_scans",
    "natural_key",
]

SCAN_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
LABEL_SUFFIXES = (".seg.nrrd", ".dcm", *SCAN_SUFFIXES)  # scans are not of the first two
# What lies beside scans and is none: nobody expects a mask of it.
COMPANIONS = (
    *(".json", ".txt", ".csv", ".tsv", ".md", ".yaml", ".yml", ".xml", ".html", ".log", ".pdf", ".py", ".sh"),
    *(".png", ".jpg", ".jpeg", ".bval", ".bvec", ".raw", ".zraw", ".raw.gz", ".pt"),
    *(".label", ".ctbl"),
)
OUTPUTS = ("report.json", ".run.json", "quality.csv")  # of a folder of masks, which may lie among the scans
DEEPEST = 5000  # entries of a sub-folder that are looked at
MOST_NAMED = 8


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that counts numbers as numbers: ``case_2`` comes before ``case_10``."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((0, int(part)) if i % 2 else (1, part) for i, part in enumerate(parts))


def case_name(path: str | Path) -> str:
    """
    Return the name of a case: the file name without its scan suffix, or the name of a DICOM folder.

    Example::

        case_name("images/case_07.nii.gz")  # "case_07"
    """
    return _without(path, SCAN_SUFFIXES)


def label_case_name(path: str | Path) -> str:
    """Return the name of the case that a label file is of: ``case_07.seg.nrrd`` and ``case_07.dcm`` are of case_07."""
    return _without(path, LABEL_SUFFIXES)


def _without(path: str | Path, suffixes: Iterable[str]) -> str:
    name = Path(path).name
    if name in ("", ".."):  # of "." and of the way up: the folder has another name
        name = Path(path).resolve().name
    suffix = next((s for s in suffixes if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def is_dicom_folder(path: Path) -> bool:
    """Tell whether ``path`` is a folder with at least one DICOM file (by suffix .dcm or by the DICM mark) in it."""
    return path.is_dir() and any(is_dicom_file(p) for p in sorted(path.iterdir()) if not p.name.startswith("."))


def list_scans(folder: str | Path) -> dict[str, Path]:
    """
    List the scans of a folder by case name, in natural order.

    A scan is a file ``<case>.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``, or a sub-folder with a DICOM series. All else
    is passed over; what may be a scan (another format, DICOM files beside others, scans that lie deeper) is named. A
    single scan file and a DICOM series folder may be given too.

    Args:
        folder: the folder, or one scan.

    Returns:
        case name to path.

    Raises:
        ScanError: the folder does not exist, holds no scan, or two scans share a case name.

    Warns:
        InputWarning: what is passed over and may be a scan, in one line.
    """
    folder = Path(folder)
    if not folder.exists():
        raise ScanError(f"{folder}: does not exist. Check the path.")
    if not folder.is_dir():
        return {case_name(folder): folder}
    found = Findings(folder)
    scans = _by_case((p for p in folder.iterdir() if _is_scan(p)), case_name, found)
    if not scans and is_dicom_folder(folder):
        return {case_name(folder): folder}
    over = _passed_over(folder, {path.name for path in scans.values()})
    if not scans:
        remedy = "Its scans are in images/: give that folder" if (folder / "images").is_dir() else "Check the path"
        deeper = f"; passed over: {_some(over)}" if over and remedy == "Check the path" else ""
        found.refuse(f"holds no scan (looked for {', '.join(SCAN_SUFFIXES)} and DICOM folders{deeper})", remedy)
    found.raise_if_any()
    if over:
        warnings.warn(
            f"{folder}: passed over: {_some(over)}. Scans are {', '.join(SCAN_SUFFIXES)} files and folders of one "
            "DICOM series, directly in this folder: convert other formats to NIfTI, or give the folder of those.",
            InputWarning,
            stacklevel=2,
        )
    return dict(sorted(scans.items(), key=lambda item: natural_key(item[0])))


def list_labels(folder: str | Path) -> dict[str, Path]:
    """
    List the label files of a folder by case name, in natural order.

    Args:
        folder: with files of labels: what a scan may be, ``<case>.seg.nrrd`` of 3D Slicer, and DICOM Segmentation
            objects, ``<case>.dcm``; or a BIDS derivative with ``*_dseg.nii.gz``.

    Returns:
        case name to path.

    Raises:
        ScanError: the folder does not exist, holds no label, or two are of one case.

    Warns:
        InputWarning: see :func:`list_scans`.
    """
    folder = Path(folder)
    if (folder / DESCRIPTION_FILE).is_file():
        return bids_cases(folder)
    own = [p for p in folder.iterdir() if _is_label_alone(p)] if folder.is_dir() else []
    if not own:
        return list_scans(folder)
    found = Findings(folder)
    rest = [p for p in folder.iterdir() if _is_scan(p) and p not in own]
    labels = _by_case([*own, *rest], label_case_name, found)
    found.raise_if_any()
    return labels


def _is_label_alone(path: Path) -> bool:
    """Whether a file is of a format that scans do not have."""
    return path.name.lower().endswith((".seg.nrrd", ".dcm")) and path.is_file() and not path.name.startswith(".")


def _by_case(paths: Iterable[Path], name_of: Callable[[Path], str], found: Findings) -> dict[str, Path]:
    """Paths by case, in natural order; a case that is there twice is refused."""
    named: dict[str, Path] = {}
    for path in sorted(paths, key=lambda p: natural_key(p.name)):
        name = name_of(path)
        if name in named:
            found.refuse(f"case {name!r} is there twice, as {named[name].name} and {path.name}", "Remove one of them")
        named.setdefault(name, path)
    return named


def _passed_over(folder: Path, taken: Collection[str]) -> list[str]:
    """What of a folder may be scans but is not taken for such: names, with a word on why."""
    rest = [path for path in folder.iterdir() if path.name not in taken and not path.name.startswith(".")]
    rest.sort(key=lambda path: natural_key(path.name))
    files = [path for path in rest if path.is_file() and not path.name.lower().endswith(COMPANIONS)]
    files = [path for path in files if not path.name.lower().endswith(SCAN_SUFFIXES)]  # there twice: refused already
    dicom = [path.name for path in files if is_dicom_file(path) or path.name.upper() == "DICOMDIR"]
    named = [path.name for path in files if path.name not in dicom]
    named += [f"{path.name}/ (scans lie deeper in it)" for path in rest if path.is_dir() and _holds_scans(path)]
    if dicom:
        named.insert(0, f"{len(dicom)} loose DICOM file(s) ({dicom[0]}{', ...' if len(dicom) > 1 else ''})")
    return named


def _holds_scans(folder: Path) -> bool:
    """Whether a sub-folder that is no series has scans in it or below, and is not a folder of masks."""
    if any((folder / name).is_file() for name in OUTPUTS):
        return False
    seen = 0
    for place, _, names in os.walk(folder):
        for name in sorted(names):
            seen += 1
            if name.lower().endswith(SCAN_SUFFIXES) or is_dicom_file(Path(place, name)):
                return True
            if seen > DEEPEST:
                return False
    return False


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _is_scan(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return is_dicom_folder(path) if path.is_dir() else path.name.lower().endswith(SCAN_SUFFIXES)


def is_dicom_file(path: Path) -> bool:
    """Tell whether ``path`` is a DICOM file, by suffix .dcm or by the DICM mark."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".dcm":
        return True
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except PermissionError:  # of a file that is looked at in passing
        return False
