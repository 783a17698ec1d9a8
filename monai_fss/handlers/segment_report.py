# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What is written beside the masks: quality.csv and overlays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine
from monai.data.utils import affine_to_spacing
from monai.engines.utils import IterationEvents

from monai_fss.data import atomic_path, case_name, count_values, read_scan
from monai_fss.data.scan_table import ScanTable, read_rows, write_rows
from monai_fss.inferers import found_in
from monai_fss.visualize import overlay, to_png

__all__ = [
    "ALL_COLUMNS",
    "QUALITY",
    "QUALITY_COLUMNS",
    "SegmentReport",
    "forget_scans",
    "read_quality",
    "write_quality",
]

QUALITY = "quality.csv"

QUALITY_COLUMNS = ("case", "label", "name", "volume_ml", "quality", "note")
SIMILARITY = "similarity"  # one more, where masks were compared
ALL_COLUMNS = (*QUALITY_COLUMNS, SIMILARITY)


def read_quality(path: Path) -> list[dict[str, str]]:
    """Rows of a quality.csv; none where there is no file. A column that it lacks is empty."""
    return list(read_rows(path, ALL_COLUMNS))


def forget_scans(
    output_dir: str | Path, cases: Collection[str], files: Iterable[str] = (), table: str = QUALITY
) -> None:
    """Remove what an output folder holds of scans that could not be done: masks, pictures and rows of quality.csv.

    Args:
        output_dir: folder of the masks.
        cases: their names.
        files: of their masks, where there is more than ``<case>.nii.gz``.
        table: name of the table.
    """
    folder = Path(output_dir)
    for case in cases:
        for name in (f"{case}.nii.gz", f"probabilities/{case}.nii.gz", f"overlays/{case}.png"):
            (folder / name).unlink(missing_ok=True)
    for name in files:
        (folder / name).unlink(missing_ok=True)
    ScanTable(folder / table, ALL_COLUMNS).forget(cases)


def write_quality(path: Path, rows: Sequence[Mapping[str, str]], compared: bool = False) -> None:
    """Write a quality.csv, whole or not at all; with a column of similarity where ``compared``, or a row has one."""
    write_rows(path, ALL_COLUMNS if compared or any(row[SIMILARITY] for row in rows) else QUALITY_COLUMNS, rows)


class SegmentReport:
    """Handler of the inference evaluator that reports on each segmented scan.

    `quality.csv` gets a row for each scan and class: its volume in ml, its label-free quality (empty where switched
    off, 0 where nothing was found) and, as far as the inferer knows, why nothing was found or the mask is doubtful, and
    how it was found; where masks are compared with the labelled one, also how similar they are.
    `overlays/<case>.png` shows the contours. Every file is whole at any time, so an interrupted run goes on with the
    scans that have no row.

    Args:
        output_dir: folder of the masks.
        values: label values of the ways.
        names: label value to name. Default: ``label_<value>``.
        quality: gives the quality of each value from the evaluator's output for one scan, such as
            :class:`monai_fss.inferers.ReverseAccuracy`. None: no quality.
        overlays: draw the pictures.
        similarity: gives the similarity of each value's mask with the labelled one, as ``quality`` gives that, such as
            :class:`monai_fss.inferers.MaskSimilarity`. None: the table has no such column, unless scans of an earlier
            run have it.
        table: name of the table. Default ``quality.csv``.
    """

    def __init__(
        self,
        output_dir: str | Path,
        values: Sequence[int],
        names: Mapping[int, str] | None = None,
        quality: Callable[[Mapping[str, Any]], Mapping[int, float]] | None = None,
        overlays: bool = True,
        similarity: Callable[[Mapping[str, Any]], Mapping[int, float]] | None = None,
        table: str = QUALITY,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.values = [int(v) for v in values]
        self.names = {v: str((names or {}).get(v, f"label_{v}")) for v in self.values}
        self.quality = quality
        self.overlays = overlays
        self.similarity = similarity
        self.table = table

    @cached_property
    def rows(self) -> ScanTable:
        """The table."""
        return ScanTable(self.output_dir / self.table, ALL_COLUMNS if self.similarity else QUALITY_COLUMNS)

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self)  # after the post-processing

    def __call__(self, engine: Engine) -> None:
        """Report on the scans of this iteration."""
        outputs: Any = engine.state.output
        for output in outputs:
            self.report(output)

    def report(self, output: Mapping[str, Any]) -> None:
        """Report on one scan: ``image``, whose meta data name its file, and the label map ``pred`` (1, H, W, D)."""
        case = case_name(output["image"].meta["filename_or_obj"])
        if self.overlays:
            self.draw(case, output)
        self.rows.append(case, self.rows_of(case, output))

    def rows_of(self, case: str, output: Mapping[str, Any]) -> list[dict[str, str]]:
        """The rows of a scan, from the evaluator's output for it."""
        quality = self.quality(output) if self.quality else {}
        similarity = self.similarity(output) if self.similarity else {}
        found = found_in(output["pred"])
        left_out, doubt, notes = found.get("left_out", {}), found.get("doubt", ""), found.get("notes", {})
        counts = count_values(np.asarray(output["pred"][0]))
        ml = abs(float(np.linalg.det(np.asarray(output["pred"].affine)[:3, :3]))) / 1000
        rows = []
        for value in self.values:
            voxels = counts.get(value, 0)
            score = f"{quality[value]:.4f}" if self.quality else ""
            note = left_out.get(str(value), doubt if voxels else "nothing found")
            note = "; ".join(filter(None, [note, notes.get(str(value), "")]))
            alike = f"{similarity[value]:.4f}" if self.similarity else ""
            row = (case, value, self.names[value], f"{voxels * ml:.2f}", score, note, alike)
            rows.append(dict(zip(ALL_COLUMNS, map(str, row), strict=True)))
        return rows

    def draw(self, case: str, output: Mapping[str, Any]) -> None:
        """Write the picture of a scan, from the evaluator's output for it."""
        import nibabel as nib

        image, affine = read_scan(output["image"].meta["filename_or_obj"])
        figure = overlay(
            image,
            np.asarray(output["pred"][0]),
            affine_to_spacing(affine).tolist(),
            self.names,
            title=case,
            axcodes=nib.orientations.aff2axcodes(affine),
        )
        with atomic_path(self.output_dir / "overlays" / f"{case}.png") as temporary:
            temporary.write_bytes(to_png(figure))
