# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Results that are kept under the hash of what they were made from."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor

from monai_fss.data.files.atomic import atomic_path
from monai_fss.data.problems import InputWarning

__all__ = ["ContentCache"]


class ContentCache:
    """Keeps tensors that take long to compute, in a folder, under the SHA-256 of everything they depend on.

    What has changed has another name, so nothing is ever out of date; nothing is removed either. Several processes may
    share the folder: a file is there whole or not at all.

    Args:
        folder: where to; made when first written to.
        version: of the code that computes. Raise it when the results change.

    Example:
        >>> cache = ContentCache("cache", version=1)
        >>> found = cache("field", lambda: register(a, b).tensors(), [a, b], {"method": "affine"})
        >>> field = DisplacementField(**found)
    """

    def __init__(self, folder: str | Path, version: int = 1) -> None:
        self.folder = Path(folder)
        self.version = version

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
        if path.exists():
            try:
                return _load(path)
            except ValueError as error:
                warnings.warn(f"{path}: {error}. Computing it anew.", InputWarning, stacklevel=2)
        result = {key: _plain(name, key, value) for key, value in function().items()}
        with atomic_path(path) as unfinished:
            torch.save({"tensors": result, "digest": _digest(result)}, unfinished)
        return result

    def path(self, name: str, tensors: Sequence[torch.Tensor], settings: Mapping[str, Any] | None = None) -> Path:
        """The file that the result for these inputs has or will have."""
        digest = hashlib.sha256()
        text = json.dumps([self.version, name, len(tensors), dict(settings or {})], sort_keys=True, allow_nan=False)
        digest.update(text.encode())
        for tensor in tensors:
            _update(digest, tensor)
        return self.folder / f"{name}-{digest.hexdigest()}.pt"


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
        ValueError: if it is not what was written.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
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
