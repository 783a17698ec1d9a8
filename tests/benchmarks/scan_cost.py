# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""
What one scan of each of three sizes costs: the table of docs/cluster.md.

Run: ``PYTHONPATH=tests/fixtures:tests/benchmarks python tests/benchmarks/scan_cost.py FOLDER``. Synthetic CT with 13
organs is segmented by one labelled scan of the same size, without a model, quality and pictures included, on one
thread. A line for each size: CPU and wall-clock seconds of the whole command, the highest memory, and what it wrote.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from large_scans import measured, support
from large_scans_fixture import write_ct

SIZES = {
    "128": ((128, 128, 128), (2.8, 2.8, 2.8)),
    "256": ((256, 256, 256), (1.4, 1.4, 1.4)),
    "512": ((512, 512, 400), (0.7, 0.7, 1.3)),
}
ORGANS = 13


def scene(folder: Path, size: str) -> list[str]:
    """A labelled scan and a query, made once; the words that name them."""
    query, (shape, spacing) = folder / "query" / "query.nii.gz", SIZES[size]
    if not query.exists():
        query.parent.mkdir(parents=True)
        write_ct(folder / "support.nii.gz", folder / "label.nii.gz", shape, spacing, ORGANS, seed=1)
        write_ct(query, None, shape, spacing, ORGANS, shift=0.04, seed=2)
    return ["segment", *support(folder), "--images", str(query.parent)]


def megabytes(folder: Path, pattern: str) -> float:
    return sum(file.stat().st_size for file in folder.glob(pattern)) / 1e6


def main() -> int:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the scans; 0.4 GB")
    parser.add_argument("--only", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--preset", choices=("accurate", "fast"), default="accurate")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    for size in arguments.only:
        folder = arguments.folder / size
        words, output = scene(folder, size), folder / f"masks_{arguments.preset}_{int(time.time())}"
        start = time.perf_counter()
        peak, cpu = measured([*words, "--output", str(output), "--set", f"preset={arguments.preset}"])
        wall = time.perf_counter() - start
        kinds = {"mask": "*.nii.gz", "picture": "overlays/*", "kept registrations": "cache/*"}
        sizes = ", ".join(f"{name} {megabytes(output, pattern):.2f} MB" for name, pattern in kinds.items())
        shape = " x ".join(map(str, SIZES[size][0]))
        print(f"{shape}, {arguments.preset}: {cpu:.0f} CPU s, {wall:.0f} s, {peak:.2f} GiB; {sizes}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
