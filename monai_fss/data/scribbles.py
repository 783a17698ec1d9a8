# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where the scribbles of a training are, what they mark, and the pseudo-masks that came of them."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from monai_fss.data.cases import case_name
from monai_fss.data.dataset import DatasetFolder, chosen_cases
from monai_fss.data.files.output import part_name
from monai_fss.data.items import scan_item
from monai_fss.data.problems import InputWarning, ScanError
from monai_fss.data.reading.scans import check_label
from monai_fss.data.reading.volume import read_scan
from monai_fss.data.reading.voxels import count_values
from monai_fss.data.scan_table import complete_scans

__all__ = [
    "class_names",
    "drawn_pieces",
    "is_written",
    "pseudo_items",
    "scribble_item",
    "scribble_values",
    "unwritten_items",
]


PROPAGATED = "propagation.csv"
SIMULATED = 255
"""Label value of the background in simulated scribbles."""


def scribble_item(folder: str | Path, support: str, scribbles: str | Path = "") -> dict[str, Any]:
    """The scan with the scribbles.

    Args:
        folder: data set folder.
        support: name of the case. Default "": that of the file of scribbles.
        scribbles: label file on the case's grid. Default "": they are simulated from the case's label.

    Returns:
        ``image``, ``scribbles`` (paths), ``case`` (name) and ``simulated`` (whether ``scribbles`` is a whole mask).

    Raises:
        ScanError: neither is named, there is no such case, or nothing to simulate scribbles from.
    """
    if not support and not str(scribbles):
        raise ScanError(
            "support: is not set. Name the case that has the scribbles, and their file with scribbles=FILE; without it "
            "they are simulated from the case's label."
        )
    case = chosen_cases(folder, [support or case_name(scribbles)])[0]
    if not str(scribbles) and case.label is None:
        raise ScanError(
            f"{case.image}: has neither scribbles nor a label. Give scribbles=FILE, or add labels/{case.name}.nii.gz "
            "to simulate scribbles from."
        )
    return {
        "image": str(case.image),
        "scribbles": str(scribbles or case.label),
        "case": case.name,
        "simulated": not str(scribbles),
    }


def scribble_values(
    item: dict[str, Any], background: int | None = None, labels: Collection[int] | None = None
) -> list[int]:
    """Label values of the organs that scribbles mark, sorted.

    Args:
        item: see :func:`scribble_item`.
        background: value of the background's scribbles.
        labels: values wanted. Default: all.

    Raises:
        ScanError: a value that is wanted is not marked.
    """
    values = [value for value in sorted(check_label(item["scribbles"], None).counts) if value not in (0, background)]
    missing = sorted(set(labels or ()) - set(values))
    if missing:
        raise ScanError(f"{item['scribbles']}: does not mark {missing}, but {values}. Name labels that it marks.")
    return [value for value in values if labels is None or value in labels]


def class_names(folder: str | Path, values: Sequence[int]) -> list[str]:
    """Names of label values, as the dataset.json of a data set (or of ``""``, none) has them, or ``label_<value>``."""
    if not str(folder):
        return [f"label_{value}" for value in values]
    names = {value: name for name, value in DatasetFolder.read(folder).names_for(values).items()}
    return [names[value] for value in values]


def is_written(image: str | Path, folder: str | Path) -> bool:
    """Whether ``folder`` holds the pseudo-mask of a scan, and its rows in ``propagation.csv``."""
    return not unwritten_items([{"image": str(image)}], folder)


def unwritten_items(
    items: Sequence[dict[str, Any]], folder: str | Path, number: int = 0, count: int = 1
) -> list[dict[str, Any]]:
    """Of scans, those whose pseudo-masks are still to be made.

    Args:
        items: of all scans, with ``image``.
        folder: of the pseudo-masks, with their tables.
        number, count: of which it takes every ``count``-th, from ``number`` on: other processes do the others.
    """
    tables = {PROPAGATED, part_name(PROPAGATED, number, count)}
    done = {case for table in tables for case in complete_scans(Path(folder) / table)}
    masks = {path.name.removesuffix(".nii.gz") for path in Path(folder).glob("*.nii.gz")}
    return [item for item in items[number::count] if case_name(item["image"]) not in done & masks]


def drawn_pieces(pseudo: str | Path, case: str, values: Sequence[int]) -> list[int]:
    """In how many pieces the scan with the scribbles shows each class: both kidneys under one value are two.

    Scribbles are lines in some slices; what grew from them says which of these belong together.

    Args:
        pseudo: folder of the pseudo-masks.
        case: name of the scan with the scribbles.
        values: label values.

    Returns:
        one number for each of them, 1 where nothing grew, see :func:`monai_fss.transforms.count_pieces`.
    """
    from monai_fss.transforms.largest_component import count_pieces  # needs PyTorch

    counted = count_pieces([read_scan(Path(pseudo) / f"{case}.nii.gz")[0][None]])
    return [counted.get(value, 1) for value in values]


def pseudo_items(
    folder: str | Path,
    cases: Sequence[str] | None,
    pseudo: str | Path,
    values: Collection[int],
    least_similarity: float = 0.0,
) -> list[dict[str, Any]]:
    """Scans to train on with their pseudo-masks: ``image``, ``pseudo``, ``case``.

    A scan whose pseudo-mask lacks a class is left out: what shows the organ would be taught as background. So is one
    in which an organ was probably not found: what lies elsewhere would be taught as the organ.

    Args:
        folder: data set folder.
        cases: names. Default: all.
        pseudo: folder of the pseudo-masks, with ``propagation.csv``.
        values: label values that a pseudo-mask must have.
        least_similarity: mean similarity (Eq. 5) that the points of every class must reach in a scan. Default 0:
            whatever it is, ``propagation.csv`` is not looked at.

    Raises:
        ScanError: no scan is left.

    Warns:
        InputWarning: with the scans that are left out.
    """
    found, without, doubtful = [], [], []
    rated = _similarities(Path(pseudo) / "propagation.csv") if least_similarity > 0 else {}
    for case in chosen_cases(folder, cases):
        file = Path(pseudo) / f"{case.name}.nii.gz"
        if not set(values) <= count_values(read_scan(file)[0]).keys():
            without.append(case.name)
        elif any(rated.get((case.name, value), 1.0) < least_similarity for value in values):
            doubtful.append(case.name)
        else:
            found.append({**scan_item(case.image), "pseudo": str(file), "case": case.name})
    if not found:
        raise ScanError(
            f"{pseudo}: no pseudo-mask shows {', '.join(map(str, sorted(values)))}: all propagated points of a class "
            f"were rejected in every scan, or had a mean similarity below {least_similarity}. Lower tau or "
            "least_similarity, train PRNet longer, or leave the class out with labels."
        )
    _tell(pseudo, "their pseudo-masks lack a class", without)
    _tell(pseudo, f"the points of a class have a mean similarity below {least_similarity}", doubtful)
    return found


def _similarities(table: Path) -> dict[tuple[str, int], float]:
    """Mean similarity of the points of each scan and class."""
    with table.open(newline="", encoding="utf-8") as stream:
        return {(row["case"], int(row["label"])): float(row["similarity"]) for row in csv.DictReader(stream)}


def _tell(pseudo: str | Path, why: str, cases: Sequence[str]) -> None:
    if cases:
        text = f"{pseudo}: left out of the training, as {why}: {', '.join(cases)}."
        warnings.warn(text, InputWarning, stacklevel=3)
