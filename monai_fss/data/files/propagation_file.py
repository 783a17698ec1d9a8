# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What finds scribbles again, in one file: the weights of both PRNets, and what they saw at the scribbles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_fss.data.files.models import read_model, save_state
from monai_fss.data.problems import ScanError

__all__ = ["load_propagation", "read_propagation", "save_propagation"]

PARTS = ("coarse", "fine", "points")
REMEDY = "Give the propagation.pt of a training of the bundle prnet (in its cache/propagate-*), or its model.pt."
KINDS = ("Propagation", "LocatedSegmenter")  # of save_propagation; of a whole model, with its points as "point_..."


def save_propagation(
    path: str | Path,
    coarse: nn.Module,
    fine: nn.Module | None,
    points: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
) -> None:
    """Write the networks and the points, in the form of a model file (see :func:`save_model`).

    Args:
        path: the file.
        coarse, fine: networks of both jumps; None for the fine one where there is one network alone.
        points: tensors by name, see :class:`monai_fss.inferers.SupportPoints`.
        settings: plain values that tell how scans are treated.
    """
    nets = {"coarse": coarse.state_dict(), "fine": {} if fine is None else fine.state_dict()}
    parts: dict[str, Mapping[str, Any]] = {**nets, "points": points}
    state = {f"{part}.{name}": value for part in PARTS for name, value in parts[part].items()}
    save_state(path, state, settings, "Propagation")


def read_propagation(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read a file that holds both PRNets: a ``propagation.pt``, or a model file of the bundle "prnet".

    Returns:
        "coarse" and "fine", their state dicts, the latter empty where there is one network alone; "points", tensors by
        name; "settings", how scans are treated.

    Raises:
        ScanError: the file is not of these kinds, or cannot be read (see :func:`read_model`).
    """
    if not Path(path).is_file():
        raise ScanError(f"{path}: no such file. {REMEDY}")
    content = read_model(path)
    if content["network"] not in KINDS:
        raise ScanError(f"{path}: holds {content['network'] or 'a network'}, not what finds scribbles again. {REMEDY}")
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for key, value in content["model"].items():
        own = f"points.{key.removeprefix('point_')}" if key.startswith("point_") else key
        part, _, name = own.partition(".")
        if part in parts:
            parts[part][name] = value
    return {**parts, "settings": content["settings"]}


def load_propagation(path: str | Path, network: Any) -> Any:
    """Give a :class:`monai_fss.networks.nets.LocatedSegmenter` its PRNets' weights and the points.

    Args:
        path: see :func:`read_propagation`.
        network: its segmenter is left as it is.

    Returns:
        the network.

    Raises:
        ScanError: the file is not of this kind, or of networks of another shape.
    """
    parts = read_propagation(path)
    try:
        network.coarse.load_state_dict(parts["coarse"])
        (network.fine or nn.Module()).load_state_dict(parts["fine"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ScanError(
            f"{path}: does not fit the networks ({reason}). Give the settings that it was made with."
        ) from error
    return network.remember(parts["points"])
