# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

__all__ = ["STALE_PREFIX", "atomic_path", "remove_stale", "write_json", "write_text_atomic"]

STALE_PREFIX = ".unfinished-"


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """
    Lend a temporary name to write to; rename it to ``path`` when the block ends well.

    The temporary file lies in the folder of ``path`` (a rename is atomic only within one file system), begins with
    ``STALE_PREFIX`` and ends like ``path``, because writers choose the format by the suffix. If the block raises,
    the temporary file is removed and ``path`` is as it was before. A killed process leaves the temporary file:
    see :func:`remove_stale`.

    Args:
        path: the final name. Missing parent folders are made.

    Yields:
        the name to write to.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    ending = ".nii.gz" if final.name.endswith(".nii.gz") else final.suffix[:8]  # a name may be as long as is allowed
    temporary = final.with_name(f"{STALE_PREFIX}{uuid4().hex[:12]}{ending}")
    try:
        yield temporary
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """
    Write ``text`` as UTF-8 with ``\\n`` line ends, whole or not at all.

    Args:
        path: the file to write or replace. Missing parent folders are made.
        text: its whole content.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """
    Write ``obj`` as indented JSON, whole or not at all.

    Args:
        path: the file to write or replace. Missing parent folders are made.
        obj: what :func:`json.dumps` accepts. The key order is kept.

    Raises:
        ValueError: when ``obj`` holds a NaN or an infinity, which JSON does not know: use ``None`` for a value that is
            not defined.
    """
    write_text_atomic(path, json.dumps(obj, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def remove_stale(folder: str | os.PathLike[str], age: float = 0.0) -> list[Path]:
    """
    Remove the temporary files that a killed run left in ``folder`` and its sub-folders.

    Call it before anything is written: it cannot tell another process's file of this moment from an old one.

    Args:
        folder: an output folder; it need not exist.
        age: seconds that they must be old, where other processes write to the folder. Default: all are removed.

    Returns:
        the files removed, sorted.
    """
    stale = sorted(p for p in Path(folder).rglob(f"{STALE_PREFIX}*") if p.is_file())
    if age > 0:
        stale = [path for path in stale if _age(path) > age]
    for path in stale:
        path.unlink(missing_ok=True)
    return stale


def _age(path: Path) -> float:
    """Seconds since a file was changed; none where it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
