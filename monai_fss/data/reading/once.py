# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Read and judge each file once while a command runs, as long as there is room for what was read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any

from monai_fss.data.problems import Findings
from monai_fss.data.reading.nifti import Volume

__all__ = ["file_key", "judged_once", "read_once", "reading_once"]

Key = tuple[Hashable, ...]


class _Memory:
    """What was read and judged; of volumes those last used, as far as they fit into ``room`` bytes."""

    def __init__(self, room: float) -> None:
        self.room = room
        self.volumes: OrderedDict[Key, tuple[Volume, list[str]]] = OrderedDict()
        self.judged: dict[Key, tuple[Any, list[str]]] = {}
        self.lock = RLock()

    def keep(self, key: Key, volume: Volume, doubts: list[str]) -> None:
        assert volume.array is not None
        if volume.array.nbytes > self.room:
            return
        volume.array.flags.writeable = False  # it is handed out more than once
        with self.lock:
            self.volumes[key] = volume, doubts
            while sum(_size(kept) for kept, _ in self.volumes.values()) > self.room:
                self.volumes.popitem(last=False)


_memories: list[_Memory] = []


@contextmanager
def reading_once(room: float) -> Iterator[None]:
    """
    Within it, a file that has not changed is judged once, and read once as far as there is room.

    Args:
        room: bytes for volumes as they are stored; those used longest ago go first. 0: no volume is kept. Within
            another such block this one changes nothing.
    """
    if _memories:
        yield
        return
    _memories.append(_Memory(room))
    try:
        yield
    finally:
        _memories.pop()


def read_once(path: Path, found: Findings, read: Callable[[Path, Findings], Volume | None]) -> Volume | None:
    """A volume that has been read before, or is read now; ``found`` gets its doubts again."""
    if not _memories:
        return read(path, found)
    memory, key = _memories[-1], file_key(path)
    with memory.lock:
        known = memory.volumes.get(key)
        if known is not None:
            memory.volumes.move_to_end(key)
    if known is not None:
        volume, doubts = known
        found.doubts += doubts
        return replace(volume)
    before = len(found.doubts)
    volume_now = read(path, found)
    if volume_now is not None and volume_now.array is not None and not found.problems:
        memory.keep(key, volume_now, found.doubts[before:])
    return volume_now


def judged_once(key: Key, found: Findings, judge: Callable[[], Any]) -> Any:
    """What a check has found of a file before, or finds now; problems are found anew each time."""
    if not _memories:
        return judge()
    memory = _memories[-1]
    known = memory.judged.get(key)
    if known is not None:
        found.doubts += known[1]
        return known[0]
    before = len(found.doubts)
    result = judge()
    if result is not None and not found.problems:
        memory.judged[key] = result, found.doubts[before:]
    return result


def file_key(path: Path) -> Key:
    """A file, or the files of a folder, as they are now."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files if file.exists()]
    return (str(path.absolute()), *((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))


def _size(volume: Volume) -> int:
    return 0 if volume.array is None else volume.array.nbytes
