# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A folder that `monai-fss segment` has finished: its scans, masks and quality, and what it was made by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.method import Method
from monai_fss.apps.segment.formats import MaskFiles
from monai_fss.data import ScanError, list_scans, modality_of, sha256_of, unfinished_run
from monai_fss.digests import changes, digests
from monai_fss.handlers.segment_report import read_quality

__all__ = ["SegmentedFolder", "is_segmented", "mean_quality"]

_REPORT, _TABLE = "report.json", "quality.csv"


@dataclass
class SegmentedFolder:
    """
    What is known of it.

    Args:
        output: the folder.
        method: what segmented it.
        inputs: what it was called with, see the report.
        images: folder of the scans.
        scans: case name to scan, of those that could be used.
        rows: of ``quality.csv``.
        files: where its masks lie.
        seconds: that a scan took for each labelled one; None where it is not known.
    """

    output: Path
    method: Method
    inputs: Mapping[str, Any]
    images: Path
    scans: dict[str, Path]
    rows: list[dict[str, str]]
    files: MaskFiles
    seconds: float | None

    @classmethod
    def read(cls, output: str | Path, images: str | Path | None = None) -> SegmentedFolder:
        """
        Read a folder, and see that nothing that it was made of has changed since.

        Args:
            output: the folder.
            images: folder of its scans, where they lie elsewhere now.

        Raises:
            UsageError: it is none, or its run was interrupted.
            ScanError: a scan, a labelled scan or the model has changed or is missing.
        """
        output = Path(output)
        report = _report(output)
        inputs = report["inputs"]
        folder = Path(images or inputs["images"])
        if not folder.exists():
            raise UsageError(f"{folder}: the scans of {output} are not there. Give their folder: --images DIR.")
        listed = list_scans(folder)
        scans = {case: listed[case] for case in inputs["cases"] if case in listed}
        _check_same(output, inputs, scans)
        forms = report.get("format", ["nifti"])
        files = MaskFiles([name for name in forms if name != "bids"], "bids" in forms, inputs["cases"])
        done, labelled = len(report.get("segmented_now", ())), max(len(inputs["support_image"]), 1)
        seconds = report["seconds"] / done / labelled if done else None
        method = Method(inputs["bundle"])
        return cls(output, method, inputs, folder, scans, read_quality(output / _TABLE), files, seconds)

    @property
    def names(self) -> dict[int, str]:
        """Label value to name of its organs, in rising order."""
        found = {int(row["label"]): row["name"] for row in self.rows}
        return {value: found[value] for value in sorted(found)}

    @property
    def contents(self) -> dict[str, str]:
        """Case name to SHA-256 of its scan."""
        return {case: self.inputs["queries"][case]["sha256"] for case in self.scans}

    @property
    def modality(self) -> str:
        """ "CT" where the run treated its scans as such, else what the labelled scans' data set says."""
        return "CT" if self.inputs["settings"].get("window") else modality_of(self.inputs["support_label"])

    def quality(self) -> dict[str, float | None]:
        """Case name to the mean quality of its organs; None where it has none, 0 where there is no mask."""
        found = {case: [row for row in self.rows if row["case"] == case] for case in self.scans}
        return {case: mean_quality(rows) if rows else 0.0 for case, rows in found.items()}

    def mask(self, case: str) -> Path | None:
        """The mask of a case, or None."""
        file = self.output / self.files.of(case)[0]
        return file if file.exists() else None


def mean_quality(rows: Sequence[Mapping[str, str]]) -> float | None:
    """Of rows of a ``quality.csv``; None where one has no quality."""
    texts = [row["quality"] for row in rows]
    return sum(map(float, texts)) / len(texts) if texts and all(texts) else None


def is_segmented(folder: str | Path) -> bool:
    """Tell whether `monai-fss segment` has finished a folder."""
    return all((Path(folder) / name).is_file() for name in (_REPORT, _TABLE))


def _report(output: Path) -> dict[str, Any]:
    if unfinished_run(output) is not None:
        raise UsageError(f"{output}: `monai-fss segment` was interrupted there. Run the same command again first.")
    if not is_segmented(output):
        raise UsageError(f"{output}: is no folder that `monai-fss segment` has finished (no {_REPORT}). Give one.")
    try:
        report = json.loads((output / _REPORT).read_text(encoding="utf-8"))
        known = {"images", "cases", "queries", "bundle", "support_image", "support_label", "settings", "labels"}
        missing = known - report["inputs"].keys()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{output / _REPORT}: is damaged ({error}). Segment the scans again.") from error
    if missing:
        raise UsageError(f"{output / _REPORT}: does not say {', '.join(sorted(missing))}. Segment the scans again.")
    return dict(report)


def _check_same(output: Path, inputs: Mapping[str, Any], scans: Mapping[str, Path]) -> None:
    problems = []
    for file, known in inputs["sha256"].items():
        now = sha256_of(file) if Path(file).exists() else None
        if now != known:
            problems.append(f"{file}: {'is missing' if now is None else 'has changed'} since {output} was made by it.")
    noted = {case: inputs["queries"][case] for case in inputs["cases"]}
    told = changes(noted, digests(scans, noted))
    problems += [f"{scans.get(case, case)}: is {word} since its mask was made." for case, word in told.items()]
    if problems:
        raise ScanError([f"{problem} Segment the scans again, or put it back." for problem in problems])
