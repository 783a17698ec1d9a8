# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The scans of a batch, and what they are called."""

from __future__ import annotations

from monai.data import MetaTensor, decollate_batch

from monai_fss.data import case_name

__all__ = ["each_scan", "scan_name"]


def each_scan(inputs: MetaTensor) -> list[MetaTensor]:
    """The scans of a batch (B, C, H, W, D), each with its own meta data.

    A batch that a loader has made has an affine for each scan; one of ``scan[None]``, as MONAI Label and MONAI Deploy
    make it, has that of the scan.
    """
    if inputs.affine.ndim == 3:
        return list(decollate_batch(inputs))
    return [MetaTensor(image, meta=dict(inputs.meta)) for image in inputs.as_tensor()]


def scan_name(image: MetaTensor) -> str:
    """The case that a scan belongs to, for messages; "the scan" where its file is not known."""
    file = getattr(image, "meta", {}).get("filename_or_obj")
    return case_name(file) if file else "the scan"
