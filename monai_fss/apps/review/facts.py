# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What is measured of masks, and of the labelled scans that they are held against."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.apps.review.folder import Run
from monai_fss.data import ScanError, count_values, sha256_of
from monai_fss.data.problems import Findings
from monai_fss.data.reading.labels import Grid, read_label
from monai_fss.transforms import count_pieces, label_boxes

__all__ = ["mask_of", "organ_facts", "support_facts"]


def mask_of(path: Path, like: Grid | None = None) -> tuple[np.ndarray, np.ndarray]:
    """
    A mask's whole numbers (H, W, D) and its affine.

    Args:
        path: the file.
        like: voxels of its scan, to whose order it is brought. Default: it stays as it is stored.

    Raises:
        ScanError: it cannot be read, or is not that of the scan.
    """
    found = Findings(path)
    volume = read_label(path, like, found)
    if found.problems or volume is None or volume.array is None or volume.affine is None:
        raise ScanError(found.problems)
    return volume.array.astype(volume.array.dtype.newbyteorder("="), copy=False), volume.affine


def organ_facts(case: str, mask: np.ndarray, affine: np.ndarray, values: Sequence[int]) -> dict[str, dict[str, Any]]:
    """
    Size and pieces of each organ of a mask.

    Args:
        case: name of its scan.
        mask: whole numbers (H, W, D).
        affine: 4 x 4, in mm.
        values: label values.

    Returns:
        label value, as text, to JSON values: ``volume_ml``; ``pieces``, those of less than a tenth of the largest not
        counted; ``mask``, 12 characters that are others when one voxel is, or the scan's name or the label.
    """
    ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    counts, pieces, boxes = count_values(mask), count_pieces([mask[None]]), label_boxes(mask)
    facts = {}
    for value in values:
        digest = hashlib.sha256(repr((case, value, mask.shape, boxes.get(value))).encode())
        if value in boxes:
            digest.update(np.packbits(mask[boxes[value]] == value).tobytes())
        volume = round(counts.get(value, 0) * ml, 3)
        facts[str(value)] = {"volume_ml": volume, "pieces": pieces.get(value, 0), "mask": digest.hexdigest()[:12]}
    return facts


def support_facts(run: Run) -> tuple[dict[int, dict[str, Any]], list[str]]:
    """
    What the labelled scans of a run show of each organ.

    Returns:
        label value to JSON values: ``volume_ml``, the median over the scans that show it in more than one slice;
        ``pieces``, from the fewest to the most; and what could not be used, a line each.
    """
    volumes: dict[int, list[float]] = {}
    pieces: dict[int, list[int]] = {}
    notes = []
    for file in map(str, run.note.get("support_label", [])):
        path = Path(file)
        if not path.exists():
            notes.append(f"{file}: the label is no longer there; volumes and pieces are not compared with it")
            continue
        if sha256_of(path) != run.note.get("sha256", {}).get(file):
            notes.append(f"{file}: the label has changed since the run; volumes and pieces are not compared with it")
            continue
        label, affine = mask_of(path)
        thick = [v for v, box in label_boxes(label).items() if min(part.stop - part.start for part in box) > 1]
        for text, own in organ_facts("", label, affine, thick).items():  # a single labelled slice is no volume
            volumes.setdefault(int(text), []).append(own["volume_ml"])
            pieces.setdefault(int(text), []).append(own["pieces"])
    shown = {
        value: {"volume_ml": float(np.median(own)), "pieces": [min(pieces[value]), max(pieces[value])]}
        for value, own in volumes.items()
    }
    return shown, notes
