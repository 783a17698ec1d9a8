# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Model files and training checkpoints: tensors and plain values, never code."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.handlers import Checkpoint
from torch import nn

from monai_fss.data.files.atomic import atomic_path
from monai_fss.data.files.packed import named
from monai_fss.data.files.plain import unpacked
from monai_fss.data.problems import InputWarning, ScanError

__all__ = ["latest_checkpoint", "load_model", "read_model", "restore", "save_best", "save_model", "save_state"]

_KEY = re.compile(r"[A-Za-z]\w*")
FREE = ("class_names",)
"""Settings that are what somebody has called an organ: any text. Where they are used, nothing is evaluated."""


VERSION = 2
"""Of the form of a model file. 1 said neither a version nor a bundle."""


def save_model(path: str | Path, network: nn.Module, settings: Mapping[str, Any], bundle: str | None = None) -> None:
    """Write a model file, whole or not at all.

    It holds ``{"model": state dict, "settings": plain values, "network": class name, "bundle": name, "version": 2}``.

    Args:
        path: the file; MONAI's ``CheckpointLoader(load_dict={"model": network})`` and MONAI Label read it too.
        network: saved in training mode, that is without a condition.
        settings: numbers, texts, lists and mappings of them that inference needs to treat scans as training did.
        bundle: name of the bundle that trained it, so that nobody needs to be told. Default: not said.

    Raises:
        ScanError: a weight is nan or infinite.
    """
    mode = network.training
    state = network.train().state_dict()
    network.train(mode)
    save_state(path, state, settings, type(network).__name__, bundle)


def save_state(
    path: str | Path,
    state: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
    network: str,
    bundle: str | None = None,
) -> None:
    """:func:`save_model` for tensors that are no single network's: ``network`` says what they are of."""
    _check_finite(path, state, "It was not written: train anew with a lower learning_rate.")
    content = {"model": dict(state), "settings": dict(settings), "network": network}
    _save({**content, "bundle": bundle, "version": VERSION}, path)


def save_best(
    checkpoint: Checkpoint, path: str | Path, settings: Mapping[str, Any], bundle: str | None = None
) -> Path | None:
    """Write the best network of a training as a model file.

    Args:
        checkpoint: Ignite's ``Checkpoint`` that kept it, under the key "model".
        path, settings, bundle: as in :func:`save_model`.

    Returns:
        the path, or None where nothing was validated and no network is best.
    """
    if checkpoint.last_checkpoint is None:
        return None
    folder = Path(checkpoint.save_handler.dirname)
    state = _read(folder / Path(checkpoint.last_checkpoint).name)
    save_state(path, state.get("model", state), settings, type(checkpoint.to_save["model"]).__name__, bundle)
    return Path(path)


def read_model(path: str | Path) -> dict[str, Any]:
    """Read a model file, of a training or of a release (:func:`.plain.save_plain`), without executing anything in it.

    Returns:
        "model", the state dict; "settings", with names that earlier versions left out (see :func:`.packed.named`);
        "network", the class's name, and "bundle", each None where the file does not say; "version" of its form.

    Raises:
        ScanError: missing, damaged, or holding pickled objects; not what :func:`save_model` writes, or what a later
            version of it does; a weight is nan or infinite.
    """
    content = unpacked(_read(Path(path)))
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ScanError(
            [f"{path}: is not a model file of monai_fss (no weights under 'model'). Give a model.pt of a training."]
        )
    _check_finite(path, state, "It cannot segment anything: train anew, with a lower learning_rate.")
    version, bundle = content.get("version", 1), content.get("bundle")
    if not isinstance(version, int) or version > VERSION:
        raise ScanError(
            [f"{path}: is a model file of version {version}; this package reads up to {VERSION}. Update monai_fss."]
        )
    settings = content.get("settings", {})
    if not isinstance(settings, dict) or not all(
        isinstance(k, str) and _harmless(v, k in FREE) for k, v in settings.items()
    ):
        raise ScanError(
            [
                f"{path}: its settings hold an expression, or more than numbers, texts, and lists and mappings of "
                "them; none of it is evaluated. Do not trust this file."
            ]
        )
    own = {"model": state, "settings": named(settings), "network": content.get("network")}
    return {**own, "bundle": bundle if isinstance(bundle, str) else None, "version": version}


