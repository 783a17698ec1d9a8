# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""StructSeg 2019, task 1: head and neck CT with 22 organs at risk."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from monai_fss.data.problems import Findings
from monai_fss.data.public.folder import PublicSet, chosen_codes, write_public_set
from monai_fss.data.public.sources import numbered, paired, read_pair

__all__ = ["prepare_structseg"]

_ORGANS = 22
_CODES = {value: value for value in range(1, _ORGANS + 1)}
_LAYOUT = "The download has HaN_OAR/<number>/data.nii.gz and HaN_OAR/<number>/label.nii.gz: give the folder HaN_OAR"


def prepare_structseg(source: str | Path, output: str | Path, *, labels: Mapping[str, int], folds: int = 5) -> Path:
    """
    Make a data set folder of the scans of StructSeg's task 1, each on its own grid.

    Args:
        source: folder that holds ``<number>/data.nii.gz`` and ``<number>/label.nii.gz``.
        output: folder to make, new or empty.
        labels: organ name to value, 1 to 22, of the organs wanted; the others become background. There is no default:
            the files do not say which value is which organ, the challenge's own page does.
        folds: runs of neighbours in the order of the numbers. Default: 5, of ten scans each.

    Returns:
        ``output``.

    Raises:
        ScanError: nothing like the download in ``source``; a label on another grid or with a value above 22; values
            that are no such labels, or given twice; ``output`` is not empty. Nothing is left behind.

    Warns:
        InputWarning: there are not 50 scans.
    """
    found = Findings("labels")
    if not labels or len(set(labels.values())) < len(labels) or not set(labels.values()) <= _CODES.keys():
        found.refuse(
            f"{dict(labels)} does not name organs by values of 1 to {_ORGANS}", "Give each organ its own value"
        )
    found.raise_if_any()
    description = "StructSeg 2019 task 1, head and neck CT in HU"
    public = PublicSet("structseg_han", description, modality="CT", labels=labels, size=50)
    images = numbered(source, r"(\d+)/data\.nii(?:\.gz)?", _LAYOUT)
    given = numbered(source, r"(\d+)/label\.nii(?:\.gz)?", _LAYOUT)
    read = partial(read_pair, codes=chosen_codes(_CODES, labels))
    return write_public_set(public, paired(source, images, given, _LAYOUT), read, output, labels, folds)
