# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The files of a bundle that a training depends on: what they held then, and whether they have changed since."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.bundles import bundle_path
from monai_fss.apps.methods.recipes import recipe_content
from monai_fss.data import InputWarning, sha256_of

__all__ = ["FILE_KEYS", "check_files", "training_files", "warn_unknown_files"]

_RECIPE, _MAIN = "recipe_content", "train_yaml_sha256"
_STAGES = ("pretrain", "propagate")
FILE_KEYS = (_RECIPE, _MAIN)
"""Keys of :func:`training_files`. Notes of earlier versions lack one of them, or both."""


def training_files(bundle: str, recipe: str | None) -> dict[str, Any]:
    """What the files of a method hold, for the note of a training.

    Args:
        bundle: such as "crapnet".
        recipe: of the bundle, or None.

    Returns:
        the content of the recipe's file (None without), and the SHA-256 digest of the bundle's ``configs/train.yaml``,
        with those of the stages that it runs first where there are any.
    """
    configs = bundle_path(bundle) / "configs"
    files = [configs / "train.yaml", *(file for name in _STAGES if (file := configs / f"{name}.yaml").is_file())]
    return {_RECIPE: recipe_content(bundle, recipe), _MAIN: sha256_of(*files)}


def check_files(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], advice: str) -> None:
    """Refuse a training whose files have changed since; what its note does not say is passed over.

    Args:
        folder: of the training.
        before: its note.
        now: ``bundle``, ``recipe`` and :func:`training_files` of what is asked for.
        advice: what to do, such as "Give another --output."

    Raises:
        UsageError: one problem for each file.
    """
    changed = [key for key, _ in _files(now) if key in before and before[key] != _json(now[key])]
    problems = []
    if _RECIPE in changed:
        was, is_now = before[_RECIPE], now[_RECIPE]
        problems.append(f"{folder}: was trained when {now['recipe']}.yaml was {was}; now it is {is_now}. {advice}")
    if _MAIN in changed:
        problems.append(f"{folder}: was trained by another train.yaml of {now['bundle']}. {advice}")
    if problems:
        raise UsageError(problems)


def warn_unknown_files(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warn of each file of which a note does not say what it held.

    Args:
        folder, before, now: see :func:`check_files`.

    Warns:
        InputWarning: for each.
    """
    for key, file in _files(now):
        if key not in before:
            text = f"{folder}: its note does not say what {file} held, so whether it has changed since is not known."
            warnings.warn(text, InputWarning, stacklevel=3)


def _files(now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Key and name of each file that the training depends on."""
    if now.get(_RECIPE) is not None:
        yield _RECIPE, f"{now['recipe']}.yaml"
    if now.get(_MAIN) is not None:
        yield _MAIN, f"train.yaml of {now['bundle']}"


def _json(value: Any) -> Any:
    return json.loads(json.dumps(value))