def load_model(path: str | Path, network: nn.Module) -> nn.Module:
    """Load the weights of a model file.

    Raises:
        ScanError: the file is not one (see :func:`read_model`), or belongs to another method or encoder.

    Warns:
        InputWarning: the file does not say which network it is of.
    """
    content = read_model(path)
    state, own_name = content["model"], type(network).__name__
    if content["network"] is None:
        warnings.warn(
            f"{path}: does not say which network it is of, and is taken for one of {own_name}. Check that it is.",
            InputWarning,
            stacklevel=2,
        )
    elif content["network"] != own_name:
        raise ScanError([f"{path}: is a model of {content['network']}, not of {own_name}. Name the bundle it is of."])
    mode = network.training
    own = network.train().state_dict()
    network.train(mode)
    free = getattr(network, "free_prefix", None)  # buffers that a file may or may not have, of any shape
    own, known = ({k: v for k, v in each.items() if free is None or not k.startswith(free)} for each in (own, state))
    shown = getattr(network, "condition_names", ())  # of a network that has been shown its labelled scans
    known = {k: v for k, v in known.items() if k not in shown}
    missing, unexpected = sorted(own.keys() - known.keys()), sorted(known.keys() - own.keys())
    wrong = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if missing or unexpected or wrong:
        raise ScanError(
            [
                f"{path}: holds the weights of another method or encoder than {own_name} "
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

    Raises:
        ScanError: the checkpoint is of another training: it lacks something, or was to have another number of steps.
    """
    found = latest_checkpoint(folder)
    if found is None:
        return 0
    file, content = found
    missing = sorted(objects.keys() - content.keys())
    if missing:
        raise ScanError([f"{file}: lacks {', '.join(missing)}. It is not a checkpoint of this training; start anew."])
    _check_length(file, content, objects)
    for name, item in objects.items():
        item.load_state_dict(_present(item, content[name]) if isinstance(item, Checkpoint) else content[name])
    objects["trainer"].state.max_epochs = max_epochs
    return int(objects["trainer"].state.iteration)


def _present(keeper: Checkpoint, state: dict[str, Any]) -> dict[str, Any]:
    """A keeper's list without the files that what came after this checkpoint has replaced: Ignite would remove them."""
    folder = Path(keeper.save_handler.dirname)
    saved = [(priority, name) for priority, name in state["_saved"] if (folder / name).is_file()]
    lost = [name for _, name in state["_saved"] if not (folder / name).is_file()]
    if lost and keeper.score_function is not None:
        warnings.warn(
            f"{folder}: {', '.join(lost)}, the best so far, has been replaced since. The best is chosen anew.",
            InputWarning,
            stacklevel=4,
        )
    return {**state, "_saved": saved}


def _check_length(file: Path, content: Mapping[str, Any], objects: Mapping[str, Any]) -> None:
    """The schedule that a checkpoint brings ends where its training was to end: beyond, the learning rate is 0."""
    old = content.get("scheduler", {}).get("total_iters")
    new = getattr(objects.get("scheduler"), "total_iters", old)
    if old != new:
        raise ScanError(
            [
                f"{file}: is of a training of {old} steps, not {new}: its learning rate falls towards that end. "
                f"Resume with steps={old}, or start anew in another folder."
            ]
        )


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


def _check_finite(path: str | Path, state: Mapping[str, torch.Tensor], remedy: str) -> None:
    broken = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise ScanError(f"{path}: {len(broken)} of {len(state)} weights are nan or infinite{_some(broken)}. {remedy}")


def _harmless(value: Any, free: bool) -> bool:
    """Whether a setting is a plain value, and no text that a ConfigParser would run or replace unless any may be."""
    if isinstance(value, (list, tuple)):
        return all(_harmless(item, free) for item in value)
    if isinstance(value, dict):  # a key that begins with _ is an order to a ConfigParser
        return all(isinstance(k, str) and _KEY.fullmatch(k) and _harmless(v, free) for k, v in value.items())
    if isinstance(value, str):
        return free or not value.startswith(("$", "@", "%"))
    return value is None or isinstance(value, (bool, int, float))


def _some(names: list[str]) -> str:
    return f": {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}" if names else ""
