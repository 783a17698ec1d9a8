# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Public weights: torchvision's ResNets for a :class:`DilatedResNet`, Kinetics for a :class:`ResNeXt3D`."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.error import URLError
from urllib.parse import urlparse

import torch

from monai_fss.digests import sha256_of
from monai_fss.networks.nets.dilated_resnet import DilatedResNet
from monai_fss.networks.nets.efficientnet_lite import EfficientNetLite0
from monai_fss.networks.nets.resnext3d import ResNeXt3D

__all__ = ["COCO_RESNET101", "load_body", "load_pretrained"]

Encoder = TypeVar("Encoder", DilatedResNet, ResNeXt3D)
COCO_RESNET101 = "https://download.pytorch.org/models/deeplabv3_resnet101_coco-586e9e4e.pth"


def load_pretrained(encoder: Encoder, source: str | Path = COCO_RESNET101, sha256: str | None = None) -> Encoder:
    """Load a public checkpoint into the body of an encoder; the 1x1 reduction keeps its values.

    Segmentation checkpoints (``backbone.*``; their classifiers are left out), ImageNet checkpoints (no prefix;
    ``fc.*`` is left out) and the Kinetics ones of the 3-D ResNeXt (``module.*`` under ``state_dict``, ``module.fc.*``
    left out) are read. Every tensor of the body has to be there and fit, or nothing is changed. The file is read with
    ``weights_only=True``: no code in it is executed.

    The public networks take three colours. For any other number of image channels the first convolution's weights
    are summed over the colours into channel 0, which is the same as showing the network that channel three times;
    further channels start at zero.

    Args:
        encoder: the network to fill, of the checkpoint's depth.
        source: a file, or an http(s) address that is downloaded once into ``<torch.hub.get_dir()>/checkpoints``. By
            default DeepLabv3-ResNet-101 trained on COCO, from whose body ADNet (Hansen et al. 2022) starts. (The
            Kinetics weights have no plain address: give the file.)
        sha256: the file's SHA-256 or its first 8 or more hex digits. By default the digits at the end of the file's
            name, as torchvision puts them there (``...-586e9e4e.pth``); a file without them is not checked.

    Returns:
        The encoder.

    Raises:
        FileNotFoundError: when ``source`` is a path without a file.
        ConnectionError: when the download fails.
        ValueError: when the hash differs, the file is damaged or holds more than tensors, or it does not fit.

    Example:
        >>> encoder = load_pretrained(DilatedResNet(depth=101, in_channels=1))
    """
    path = _fetch(str(source)) if str(source).startswith(("http://", "https://")) else Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file. Give the path or the address of a torchvision checkpoint, such as {COCO_RESNET101}."
        )
    _check_hash(path, sha256)
    state = _body(_read(path))
    own = {name: tensor for name, tensor in encoder.state_dict().items() if not name.startswith("reduce.")}
    if "conv1.weight" in state:
        state["conv1.weight"] = _fit_colours(state["conv1.weight"], own["conv1.weight"].shape[1])
    _check_fit(path, encoder, own, state)
    encoder.load_state_dict(state, strict=False)
    return encoder


def load_body(body: EfficientNetLite0, path: Path) -> None:
    """Load a public checkpoint into a network that is a part of the public one; its further tensors are left out.

    Args:
        body: the network to fill.
        path: file of a plain state dict, see :func:`load_pretrained`.

    Raises:
        FileNotFoundError, ValueError: as of :func:`load_pretrained`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. {body.remedy}")
    _check_hash(path, None)
    own, state = body.state_dict(), _read(path)
    state = {name: tensor for name, tensor in state.items() if name in own}
    _check_fit(path, body, own, state)
    body.load_state_dict(state, strict=False)


def _fetch(url: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
            raise ConnectionError(
                f"{url}: could not be downloaded ({error}). Download it on a computer with access to it and save it "
                f"as {path}, or give the path of the file as source."
            ) from error
    return path


def _check_hash(path: Path, sha256: str | None) -> None:
    in_name = re.search(r"-([0-9a-f]{8,64})\.pth?$", path.name)
    expected = sha256.lower() if sha256 is not None else in_name.group(1) if in_name else None
    if expected is None:
        return
    if not re.fullmatch(r"[0-9a-f]{8,64}", expected):
        raise ValueError(f"sha256: '{sha256}' is not a SHA-256. Give 8 to 64 hexadecimal digits.")
    found = sha256_of(path)
    if not found.startswith(expected):
        raise ValueError(
            f"{path}: its SHA-256 is {found}, expected was {expected}. The file is damaged or another one: "
            "delete it and download it again."
        )


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        objects = re.search(r"GLOBAL (\S+)", str(error))
        if objects:
            raise ValueError(
                f"{path}: holds a Python object ({objects.group(1)}) besides tensors and was not loaded, because "
                "loading it could run code. Give a file that holds a state dict only."
            ) from error
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: is not a readable checkpoint ({reason}). Download it again.") from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]  # beside it a training checkpoint has its epoch and the optimiser
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path}: is not a mapping of names to tensors. Give a file that holds a state dict only.")
    return state


def _body(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in ("module.", "backbone."):  # of DataParallel, of torchvision's segmentation networks
        if any(name.startswith(prefix) for name in state):
            state = {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


def _fit_colours(weight: torch.Tensor, channels: int) -> torch.Tensor:
    if channels == 3 or weight.ndim not in (4, 5) or weight.shape[1] != 3:
        return weight
    fitted = weight.new_zeros(weight.shape[0], channels, *weight.shape[2:])
    fitted[:, 0] = weight.sum(dim=1)
    return fitted


def _check_fit(
    path: Path,
    encoder: DilatedResNet | EfficientNetLite0 | ResNeXt3D,
    own: Mapping[str, torch.Tensor],
    given: Mapping[str, torch.Tensor],
) -> None:
    # num_batches_tracked came later than the oldest public files and has no part in what is computed.
    missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in own]
    misshapen = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    problems = {"missing": missing, "not expected": unexpected, "of another shape": misshapen}
    found = "; ".join(f"{len(names)} {what}: {_first(names)}" for what, names in problems.items() if names)
    if found:
        raise ValueError(f"{path}: does not fit a {encoder.kind} of depth {encoder.depth} ({found}). {encoder.remedy}")


def _first(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
