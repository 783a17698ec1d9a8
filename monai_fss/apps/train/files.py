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
from monai_fss.apps.methods.method import RECIPE, TRAIN_YAML
from monai_fss.data import InputWarning

__all__ = ["FILE_KEYS", "check_files", "warn_unknown_files"]

FILE_KEYS = (RECIPE, TRAIN_YAML)
"""Keys of a note that say what files held. Notes of earlier versions lack one of them, or both."""


def check_files(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], advice: str) -> None:
    """Refuse a training whose files have changed since; what its note does not say is passed over.

    Args:
        folder: of the training.
        before: its note.
        now: :meth:`Method.note` of what is asked for.
        advice: what to do, such as "Give another --output."

    Raises:
        UsageError: one problem for each file.
    """
    changed = [key for key, _ in _files(now) if key in before and before[key] != _json(now[key])]
    problems = []
    if RECIPE in changed:
        was, is_now = before[RECIPE], now[RECIPE]
        problems.append(f"{folder}: was trained when {now['recipe']}.yaml was {was}; now it is {is_now}. {advice}")
    if TRAIN_YAML in changed:
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
    if now.get(RECIPE) is not None:
        yield RECIPE, f"{now['recipe']}.yaml"
    if now.get(TRAIN_YAML) is not None:
        yield TRAIN_YAML, f"train.yaml of {now['bundle']}"


def _json(value: Any) -> Any:
    return json.loads(json.dumps(value))
