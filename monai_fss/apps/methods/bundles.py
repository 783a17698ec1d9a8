# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The bundles that are installed with the package, and what their configurations hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError

__all__ = ["bundle_names", "bundle_path", "config_keys"]


def bundle_names() -> list[str]:
    """Names of the installed bundles, sorted."""
    return sorted(folder.name for folder in _folder().iterdir() if (folder / "configs").is_dir())


def bundle_path(name: str) -> Path:
    """
    Folder of an installed bundle.

    Args:
        name: such as ``"adnet"``.

    Raises:
        UsageError: there is no such bundle.
    """
    if name not in bundle_names():
        raise UsageError(f"--bundle {name}: no such bundle. Installed are {', '.join(bundle_names())}.")
    return _folder() / name


def config_keys(files: Sequence[Path]) -> dict[str, Any]:
    """
    Every setting of configuration files.

    Args:
        files: of an installed bundle; a later one is merged over those before it.

    Returns:
        key to value as it is written there, at every level: ``"elastic"``, ``"elastic::rotate"``, ...

    Raises:
        ValueError: a key stands twice in a file (under ``MONAI_FAIL_ON_DUPLICATE_CONFIG=1``, as the commands set it).
    """
    return dict(_read(tuple((str(file), file.stat().st_mtime_ns) for file in files)))


def _folder() -> Path:
    return Path(str(package_files("monai_fss") / "bundles"))


@lru_cache(maxsize=64)
def _read(files: tuple[tuple[str, int], ...]) -> dict[str, Any]:
    """Of files with their times of change: each version of them is read once."""
    from monai.bundle import ConfigParser

    return dict(_flat(ConfigParser.load_config_files([file for file, _ in files])))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if path:
        yield path, value
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _flat(item, f"{path}::{key}" if path else str(key))
