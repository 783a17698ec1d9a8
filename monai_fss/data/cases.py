# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which scans a folder holds, by case name."""

from __future__ import annotations

import re
from pathlib import Path

from monai_fss.data.problems import Findings, ScanError

__all__ = ["SCAN_SUFFIXES", "case_name", "is_dicom_file", "is_dicom_folder", "list_scans", "natural_key"]

SCAN_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


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
    name = Path(path).name
    suffix = next((s for s in SCAN_SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def is_dicom_folder(path: Path) -> bool:
    """Tell whether ``path`` is a folder with at least one DICOM file (by suffix .dcm or by the DICM mark) in it."""
    return path.is_dir() and any(is_dicom_file(p) for p in sorted(path.iterdir()) if not p.name.startswith("."))


def list_scans(folder: str | Path) -> dict[str, Path]:
    """
    List the scans of a folder by case name, in natural order.

    A scan is a file ``<case>.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``, or a sub-folder with a DICOM series. Hidden
    entries and all else are passed over. A single scan file and a DICOM series folder may be given too.

    Args:
        folder: the folder, or one scan.

    Returns:
        case name to path.

    Raises:
        ScanError: the folder does not exist, holds no scan, or two scans share a case name.
    """
    folder = Path(folder)
    if not folder.exists():
        raise ScanError(f"{folder}: does not exist. Check the path.")
    if not folder.is_dir():
        return {case_name(folder): folder}
    scans: dict[str, Path] = {}
    found = Findings(folder)
    for path in sorted((p for p in folder.iterdir() if _is_scan(p)), key=lambda p: natural_key(p.name)):
        name = case_name(path)
        if name in scans:
            found.refuse(f"case {name!r} is there twice, as {scans[name].name} and {path.name}", "Remove one of them")
        scans.setdefault(name, path)
    if not scans and is_dicom_folder(folder):
        return {folder.resolve().name: folder}
    if not scans:
        inside = "Its scans are in images/: give that folder" if (folder / "images").is_dir() else "Check the path"
        found.refuse(f"holds no scan (looked for {', '.join(SCAN_SUFFIXES)} and DICOM folders)", inside)
    found.raise_if_any()
    return dict(sorted(scans.items(), key=lambda item: natural_key(item[0])))


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
    with open(path, "rb") as stream:
        return stream.read(132)[128:] == b"DICM"
