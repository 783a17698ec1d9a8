# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How much memory a run will need, said before it begins where there is less."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch
from monai.utils import ensure_tuple_rep

from monai_fss.data import InputWarning, Scan, reading_once

__all__ = ["free_memory", "needed_memory", "reading_each_file_once", "warn_memory"]

# Measured with tests/benchmarks/large_scans.py, and rounded up.
PROGRAM = 0.8e9  # what is imported, and what the smallest scan takes
REGISTRATION = 1.5e9  # of two scans, whatever their size: both are reduced to what it needs
QUERY = 10  # bytes a voxel: as read, as float32, as mask, and as copied on the way
RESAMPLED = 3  # and where MONAI's Spacing makes float64 of it
SUPPORT = 3  # bytes a voxel of each labelled scan, of which an atlas keeps the label
ATLAS_VOXELS = 1.3e6
CGROUP = Path("/sys/fs/cgroup")
CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def needed_memory(
    query: Scan,
    supports: Sequence[Scan],
    ways: int,
    pixdim: float | Sequence[float] | None,
    registers: bool,
    dims: int = 2,
) -> float:
    """
    Estimate the peak of a run, in bytes.

    Args:
        query: the largest scan that is segmented.
        supports: the labelled scans.
        ways: organs.
        pixdim: mm of the grid that a network works on, one number for all axes or one for each of ``dims``; None where
            there is no network.
        registers: whether labelled scans are registered.
        dims: axes that are brought to ``pixdim``: 2 of a network on slices, 3 of one on volumes.
    """
    voxels = math.prod(query.shape)
    total = PROGRAM + QUERY * voxels + SUPPORT * sum(math.prod(scan.shape) for scan in supports)
    if registers:
        run_parallel = max(1, min(len(supports), torch.get_num_threads()))
        total += REGISTRATION * run_parallel + 4 * ways * min(ATLAS_VOXELS, voxels) * (1 + run_parallel)
    if pixdim is not None:
        working = voxels * math.prod(sorted(query.spacing)[:dims]) / math.prod(ensure_tuple_rep(pixdim, dims))
        total += RESAMPLED * voxels + 2 * 4 * (1 + ways) * working
    return total


def free_memory() -> float:
    """Bytes that this process may still take: what the machine has free, or a container's limit leaves."""
    free = [float(psutil.virtual_memory().available)]
    for limit, used, stat in CGROUP_FILES:
        files = [CGROUP / name for name in (limit, used)]
        if all(file.is_file() for file in files):
            texts = [file.read_text(encoding="ascii").strip() for file in files]
            if all(text.isdecimal() for text in texts):  # "max" is no limit
                free.append(float(texts[0]) - float(texts[1]) + _reclaimable(CGROUP / stat))
    return max(0.0, min(free))


@contextmanager
def reading_each_file_once() -> Iterator[None]:
    """:func:`monai_fss.data.reading_once` with an eighth of the free memory, and no more than 2 GB."""
    with reading_once(min(2e9, free_memory() / 8)):
        yield


def _reclaimable(stat: Path) -> float:
    """What a container holds of files that have been read, and gives back."""
    lines = stat.read_text(encoding="ascii").splitlines() if stat.is_file() else []
    found = [line.split() for line in lines if line.startswith(("inactive_file ", "total_inactive_file "))]
    return max((float(words[1]) for words in found), default=0.0)


def warn_memory(
    queries: Iterable[Scan],
    supports: Sequence[Scan],
    ways: int,
    pixdim: float | Sequence[float] | None = None,
    registers: bool = True,
    dims: int = 2,
) -> None:
    """
    Say before the work begins where the largest scan needs more memory than is free.

    Args:
        queries: the scans to segment.
        supports, ways, pixdim, registers, dims: see :func:`needed_memory`.

    Warns:
        InputWarning: it does. The run is tried all the same, as the figure is an estimate.
    """
    largest = max(queries, key=lambda scan: math.prod(scan.shape), default=None)
    if largest is None:
        return
    needed, free = needed_memory(largest, supports, ways, pixdim, registers, dims), free_memory()
    if needed > free:
        size = " x ".join(map(str, largest.shape))
        warnings.warn(
            f"{largest.path}: {size} voxels and {ways} organs will need about {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free. If the system ends the run, close other programs, crop the scan, or ask "
            "for fewer organs by --labels.",
            InputWarning,
            stacklevel=2,
        )
