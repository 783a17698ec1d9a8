# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
What a scan costs besides its registration, and whether memory grows with the number of scans.

Run: ``python tests/benchmarks/many_scans.py FOLDER --scans 1000``. It writes synthetic scans of 35 x 50 x 35 voxels to
FOLDER and segments them by `monai-fss segment`, without a model, quality and pictures included; registrations are
answered at once, by a field that moves nothing. It prints CPU seconds a scan of what the method does with a registered
scan (fusion, refinement, quality), of pictures, and of all else (checks, reading, digests, masks, table); bytes a scan
by what they are for; and the peak memory after a tenth of the scans and at the end. Exit code 1 where all else and the
pictures take more than 0.2 CPU seconds a scan, or the peak grows by more than a tenth.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from monai_fss.apps.cli import main as command
from monai_fss.data import phantom
from monai_fss.data.scan_table import ScanTable
from monai_fss.handlers.segment_report import SegmentReport
from monai_fss.inferers import atlas
from monai_fss.registration import DisplacementField, default_spacing
from monai_fss.registration.body import body_grid

SHAPE, SPACING = (35, 50, 35), (8.0, 8.0, 8.0)
SECONDS, GROWTH = 0.2, 1.1


def write_scans(folder: Path, count: int) -> list[str]:
    """The labelled scan and others: the same body, each with noise of its own; the words that name them."""
    scan = phantom(0, shape=SHAPE, spacing=SPACING)
    image, label = np.asarray(scan.image), np.asarray(scan.label)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, array in (("support", image), ("label", label)):
        nib.Nifti1Image(array, scan.affine).to_filename(folder / f"{name}.nii.gz")
    for number in range(count):
        file = folder / "images" / f"scan_{number:05d}.nii.gz"
        if not file.exists():
            noise = np.random.default_rng(number).normal(0, 3, image.shape)
            nib.Nifti1Image((image + noise).astype(np.int16), scan.affine).to_filename(file)
    shutil.rmtree(folder / "masks", ignore_errors=True)
    support = ["--support-image", str(folder / "support.nii.gz"), "--support-label", str(folder / "label.nii.gz")]
    return ["segment", *support, "--images", str(folder / "images"), "--output", str(folder / "masks")]


def without_registration() -> None:
    """Have the atlas find at once that nothing has to be moved, on the grid that a registration has."""

    def register(fixed: Any, moving: Any, **_: Any) -> DisplacementField:
        box = body_grid(fixed)
        return DisplacementField.from_affine(np.eye(4), box.working(default_spacing(box)))

    atlas.register = register
    atlas.side_ratio = lambda *_: 1.0  # two registrations more


def timed(owner: Any, name: str, spent: dict[str, float], kind: str) -> None:
    """Have a method add its CPU seconds to those of its kind."""
    function = getattr(owner, name)

    def measured(*args: Any, **more: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **more)
        finally:
            spent[kind] = spent.get(kind, 0.0) + time.process_time() - start

    setattr(owner, name, measured)


def peak() -> float:
    """MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bytes_of(folder: Path, pattern: str) -> int:
    return sum(file.stat().st_size for file in folder.glob(pattern))


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the scans; a tenth of a GB for 1,000")
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--cache-size", default="0", help="as of `monai-fss segment`; default: none")
    arguments = parser.parse_args()
    words = write_scans(arguments.folder, arguments.scans)
    peaks: list[float] = []
    append = ScanTable.append

    def appended(self: ScanTable, case: str, rows: Any) -> None:
        append(self, case, rows)
        peaks.append(peak())

    ScanTable.append = appended  # type: ignore[method-assign]
    without_registration()
    spent: dict[str, float] = {}
    timed(atlas.Atlas, "segment", spent, "method")
    timed(atlas.Atlas, "reverse_accuracy", spent, "method")
    timed(SegmentReport, "draw", spent, "pictures")
    started, cpu = time.perf_counter(), time.process_time()
    if command([*words, "--cache-size", arguments.cache_size]) != 0:
        return 1
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    count, masks = arguments.scans, arguments.folder / "masks"
    kinds = {"mask": "*.nii.gz", "picture": "overlays/*.png", "rows": "quality.csv", "cache": "cache/*.pt"}
    sizes = ", ".join(f"{name} {bytes_of(masks, pattern) / count / 1000:.1f} kB" for name, pattern in kinds.items())
    early, late = peaks[max(0, count // 10 - 1)], peaks[-1]
    own = (cpu - spent["method"]) / count
    parts = {**spent, "all else": cpu - sum(spent.values())}
    told = ", ".join(f"{kind} {total / count:.3f}" for kind, total in parts.items())
    print(f"{count} scans, besides the registration: {cpu / count:.3f} CPU s a scan ({told}), {seconds / count:.3f} s")
    print(f"a scan: {sizes}")
    steps = [count * share // 20 for share in (1, 2, 5, 10, 15, 20) if count * share >= 20]
    print("peak memory, MB: " + ", ".join(f"{peaks[step - 1]:.0f} after {step}" for step in steps))
    return int(own > SECONDS or late > GROWTH * early)


if __name__ == "__main__":
    sys.exit(main())
