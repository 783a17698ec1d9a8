# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which labelled scans a method is shown at test, where the split is not to decide it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from monai_fss.apps.distances import scaled_scan
from monai_fss.apps.suggest import suggest
from monai_fss.data import Case, DatasetFolder, Fold, ScanError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ANCHOR_RULES", "oracle_anchors", "suggested_supports"]

ANCHOR_RULES = {
    "split": "the split's own support",
    "suggested": "suggested (the most typical scan outside the queries, by images alone, as monai-fss suggest has it)",
    "oracle": (
        "oracle (organ by organ, the query whose label is nearest to the average of all queries' labels; it is not "
        "scored itself. It knows the labels of the test: a bound, not a result that anybody could reach)"
    ),
}
"""Rule to what the results say of it. The oracle is OrganNet's paper's, section 4.2."""


def suggested_supports(data: DatasetFolder, fold: Fold, count: int = 1) -> tuple[str, ...]:
    """The first scans that ``monai-fss suggest`` would name of those that are no queries of a fold.

    Args:
        data: labels are not looked at; scans without one are left out.
        fold: its support and its training cases can be named. (What a training has seen of a scan does not change.)
        count: how many.

    Raises:
        ScanError: a scan cannot be registered.
    """
    names = [case.name for case in data.labelled if case.name not in fold.queries]
    files = tuple((name, *_version(data.cases[name].image)) for name in names)
    return _suggested(files, data.root, data.name, data.modality, count)


@lru_cache(maxsize=64)
def _suggested(
    files: Sequence[tuple[str, Path, int]], root: Path, name: str, modality: str, count: int
) -> tuple[str, ...]:
    """Once for all methods of a table: it takes a registration of each scan."""
    cases = {case: Case(case, image) for case, image, _ in files}
    rows = suggest(DatasetFolder(root, name, modality=modality, cases=cases), (), count)
    return tuple(row.case for row in rows)


def _version(path: Path) -> tuple[Path, int]:
    return path, path.stat().st_mtime_ns


def oracle_anchors(
    data: DatasetFolder, queries: Sequence[str], values: Collection[int], shown: Mapping[str, Collection[int]]
) -> dict[int, str]:
    """Of each organ the query that is most like the anatomical average of the queries.

    All queries are registered affinely to the one of median body size, as for :func:`monai_fss.apps.suggest.suggest`,
    on a grid of 4 mm; the average is the mean of the organ's masks there, and alike is what has the greatest soft Dice
    with it (:func:`monai_fss.metrics.nearest_to_average`). The paper says no more than "the most similar example to the
    anatomical average computed for each organ class".

    Args:
        data: with labels of the queries.
        queries: of a fold.
        values: of the organs.
        shown: label values of each case.

    Returns:
        value to case; without those that fewer than two queries show, as none would be left to be scored.

    Raises:
        ScanError: a query cannot be registered.
    """
    from monai_fss.metrics import nearest_to_average

    showing = {value: [name for name in queries if value in shown[name]] for value in sorted(values)}
    wanted = tuple(value for value, names in showing.items() if len(names) > 1)
    if not wanted:
        return {}
    files = tuple((name, *_version(data.cases[name].image), *_version(_label(data, name))) for name in queries)
    masks = _moved_masks(files, data.modality, wanted)
    result = {}
    for way, value in enumerate(wanted):
        names = showing[value]
        result[value] = names[nearest_to_average([masks[name][way] for name in names])]
    return result


def _label(data: DatasetFolder, name: str) -> Path:
    label = data.cases[name].label
    if label is None:
        raise ScanError(f"{data.cases[name].image}: has no label. Add labels/{name}.nii.gz.")
    return label


@lru_cache(maxsize=8)
def _moved_masks(
    files: Sequence[tuple[str, Path, int, Path, int]], modality: str, values: Sequence[int]
) -> dict[str, np.ndarray]:
    """Masks (W, h, w, d) of each case, uint8 of 255, in the frame of the case of median body size."""
    from monai_fss.data import LoadScan
    from monai_fss.registration.affine import affine
    from monai_fss.registration.body import RegistrationError
    from monai_fss.registration.grid import Grid
    from monai_fss.registration.masks import resample_masks
    from monai_fss.registration.scan_distances import median_body, thumbnail
    from monai_fss.transforms import label_boxes

    cases = [Case(name, image, label) for name, image, _, label, _ in files]
    images = [thumbnail(scaled_scan(case.image, modality)) for case in cases]
    centre = median_body(images)
    grid, found = Grid.of(images[centre]), {}
    for index, case in enumerate(cases):
        try:
            matrix = None if index == centre else affine(images[centre], images[index])
        except RegistrationError as error:
            raise ScanError(
                f"{case.image}: cannot be registered to {cases[centre].image} ({str(error).rstrip('.')}), as the "
                "oracle needs it. Choose another --anchor-rule."
            ) from error
        label = LoadScan(as_label=True)(str(case.label), str(case.image))
        masks = resample_masks(label, label_boxes(label[0].numpy()), values, grid, matrix)
        found[case.name] = (masks * 255).round().astype("uint8")
    return found
