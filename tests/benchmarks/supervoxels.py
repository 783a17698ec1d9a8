# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Seconds and peak memory of the supervoxel core. Run: ``python tests/benchmarks/supervoxels.py [image.nii.gz]``."""

from __future__ import annotations

import argparse
import resource
import time

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter

from monai_fss.transforms.felzenszwalb import felzenszwalb


def peak_mb() -> float:
    """The highest resident memory of this process so far, in MB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def phantom(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """An MR-like int16 volume: smooth organs of distinct intensity with noise."""
    random = np.random.default_rng(seed)
    organs = gaussian_filter(random.standard_normal(shape, dtype=np.float32), (12, 12, 2))
    steps = np.digitize(organs / organs.std(), (-1.5, -0.5, 0.5, 1.5)).astype(np.float32)
    return (300 * steps + 40 * random.standard_normal(shape, dtype=np.float32)).clip(0).astype(np.int16)


def main() -> None:
    """Segment a generated volume of 256 x 256 x 36 voxels, or the given image, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", nargs="?", help="a 3-D NIfTI image; default: a generated one")
    parser.add_argument("--min_size", type=int, default=5000, help="in voxels")
    arguments = parser.parse_args()
    imported = peak_mb()
    image, spacing = phantom((256, 256, 36)), (1.25, 1.25, 7.7)
    if arguments.image:
        file = nib.Nifti1Image.from_filename(arguments.image)
        image, spacing = np.asarray(file.dataobj), file.header.get_zooms()[:3]
    start = time.perf_counter()
    felzenszwalb(phantom((8, 8, 4)).astype(image.dtype), min_size=1, spacing=spacing)
    print(f"first call (loads or compiles the code): {time.perf_counter() - start:.2f} s")
    start = time.perf_counter()
    labels = felzenszwalb(image, min_size=arguments.min_size, spacing=spacing)
    seconds = time.perf_counter() - start
    sizes = np.bincount(labels.ravel())
    print(f"{image.shape} {image.dtype}: {seconds:.2f} s, {peak_mb() - imported:.0f} MB above the imports")
    print(
        f"{len(sizes)} supervoxels of {sizes.min()} / {int(np.median(sizes))} / {sizes.max()} voxels (min/median/max)"
    )


if __name__ == "__main__":
    main()
