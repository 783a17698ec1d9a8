# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The files that masks of a run are written to, for the programs that people draw in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from monai_fss.apps.errors import UsageError
from monai_fss.data import (
    ScanError,
    Segment,
    bids_places,
    ctbl_text,
    dicom_seg_problems,
    segments_of,
    snap_text,
    write_bids_files,
    write_bids_sidecars,
    write_dicom_seg,
    write_seg_nrrd,
    write_text_atomic,
)
from monai_fss.data.files.nifti_output import save_nifti
from monai_fss.data.segments.found import TABLES
from monai_fss.handlers.segment_report import QUALITY, read_quality

__all__ = ["FORMATS", "MaskFiles"]

FORMATS = ("nifti", "seg-nrrd", "dicom-seg", "both")
_ENDINGS = {"nifti": ".nii.gz", "seg-nrrd": ".seg.nrrd", "dicom-seg": ".dcm"}
Write = Callable[[np.ndarray, np.ndarray, Path, Sequence[Segment], Path], object]


class MaskFiles:
    """
    Which files the masks of a run become.

    A run writes ``<case>.nii.gz`` first, scan by scan, so that an interrupted one goes on; when all are there, the
    other files are made of them, and they go where they were not asked for.

    Args:
        formats: some of "nifti" (with the tables ``labels.label`` of ITK-SNAP and ``labels.ctbl`` of 3D Slicer),
            "seg-nrrd" (``<case>.seg.nrrd`` of 3D Slicer), "dicom-seg" (``<case>.dcm``; scans must be DICOM series), or
            "both", which is "nifti" and "dicom-seg".
        bids: lay NIfTI out as a BIDS derivative, ``sub-*/anat/*_dseg.nii.gz`` with sidecars.
        cases: names of the scans.

    Raises:
        UsageError: a BIDS derivative is asked for, and a format that it has no place for.
        ScanError: two scans would have one BIDS name, see :func:`monai_fss.data.bids_places`.
    """

    def __init__(self, formats: str | Sequence[str], bids: bool, cases: Iterable[str]) -> None:
        words = [formats] if isinstance(formats, str) else list(formats)
        plain = [name for word in words for name in (("nifti", "dicom-seg") if word == "both" else (word,))]
        self.formats = tuple(dict.fromkeys(plain))
        self.bids = bids
        other = [name for name in self.formats if name != "nifti"]
        if bids and other:
            raise UsageError(f"--format {other[0]}: a BIDS derivative holds NIfTI. Leave --bids or --format out.")
        self._places = bids_places(cases) if bids else {}

    @property
    def keeps_nifti(self) -> bool:
        """Whether ``<case>.nii.gz`` stays."""
        return "nifti" in self.formats and not self.bids

    def problems(self, queries: Mapping[str, Path]) -> dict[str, list[str]]:
        """Case to every reason why its mask cannot be written, without the cases that have none."""
        if "dicom-seg" not in self.formats:
            return {}
        problems = {case: dicom_seg_problems(scan) for case, scan in queries.items()}
        return {case: own for case, own in problems.items() if own}

    def of(self, case: str) -> list[str]:
        """Files of a case's mask, relative to the folder; where the first one is, the case is done."""
        return [self._places[case]] if self.bids else [f"{case}{_ENDINGS[name]}" for name in self.formats]

    def all_of(self, case: str) -> list[str]:
        """Those, and what lies there on the way to them."""
        sidecars = [self._places[case].replace(".nii.gz", end) for end in (".tsv", ".json")] if self.bids else []
        return list(dict.fromkeys([*self.of(case), *sidecars, f"{case}.nii.gz"]))

    def write(
        self,
        output: str | Path,
        queries: Mapping[str, Path],
        again: Iterable[str] = (),
        algorithm: str = "monai_fss",
        manual: Collection[str] = (),
        table: str = QUALITY,
    ) -> list[str]:
        """
        Make the files from each ``<case>.nii.gz`` of a run that is done.

        The organs are those of ``quality.csv``: every class that was asked for, found or not. Cases that have their
        file are passed over: an interrupted run goes on.

        Args:
            output: folder of the run.
            queries: case name to scan, as of :func:`monai_fss.data.list_scans`.
            again: cases whose files are replaced if they exist: those segmented now.
            algorithm: name of the method, for those that have a place for it.
            manual: cases whose masks a person has drawn or corrected.
            table: name of the table that has the organs. Default ``quality.csv``.

        Returns:
            the cases written now.

        Raises:
            ScanError: a mask or its names are missing; see also :func:`monai_fss.data.write_dicom_seg`.
        """
        output, again = Path(output), set(again)
        rows = read_quality(output / table)
        names = {int(row["label"]): row["name"] for row in rows}
        organs = segments_of({value: names[value] for value in sorted(names)})
        known = {row["case"] for row in rows}
        written: set[str] = set()
        for place, write in self._writers(algorithm):
            todo = [case for case in queries if case in again or not (output / place(case)).exists()]
            _check_made(output, todo, known)
            for case in todo:
                write(*_mask(output / f"{case}.nii.gz"), queries[case], organs, output / place(case))
                if self.bids:
                    write_bids_sidecars(output / place(case), organs, case in manual)
            written |= set(todo)
        self._write_tables(output, organs, algorithm, [case for case in queries if case in known])
        if not self.keeps_nifti:
            for case in queries:
                (output / f"{case}.nii.gz").unlink(missing_ok=True)
        return [case for case in queries if case in written]

    def _writers(self, algorithm: str) -> list[tuple[Callable[[str], str], Write]]:
        """How each kind of file is named and made."""

        def dicom(mask: np.ndarray, affine: np.ndarray, scan: Path, organs: Sequence[Segment], path: Path) -> None:
            names = {organ.value: organ.name for organ in organs}
            write_dicom_seg(mask, affine, scan, names, path, algorithm=algorithm)

        if self.bids:
            return [(lambda case: self._places[case], _write_bids)]
        known: dict[str, Write] = {"seg-nrrd": _write_nrrd, "dicom-seg": dicom}
        return [
            (lambda case, name=name: f"{case}{_ENDINGS[name]}", known[name])  # type: ignore[misc]
            for name in self.formats
            if name in known
        ]

    def _write_tables(self, output: Path, organs: Sequence[Segment], algorithm: str, cases: Sequence[str]) -> None:
        if self.bids:
            write_bids_files(output, {case: self._places[case] for case in cases}, organs, algorithm)
        elif self.keeps_nifti:
            write_text_atomic(output / f"{TABLES}.label", snap_text(organs))
            write_text_atomic(output / f"{TABLES}.ctbl", ctbl_text(organs))


def _check_made(output: Path, cases: Sequence[str], known: Collection[str]) -> None:
    missing = [case for case in cases if case not in known or not (output / f"{case}.nii.gz").exists()]
    if missing:
        raise ScanError(
            f"{output}: has no {missing[0]}.nii.gz, or no row of it in quality.csv ({len(missing)} case(s)). "
            "Segment the scans first."
        )


def _mask(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import nibabel as nib

    mask = nib.Nifti1Image.from_filename(path)
    return np.asarray(mask.dataobj), np.asarray(mask.affine)


def _write_nrrd(mask: np.ndarray, affine: np.ndarray, scan: Path, organs: Sequence[Segment], path: Path) -> None:
    write_seg_nrrd(mask, affine, organs, path)


def _write_bids(mask: np.ndarray, affine: np.ndarray, scan: Path, organs: Sequence[Segment], path: Path) -> None:
    save_nifti(path, mask, affine, scan)
