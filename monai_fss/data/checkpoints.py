# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Model files and training checkpoints: tensors and plain values, never code."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.handlers import Checkpoint
from torch import nn

from .atomic import atomic_path
from .problems import InputWarning, ScanError

__all__ = ["latest_checkpoint", "load_model", "read_model", "restore", "save_best", "save_model"]


def save_model(path: str | Path, network: nn.Module, settings: Mapping[str, Any]) -> None:
    """Write ``{"model": state dict, "settings": plain values}``, whole or not at all.

    Args:
        path: the file; MONAI's ``CheckpointLoader(load_dict={"model": network})`` and MONAI Label read it too.
        network: saved in training mode, that is without a condition.
        settings: numbers, strings and lists that inference needs to treat scans as training did.
    """
    mode = network.training
    state = network.train().state_dict()
    network.train(mode)
    _save({"model": state, "settings": dict(settings)}, path)


def save_best(checkpoint: Checkpoint, path: str | Path, settings: Mapping[str, Any]) -> Path | None:
    """Write the best network of a training as a model file.

    Args:
        checkpoint: Ignite's ``Checkpoint`` that kept it, under the key "model".
        path, settings: as in :func:`save_model`.

    Returns:
        the path, or None where nothing was validated and no network is best.
    """
    if checkpoint.last_checkpoint is None:
        return None
    folder = Path(checkpoint.save_handler.dirname)
    state = _read(folder / Path(checkpoint.last_checkpoint).name)
    _save({"model": state.get("model", state), "settings": dict(settings)}, path)
    return Path(path)


def read_model(path: str | Path) -> dict[str, Any]:
    """Read a model file without executing anything in it.

    Raises:
        ScanError: missing, damaged, or holding pickled objects; not what :func:`save_model` writes.
    """
    content = _read(Path(path))
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ScanError(
            [f"{path}: is not a model file of monai_fss (no 'model' in it). Give a model.pt of a training."]
        )
    settings = content.get("settings", {})
    strings = [v for v in settings.values() if isinstance(v, str)]
    if any(v.startswith(("$", "@", "%")) for v in strings):
        raise ScanError([f"{path}: its settings hold an expression, which is never evaluated. Do not trust this file."])
    return {"model": content["model"], "settings": settings}


def load_model(path: str | Path, network: nn.Module) -> nn.Module:
    """Load the weights of a model file.

    Raises:
        ScanError: the file is not one (see :func:`read_model`), or belongs to another method or encoder.
    """
    state = read_model(path)["model"]
    mode = network.training
    own = network.train().state_dict()
    network.train(mode)
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    wrong = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if missing or unexpected or wrong:
        raise ScanError(
            [
                f"{path}: holds the weights of another method or encoder than {type(network).__name__} "
                f"({len(missing)} missing{_some(missing)}, {len(unexpected)} unexpected{_some(unexpected)}, "
                f"{len(wrong)} of another shape{_some(wrong)}). Name the bundle and the encoder it was trained with."
            ]
        )
    network.load_state_dict(state)
    return network


def latest_checkpoint(folder: str | Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint of a folder that can be read, or None where there is none.

    A file that an interruption has damaged is named in a warning, and the one before it is taken.
    """
    files = sorted(Path(folder).glob("*.pt"), key=lambda f: (f.stat().st_mtime_ns, f.name), reverse=True)
    for file in files:
        try:
            return file, _read(file)
        except ScanError as error:
            warnings.warn(f"{error} Going on from an earlier checkpoint.", InputWarning, stacklevel=2)
    return None


def restore(folder: str | Path, objects: Mapping[str, Any], max_epochs: int) -> int:
    """Bring a training back to where its newest checkpoint left it.

    Args:
        folder: the checkpoints, written by Ignite's ``Checkpoint``.
        objects: what was saved: network, optimizer, scheduler, trainer, ...; each with ``load_state_dict``.
        max_epochs: of the training that goes on, whatever the checkpoint says.

    Returns:
        the iteration reached; 0 where there is no checkpoint.
    """
    found = latest_checkpoint(folder)
    if found is None:
        return 0
    file, content = found
    missing = sorted(objects.keys() - content.keys())
    if missing:
        raise ScanError([f"{file}: lacks {', '.join(missing)}. It is not a checkpoint of this training; start anew."])
    for name, item in objects.items():
        item.load_state_dict(content[name])
    objects["trainer"].state.max_epochs = max_epochs
    return int(objects["trainer"].state.iteration)


def _save(content: dict[str, Any], path: str | Path) -> None:
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def _read(path: Path) -> Any:
    if not path.is_file():
        raise ScanError([f"{path}: no such file. Give the model.pt that a training has written."])
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ScanError(
            [f"{path}: holds pickled objects, which could run code; it was not loaded. Give a file of tensors only."]
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ScanError([f"{path}: is damaged or no PyTorch file ({error}). Copy it again, or train anew."]) from error


def _some(names: list[str]) -> str:
    return f": {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}" if names else ""
