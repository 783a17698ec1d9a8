# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What finds scribbles again, in one file: the weights of both PRNets, and what they saw at the scribbles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .checkpoints import read_model, save_state
from .problems import ScanError

__all__ = ["load_propagation", "save_propagation"]

PARTS = ("coarse", "fine", "points")


def save_propagation(
    path: str | Path,
    coarse: nn.Module,
    fine: nn.Module,
    points: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
) -> None:
    """Write the networks and the points, in the form of a model file (see :func:`save_model`).

    Args:
        path: the file.
        coarse, fine: networks of both jumps.
        points: tensors by name, see :class:`monai_fss.inferers.SupportPoints`.
        settings: plain values that tell how scans are treated.
    """
    parts = {"coarse": coarse.state_dict(), "fine": fine.state_dict(), "points": dict(points)}
    state = {f"{part}.{name}": value for part in PARTS for name, value in parts[part].items()}
    save_state(path, state, settings, "Propagation")


def load_propagation(path: str | Path, network: Any) -> Any:
    """Give a :class:`monai_fss.networks.nets.LocatedSegmenter` its PRNets' weights and the points.

    Returns:
        the network.

    Raises:
        ScanError: the file is not of this kind, or of networks of another shape.
    """
    content = read_model(path)
    if content["network"] != "Propagation":
        raise ScanError(f"{path}: holds {content['network']}, not what finds scribbles again. Give a propagation.pt.")
    parts: dict[str, dict[str, torch.Tensor]] = {part: {} for part in PARTS}
    for key, value in content["model"].items():
        part, _, name = key.partition(".")
        parts[part][name] = value
    try:
        network.coarse.load_state_dict(parts["coarse"])
        network.fine.load_state_dict(parts["fine"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ScanError(
            f"{path}: does not fit the networks ({reason}). Give the settings that it was made with."
        ) from error
    return network.remember(parts["points"])
