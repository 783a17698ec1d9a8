# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A mask as a file of the format that a viewer asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from monai_fss.data import atomic_path
from monai_fss.data.files.nifti_output import save_nifti

__all__ = ["write_mask"]


def write_mask(path: Path, voxels: np.ndarray, affine: np.ndarray, scan: str | Path | None = None) -> None:
    """
    Write a mask, whole or not at all.

    Args:
        path: ends in ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``.
        voxels: (H, W, D), whole numbers.
        affine: 4 x 4, voxel index to mm in RAS+.
        scan: on whose grid it is: NIfTI takes the place from its header, see :func:`.nifti_output.save_nifti`.
    """
    if path.name.endswith((".nii", ".nii.gz")):
        save_nifti(path, voxels, affine, scan)
        return
    from monai.data import ITKWriter

    writer = ITKWriter(output_dtype=voxels.dtype, affine_lps_to_ras=True)
    writer.set_data_array(voxels, channel_dim=None)
    writer.set_metadata({"affine": affine}, resample=False)
    with atomic_path(path) as temporary:
        writer.write(str(temporary), compression=True)
