# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whether a configuration treats scans as the model was trained to have them treated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from monai_fss.data.problems import ScanError

__all__ = ["check_model_settings"]


def check_model_settings(model: str | Path | None, settings: Mapping[str, Any]) -> None:
    """
    Refuse settings that are not those of the training: results would be wrong without a word.

    The bundles ask for it where their inferer is built, since MONAI Label and MONAI Deploy neither run ``initialize``
    nor compare anything themselves.

    Args:
        model: model file. None: there is nothing to compare with.
        settings: of the configuration. One that the model file does not name is not compared.

    Raises:
        ScanError: the model was trained with other values; or as :func:`monai_fss.data.read_model`.
    """
    if model is None:
        return
    state = Path(model).stat() if Path(model).is_file() else None
    trained = _trained(str(model), *((state.st_mtime_ns, state.st_size) if state else (0, 0)))
    other = [key for key in trained if key in settings and settings[key] != trained[key]]
    if other:
        raise ScanError(
            f"{model}: was trained with {', '.join(f'{key} {trained[key]}' for key in other)}, but the configuration "
            f"has {', '.join(f'{key} {settings[key]}' for key in other)}. Give the model's values, such as "
            f'--{other[0]} "{trained[other[0]]}".'
        )


@lru_cache(maxsize=16)
def _trained(file: str, changed: int, size: int) -> Mapping[str, Any]:
    """Of a file with its time of change and size: a server builds its inferer for every request."""
    from monai_fss.data.files.models import read_model

    settings: Mapping[str, Any] = read_model(file)["settings"]
    return settings
