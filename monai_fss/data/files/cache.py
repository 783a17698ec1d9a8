# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Results that are kept under the hash of what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor

from monai_fss.data.files.atomic import atomic_path
from monai_fss.data.problems import InputWarning

__all__ = ["ContentCache", "content_cache", "make_room"]

IN_USE = 600.0
"""Seconds: what was written or read within them stays, as another process may be at it or about to ask for it."""
UNSEEN = 0.05
"""Share of its room that a process fills before it looks again at what all of them have written."""


class ContentCache:
    """Keeps tensors that take long to compute, in a folder, under the SHA-256 of everything they depend on.

    What has changed has another name, so nothing is ever out of date. Several processes, of several machines too, may
    share the folder: a file is there whole or not at all, and one that another process has removed is computed anew.

    Args:
        folder: where to; made when first written to.
        version: of the code that computes. Raise it when the results change.
        room: bytes that the folder may take, see :func:`make_room`. Each of several processes looks when it begins and
            then whenever it has written a twentieth of it. Default: nothing is removed.

    Example:
        >>> cache = ContentCache("cache", version=1)
        >>> found = cache("field", lambda: register(a, b).tensors(), [a, b], {"method": "affine"})
        >>> field = DisplacementField(**found)
    """

    def __init__(self, folder: str | Path, version: int = 1, room: float | None = None) -> None:
        self.folder = Path(folder)
        self.version = version
        self.room = room
        self._unseen = float("inf")

    def __call__(
        self,
        name: str,
        function: Callable[[], Mapping[str, torch.Tensor]],
        tensors: Sequence[torch.Tensor],
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Load what ``function()`` returned for the same inputs before, or call it and keep the result.

        Args:
            name: of the kind of result; begins the file's name.
            function: computes the result, plain tensors by name.
            tensors: what it computes from; of a MetaTensor the affine counts too.
            settings: what else decides the result: numbers, texts, and lists and dictionaries of them.

        Returns:
            the tensors, on the CPU.

        Raises:
            TypeError: if a result is not a plain tensor, or a setting is not one of the above.

        Warns:
            InputWarning: where the kept file is damaged. It is computed anew and replaced.
        """
        path = self.path(name, tensors, settings)
        try:
            with suppress(PermissionError):  # of a cache of somebody else
                os.utime(path)  # by which those used longest ago are known: times of access are often not kept
            return _load(path)
        except FileNotFoundError:  # not known yet, or removed by another process
            pass
        except ValueError as error:
            warnings.warn(f"{path}: {error}. Computing it anew.", InputWarning, stacklevel=2)
        result = {key: _plain(name, key, value) for key, value in function().items()}
        with atomic_path(path) as unfinished:
            torch.save({"tensors": result, "digest": _digest(result)}, unfinished)
        self._keep_room(path)
        return result

    def _keep_room(self, written: Path) -> None:
        if self.room is None:
            return
        try:
            state = written.stat()
        except FileNotFoundError:  # by another process, which has seen to the room
            return
        self._unseen += state.st_size
        if self._unseen > UNSEEN * self.room:
            make_room(self.folder, self.room, now=state.st_mtime)
            self._unseen = 0.0

    def path(self, name: str, tensors: Sequence[torch.Tensor], settings: Mapping[str, Any] | None = None) -> Path:
        """The file that the result for these inputs has or will have."""
        digest = hashlib.sha256()
        text = json.dumps([self.version, name, len(tensors), dict(settings or {})], sort_keys=True, allow_nan=False)
        digest.update(text.encode())
        for tensor in tensors:
            _update(digest, tensor)
        return self.folder / f"{name}-{digest.hexdigest()}.pt"


def content_cache(folder: str | Path | None, gigabytes: float | None = None) -> ContentCache | None:
    """The cache that a configuration asks for.

    Args:
        folder: see :class:`ContentCache`; "" or None: nothing is kept.
        gigabytes: room of it; None: no limit; 0: nothing is kept.
    """
    if not folder or gigabytes == 0:
        return None
    return ContentCache(folder, room=None if gigabytes is None else gigabytes * 1e9)


def make_room(folder: Path, room: float, now: float | None = None, in_use: float = IN_USE) -> list[Path]:
    """Remove the files of a cache that were used longest ago, until the others fit.

    Args:
        folder: of a :class:`ContentCache`; it need not exist.
        room: bytes that its files may take.
        now: time (s) by the clock of the folder's file system, such as that of a file just written: clocks of machines
            differ. Default: that of its newest file.
        in_use: what was used in so many seconds before stays, whatever it takes.

    Returns:
        the files removed.
    """
    found = []
    for file in folder.glob("*.pt"):
        try:
            state = file.stat()
        except FileNotFoundError:  # removed by another process
            continue
        found.append((state.st_mtime, state.st_size, file))
    found.sort(key=lambda one: (one[0], one[2].name))
    taken = sum(size for _, size, _ in found)
    newest = now if now is not None else max((time for time, _, _ in found), default=0.0)
    removed = []
    for time, size, file in found:
        if taken <= room or (in_use > 0 and time > newest - in_use):
            break
        file.unlink(missing_ok=True)
        removed.append(file)
        taken -= size
    return removed


def _update(digest: Any, tensor: torch.Tensor) -> None:
    if isinstance(tensor, MetaTensor):
        _update(digest, torch.as_tensor(tensor.affine, dtype=torch.float64))
        tensor = tensor.as_tensor()
    array = tensor.detach().cpu().contiguous()
    digest.update(f"{array.dtype} {tuple(array.shape)};".encode())
    digest.update(array.reshape(-1).view(torch.uint8).numpy())


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(f"{key}:".encode())
        _update(digest, tensors[key])
    return digest.hexdigest()


def _plain(name: str, key: str, value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor) or isinstance(value, MetaTensor):
        raise TypeError(
            f"{name}: {key!r} is a {type(value).__name__}. Return plain tensors, the affine as one of them."
        )
    return value.detach().cpu().contiguous()


def _load(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is not what was written.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(
            f"cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error
    tensors = content.get("tensors") if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise ValueError("is not a file of this cache")
    if content.get("digest") != _digest(tensors):
        raise ValueError("does not hold what was written to it")
    return tensors
