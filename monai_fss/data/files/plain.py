# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Model files as the model zoo wants them: a state dict and nothing else, and yet with the settings of the training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from monai_fss.data.files.atomic import atomic_path

__all__ = ["NOTE", "is_plain", "save_plain", "unpacked"]

NOTE = "model_note"
"""A tensor beside the weights, JSON text as bytes: ``settings``, ``network``, ``bundle``, ``version``. The networks of
this package pass over it (:mod:`monai_fss.networks.nets.model_note`); MONAI's tools load tensors and nothing else."""
_KEPT = ("settings", "network", "bundle", "version")


def is_plain(content: Any) -> bool:
    """Whether a file holds a state dict itself, not under ``model``."""
    return isinstance(content, dict) and all(isinstance(value, torch.Tensor) for value in content.values())


def save_plain(path: str | Path, content: Mapping[str, Any], half: bool = False) -> None:
    """
    Write a model file as the model zoo wants it, whole or not at all.

    Args:
        path: the file.
        content: as :func:`monai_fss.data.read_model` gives it.
        half: store weights in half precision: half as large. Loading them into a network makes them single again.
    """
    note = json.dumps({key: content.get(key) for key in _KEPT}, sort_keys=True)
    weights = _halved(content["model"]) if half else dict(content["model"])
    with atomic_path(path) as temporary:
        torch.save({**weights, NOTE: torch.tensor(list(note.encode()), dtype=torch.uint8)}, temporary)


def unpacked(content: Any) -> Any:
    """What :func:`save_plain` wrote, as a training writes it; anything else as it is."""
    if not is_plain(content) or NOTE not in content:
        return content
    try:
        note = json.loads(bytes(content[NOTE].tolist()).decode())
    except (ValueError, TypeError):
        return content
    if not isinstance(note, dict):
        return content
    return {**note, "model": {key: value for key, value in content.items() if key != NOTE}}


def _halved(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Single precision as half; a tensor that has two names, as in a U-Net of blocks within one another, stays one."""
    known: dict[tuple[int, torch.Size], torch.Tensor] = {}
    result = {}
    for key, value in state.items():
        place = value.data_ptr(), value.shape
        if place not in known:
            known[place] = value.half() if value.dtype == torch.float32 else value
        result[key] = known[place]
    return result
