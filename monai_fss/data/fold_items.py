# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One fold of a labelled data set as files: what is shown to a method, what it segments, and by what it is scored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_fss.data.dataset import DatasetFolder
from monai_fss.data.items import scan_item
from monai_fss.data.problems import ScanError
from monai_fss.data.splits import Fold, make_folds

__all__ = ["FoldItems", "fold_items"]


@dataclass(frozen=True)
class FoldItems:
    """
    The files of a fold.

    Args:
        data: the data set.
        support: names of its labelled cases.
        support_images, support_labels: their files, in the same order.
        items: of the scans to segment, as :func:`monai_fss.data.query_items` makes them.
        labels: files of their labels, in the same order.
        cases: names of these.
    """

    data: DatasetFolder
    support: tuple[str, ...]
    support_images: list[str]
    support_labels: list[str]
    items: list[dict[str, Any]]
    labels: list[str]
    cases: tuple[str, ...]

    @classmethod
    def of(cls, data: DatasetFolder, fold: Fold) -> FoldItems:
        """
        The files of a fold of a data set.

        Raises:
            ScanError: one of its support or query cases has no label.
        """
        missing = [name for name in (*fold.support, *fold.queries) if data.cases[name].label is None]
        if missing:
            raise ScanError([f"{data.cases[name].image}: has no label. Add labels/{name}.nii.gz." for name in missing])
        return cls(
            data,
            fold.support,
            [str(data.cases[name].image) for name in fold.support],
            [str(data.cases[name].label) for name in fold.support],
            [scan_item(data.cases[name].image) for name in fold.queries],
            [str(data.cases[name].label) for name in fold.queries],
            tuple(fold.queries),
        )

    def names(self, values: Iterable[int]) -> dict[int, str]:
        """The name of each label value, see :meth:`DatasetFolder.names_for`."""
        return {value: name for name, value in self.data.names_for(values).items()}


def fold_items(folder: str | Path, split: str | Path = "within", fold: int = 0, supports: int = 1) -> FoldItems:
    """
    The files of one fold of a data set folder.

    Args:
        folder: of the data set.
        split, supports: see :func:`monai_fss.data.make_folds`.
        fold: its number, from 0.

    Raises:
        ScanError: as ``DatasetFolder.read`` and ``make_folds``, or there is no fold of this number.
    """
    if not str(folder):
        raise ScanError("dataset_dir: is not set. Name the folder that holds images/ and labels/, with --dataset_dir.")
    data = DatasetFolder.read(folder)
    folds = make_folds(split, [case.name for case in data.labelled], data.folds, supports)
    if not 0 <= fold < len(folds):
        raise ScanError(f"fold {fold}: the split has folds 0 to {len(folds) - 1}. Name one of them.")
    return FoldItems.of(data, folds[fold])
