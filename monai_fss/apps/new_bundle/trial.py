# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whether a new bundle's network and loss fit together: a step of training and a segmentation of random images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from monai_fss.apps.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["try_bundle"]

_PLANE = 64  # pixels: what every encoder's deepest level can do with
_HELP = "CONTRIBUTING.md, 'Add a method', says what a network and a loss give each other."


def try_bundle(folder: Path) -> None:
    """
    Build the network and the loss of a bundle, and use them once.

    Args:
        folder: of the bundle.

    Raises:
        UsageError: they cannot be built, do not fit together, or leave weights out of a step.
    """
    import torch
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "train.yaml"))
    with _said("--network: building the network"):
        network = parser.get_parsed_content("network_def")
    with _said("--loss: building the loss"):
        loss = parser.get_parsed_content("loss")
    metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    channels = metadata["network_data_format"]["inputs"]["image"]["num_channels"]
    size = (_PLANE, _PLANE, *parser["size"][2:])
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, channels, *size, generator=generator)
    label = torch.zeros(2, 1, *size)
    label[:, :, 16:40, 16:40] = 1
    _step(network, loss, image, label)
    with _said("--network: a segmentation"), torch.no_grad():
        logits = network.eval().condition(image[:, None], label[:, None])(image[:1])
    if tuple(logits.shape) != (1, 3, *size):
        raise UsageError(
            f"--network: gives logits {tuple(logits.shape)} for one image {tuple(image.shape[1:])} and two ways. "
            f"segment() returns (B, 1 + W, *spatial), here {(1, 3, *size)}."
        )


def _step(network: nn.Module, loss: nn.Module, image: torch.Tensor, label: torch.Tensor) -> None:
    """A step of training, in which every weight has to take part; images (B, C, *spatial), masks (B, 1, *spatial)."""
    with _said("--network: an episode of training"):
        prediction = network(image, image[:, None], label[:, None])
    with _said("--loss: the loss of an episode"):
        try:
            value = loss(prediction, label)
        except KeyError as error:
            raise UsageError(
                f"--loss: asks for {error}, which the network's episode() does not give. Return it there, or take "
                "--loss monai_fss.losses.SegmentationLoss, which needs the logits alone."
            ) from error
        value.backward()
    idle = [name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None]
    if idle:
        more = f" and {len(idle) - 3} more" if len(idle) > 3 else ""
        raise UsageError(
            f"--network: {', '.join(idle[:3])}{more}: these weights take no part in a step of training, so that they "
            "stay random and a training in several processes stops. Use them in episode(), or remove them."
        )


@contextmanager
def _said(what: str) -> Iterator[None]:
    """What goes wrong within, in words."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # MONAI wraps what went wrong within a configuration
            cause = cause.__cause__
        raise UsageError(f"{what} failed ({type(cause).__name__}: {cause}). {_HELP}") from error
