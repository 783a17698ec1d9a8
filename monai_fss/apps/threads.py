# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How many threads a command uses, and how they wait for one another: decided before torch and numba are imported."""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

__all__ = ["cgroup_processors", "set_threads", "usable_processors"]

CGROUP = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# The threads of a parallel loop meet at its end, some thousand times a step. By default those that are there wait in a
# loop that keeps their processor busy: where another program needs one, it is taken from the thread that all wait for.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}


def set_threads(environment: MutableMapping[str, str] | None = None) -> None:
    """
    Set OpenMP's and numba's variables for this process and its children, where the user has not set them.

    Args:
        environment: Default: that of this process. It is read when torch is imported, so it must not have been.
    """
    own = os.environ if environment is None else environment
    if not any(name in own for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")):
        own.update(WAITING)
    allowed = usable_processors()
    # Else the libraries' own choice stays: the cores, without counting those twice that run two threads.
    if allowed < len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)):
        for name in COUNTS:
            own.setdefault(name, own.get("OMP_NUM_THREADS", str(allowed)))


def usable_processors(folder: Path = CGROUP, own: Path = OWN_CGROUP) -> int:
    """
    Processors that this process may keep busy: those that it may run on, and no more than a container's quota.

    Args:
        folder: where control groups are mounted.
        own: the file that names this process's groups.

    Returns:
        1 or more; a quota of two and a half processors counts as 3.
    """
    on = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_processors(folder, own)
    return max(1, on if quota is None else min(on, math.ceil(quota)))


def cgroup_processors(folder: Path = CGROUP, own: Path = OWN_CGROUP) -> float | None:
    """
    The least quota, in processors, of the control groups (version 1 or 2) that a process is in; None: none is set.

    Args:
        folder, own: see :func:`usable_processors`.
    """
    quotas = []
    for place in (folder, folder / "cpu", *_groups(folder, own)):
        words = _text(place / "cpu.max").split()
        words = words or [_text(place / "cpu.cfs_quota_us"), _text(place / "cpu.cfs_period_us")]
        if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):  # "max" and -1: no limit
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def _groups(folder: Path, own: Path) -> list[Path]:
    """Folders of the groups that this process is in, with those above them: a limit of these holds too."""
    places = []
    for line in _text(own).splitlines():
        controllers, _, group = line.partition(":")[2].partition(":")
        if controllers == "" or "cpu" in controllers.split(","):
            root = folder / "cpu" if controllers else folder
            parts = Path(group.lstrip("/")).parts
            places += [root.joinpath(*parts[:count]) for count in range(1, len(parts) + 1) if ".." not in parts]
    return places


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):  # there is no such file: no limit of this kind
        return ""
