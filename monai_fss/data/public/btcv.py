# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""BTCV: the abdominal CT of the Multi-Atlas Labeling challenge (Synapse syn3193805); papers say SABS or Synapse."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from monai_fss.data.problems import Findings
from monai_fss.data.public.folder import PublicSet, chosen_codes, write_public_set
from monai_fss.data.public.sources import LabelledScan, SourceCase, numbered, paired, read_pair

__all__ = ["BTCV", "prepare_btcv"]

BTCV = PublicSet(
    name="btcv_ct",
    description="BTCV abdominal CT (Synapse multi-atlas labelling), portal venous phase, HU",
    modality="CT",
    labels={
        "spleen": 1,
        "right_kidney": 2,
        "left_kidney": 3,
        "gallbladder": 4,
        "esophagus": 5,
        "liver": 6,
        "stomach": 7,
        "aorta": 8,
        "inferior_vena_cava": 9,
        "portal_and_splenic_vein": 10,
        "pancreas": 11,
        "right_adrenal_gland": 12,
        "left_adrenal_gland": 13,
    },
    size=30,
)
_CODES = {value: value for value in BTCV.labels.values()}
_LAYOUT = (
    "The download is RawData.zip: unpacked, it has Training/img/img0001.nii.gz and Training/label/label0001.nii.gz"
)


def prepare_btcv(
    source: str | Path,
    output: str | Path,
    *,
    organs: Sequence[str] | None = None,
    folds: int = 5,
    window: Sequence[float] | None = None,
    border: int = 0,
) -> Path:
    """
    Make a data set folder of the labelled scans of BTCV, each on its own grid: nothing is resampled.

    Args:
        source: folder that holds ``img<number>.nii.gz`` and ``label<number>.nii.gz`` of four digits, in any
            sub-folders. Images without a label (the challenge's test scans) are left out.
        output: folder to make, new or empty.
        organs: names of :data:`BTCV`; the others become background. Default: all 13.
        folds: runs of neighbours in the order of the numbers. Default: 5, of six scans each, as SSL-ALPNet's public
            code has them.
        window: (low, high) in HU to which intensities are clipped. Default: none, since training and the atlas clip
            by themselves (to -125..275 HU) and what is cut off here is lost to every other window.
        border: pixels to cut off at each side of every slice. Default: none; SSL-ALPNet's code cuts off 32 of 512.

    Returns:
        ``output``.

    Raises:
        ScanError: nothing like the download in ``source``; a label with another grid or an unknown value; a scan that
            the border leaves nothing of; ``output`` is not empty. Nothing is left behind.

    Warns:
        InputWarning: there are not 30 labelled scans.

    Example::

        prepare_btcv("RawData/Training", "btcv_ct", organs=["liver", "spleen"])
    """
    labels = BTCV.chosen(organs)
    images = numbered(source, r"img(\d{4})\.nii(?:\.gz)?", _LAYOUT)
    cases = paired(source, images, numbered(source, r"label(\d{4})\.nii(?:\.gz)?", _LAYOUT), _LAYOUT)
    read = partial(_read, codes=chosen_codes(_CODES, labels), window=window, border=border)
    return write_public_set(BTCV, cases, read, output, labels, folds)


def _read(case: SourceCase, codes: dict[int, int], window: Sequence[float] | None, border: int) -> LabelledScan:
    scan = read_pair(case, codes)
    found = Findings(case.image)
    if min(scan.image.shape[:2]) <= 2 * border:
        found.refuse(
            f"has slices of {scan.image.shape[:2]} pixels, of which {border} at each side are to be cut off",
            "Are these the original scans of 512 x 512",
        )
    found.raise_if_any()
    return scan.cropped(border).clipped(window)
