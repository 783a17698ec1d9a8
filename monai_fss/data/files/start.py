# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A training that starts from the weights of another one, of the same classes or of others."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from monai_fss.data.files.models import read_model
from monai_fss.data.problems import InputWarning, ScanError

__all__ = ["start_from"]

_TREATED = ("pixdim", "window")
"""Settings that say what a scan looks like to a network."""


def start_from(path: str | Path, network: nn.Module, settings: Mapping[str, Any], say: bool = True) -> nn.Module:
    """
    Give a network the weights of a model file; of other classes, all but those of its output layer.

    Args:
        path: model file of a network of the same class and size.
        network: with ``output_prefix``, by which the names of its output layer's weights begin. These are taken where
            the file is of the same classes in the same order.
        settings: of the training that begins: ``values``, its label values, and how scans are treated.
        say: print what was taken. Default: do so.

    Returns:
        the network.

    Raises:
        ScanError: the file is no model file (see :func:`monai_fss.data.read_model`), or of a network of another class
            or size.

    Warns:
        InputWarning: scans were treated otherwise in the training of the file.
    """
    content = read_model(path)
    state, brought, own = content["model"], content["settings"], network.state_dict()
    prefix, kind = str(network.output_prefix), type(network).__name__
    if content["network"] != kind:
        raise ScanError(
            f"{path}: is a model of {content['network']}, not of {kind}. Start from one of the same bundle."
        )
    same = brought.get("values") == list(settings["values"])
    taken = {key: value for key, value in state.items() if same or not key.startswith(prefix)}
    expected = {key for key in own if same or not key.startswith(prefix)}
    wrong = sorted(key for key in expected & taken.keys() if own[key].shape != taken[key].shape)
    wrong += sorted(expected ^ taken.keys())
    if wrong:
        raise ScanError(
            f"{path}: is of a network of another size ({len(wrong)} of {len(expected)} weights do not fit, such as "
            f"{wrong[0]}). It was trained with channels={brought.get('channels')}: set these."
        )
    other = [key for key in _TREATED if key in brought and brought[key] != settings.get(key)]
    if other:
        text = ", ".join(f"{key}={brought[key]} and not {settings.get(key)}" for key in other)
        warnings.warn(f"{path}: was trained with {text}, so scans look otherwise to it.", InputWarning, stacklevel=2)
    network.load_state_dict(taken, strict=False)
    if say:
        print(f"{path}: {_taken(taken, own, brought.get('values'), settings['values'])}", flush=True)
    return network


def _taken(taken: Mapping[str, Any], own: Mapping[str, Any], before: Any, now: Sequence[int]) -> str:
    """What was taken, in words."""
    labels = ", ".join(map(str, now))
    if len(taken) == len(own):
        return f"the training starts from all of its weights, which are of the same labels ({labels})"
    learnt = ", ".join(map(str, before or ())) or "unknown labels"
    return (
        f"the training starts from {len(taken)} of its {len(own)} weights; the output layer, which was of labels "
        f"{learnt}, begins anew for {labels}"
    )
