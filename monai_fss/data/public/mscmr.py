# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""MS-CMRSeg: the cardiac MR of the MICCAI 2019 challenge, its bSSFP sequence (C0)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from monai_fss.data.public.folder import PublicSet, chosen_codes, write_public_set
from monai_fss.data.public.sources import numbered, paired, read_pair

__all__ = ["MSCMR", "prepare_mscmr"]

MSCMR = PublicSet(
    name="cmr_bssfp",
    description="MS-CMRSeg 2019 cardiac MR, bSSFP, short axis",
    modality="MR",
    labels={"LV_myocardium": 1, "LV_blood_pool": 2, "RV": 3},
    size=35,
)
_CODES = {200: 1, 500: 2, 600: 3}
_LAYOUT = (
    "The download has patient1_C0.nii.gz and, in another folder, patient1_C0_manual.nii.gz: give a folder above both"
)


def prepare_mscmr(
    source: str | Path, output: str | Path, *, organs: Sequence[str] | None = None, folds: int = 5
) -> Path:
    """
    Make a data set folder of the labelled bSSFP scans of MS-CMRSeg, each on its own (oblique) grid.

    Args:
        source: folder that holds ``patient<number>_C0.nii.gz`` and ``patient<number>_C0_manual.nii.gz``, in any
            sub-folders; ``subject`` may stand for ``patient``. Images without a label are left out.
        output: folder to make, new or empty.
        organs: names of :data:`MSCMR`; the others become background. Default: all three.
        folds: runs of neighbours in the order of the numbers. Default: 5, of seven scans each, as ADNet's.

    Returns:
        ``output``.

    Raises:
        ScanError: nothing like the download in ``source``; a label on another grid, or with a value other than 0, 200
            (myocardium), 500 (blood pool of the left ventricle) and 600 (right ventricle); ``output`` is not empty.
            Nothing is left behind.

    Warns:
        InputWarning: there are not 35 labelled scans.
    """
    labels = MSCMR.chosen(organs)
    images = numbered(source, r"(?:patient|subject)_?(\d+)_C0\.nii(?:\.gz)?", _LAYOUT)
    manual = numbered(source, r"(?:patient|subject)_?(\d+)_C0_manual\.nii(?:\.gz)?", _LAYOUT)
    read = partial(read_pair, codes=chosen_codes(_CODES, labels))
    return write_public_set(MSCMR, paired(source, images, manual, _LAYOUT), read, output, labels, folds)
