# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a file holds, in a few characters, and which files have changed since that was noted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

__all__ = ["changes", "digests", "file_states", "sha256_of"]

_BLOCK = 1 << 20


def sha256_of(*paths: str | Path) -> str:
    """SHA-256 of files, one after another, as hexadecimal text; a folder stands for its files in the order of names."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        for file in _files(path):
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
    return digest.hexdigest()


def digests(files: Mapping[str, str | Path], before: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """
    What files hold, for a note beside what was made from them.

    Args:
        files: name to file, or to the folder of a series. The name is what tells it again, wherever it lies.
        before: what this function returned then. A file of the same size and times is not read again. Default: every
            file is read, once in a process.

    Returns:
        name to ``{"sha256": ..., "state": [...]}``, JSON values; ``state`` has the size in bytes and the times of
        change of content and of entry (ns) of each file. ``None`` in place of both where there is no such file.

    Example::

        note = digests({"images/case_01.nii.gz": "/data/images/case_01.nii.gz"})
        changes(note, digests({"images/case_01.nii.gz": "/moved/images/case_01.nii.gz"}, note))  # {}
    """
    return {name: _digest(Path(path), (before or {}).get(name)) for name, path in files.items()}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """
    Which files do not hold what they held.

    Args:
        before, now: see :func:`digests`. Where the files lie, and when they were written, does not count.

    Returns:
        name to "changed", "new" or "missing", in the order of ``now``; those that are missing come last.
    """
    told = {name: "changed" if name in before else "new" for name in now if _sha(before, name) != _sha(now, name)}
    return told | {name: "missing" for name in before if name not in now}


def _digest(path: Path, before: Any) -> dict[str, Any]:
    if not path.exists():
        return {"sha256": None, "state": None}
    state = file_states(path)
    if isinstance(before, dict) and before.get("state") == [list(one) for one in state]:
        return dict(before)
    return {"sha256": _read_once(path.absolute(), state), "state": [list(one) for one in state]}


@lru_cache(maxsize=65536)
def _read_once(path: Path, state: tuple[tuple[int, int, int], ...]) -> str:
    """SHA-256 of what is at a path in this state."""
    return sha256_of(path)


def file_states(path: Path) -> tuple[tuple[int, int, int], ...]:
    """
    Of a file, or of each file of a folder in the order of names: size in bytes, and times of change in ns.

    The second time is that of the directory entry, which cannot be set: it tells a file that was replaced by one of the
    same size and time.
    """
    stats = [file.stat() for file in _files(path)]
    return tuple((stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats)


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]


def _sha(note: Mapping[str, Any], name: str) -> Any:
    entry = note.get(name)
    return entry.get("sha256") if isinstance(entry, dict) else entry
