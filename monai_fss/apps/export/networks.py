# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Networks as TorchScript and ONNX, compared with the network itself before anything is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from monai_fss.apps.errors import UsageError, cause_of
from monai_fss.apps.messages import without_libraries
from monai_fss.data import atomic_path
from monai_fss.networks.nets import FewShotNet

__all__ = ["TOLERANCE", "check_sizes", "write_onnx", "write_torchscript"]

TOLERANCE = 1e-4
"""By which logits of an exported network may differ from the network's own."""
BATCH = 2


def check_sizes(spatial_shape: Sequence[Any]) -> list[tuple[int, ...]]:
    """
    Two sizes of images that a network is tried with.

    Args:
        spatial_shape: as the metadata have it, such as ``["32*n", "32*n"]``.

    >>> check_sizes(["32*n", "32*n", "2*n"])
    [(64, 64, 4), (96, 64, 6)]
    """
    steps = [int(str(side).partition("*")[0]) for side in spatial_shape]
    fixed = [not str(side).endswith("n") for side in spatial_shape]
    first = [step if whole else 2 * step for step, whole in zip(steps, fixed, strict=True)]
    second = [step if whole else 3 * step for step, whole in zip(steps, fixed, strict=True)]
    if len(second) > 1:  # not a square, by which height and width could be exchanged without a word
        second[1] = first[1]
    return [tuple(first), tuple(second)]


def write_torchscript(
    path: Path,
    network: nn.Module,
    channels: int,
    spatial_shape: Sequence[Any],
    metadata: Mapping[str, Any],
    configs: Mapping[str, Any],
) -> float:
    """
    Write a network as TorchScript, with the files of its bundle in it, as MONAI Deploy reads them.

    Args:
        path: the file.
        network: in evaluation mode, of one image; a few-shot network has been conditioned.
        channels, spatial_shape: of its images.
        metadata: of the bundle.
        configs: name, without ending, to content of each configuration that goes into it.

    Returns:
        the largest difference between logits of the file and the network's own, see :data:`TOLERANCE`.

    Raises:
        UsageError: a few-shot network has not been shown a labelled scan; it cannot be compiled, or gives other logits;
            nothing is written.
    """
    from monai.data import save_net_with_metadata

    _check_conditioned("ts", network)
    with without_libraries():
        try:
            scripted = torch.jit.script(network)
        except Exception as error:
            raise UsageError(f"--format ts: TorchScript cannot compile this network ({cause_of(error)}).") from error
    extra = {f"{name}.json": json.dumps(content).encode() for name, content in configs.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder) / path.name  # PyTorch writes the name into the file, and MONAI Deploy looks for it
        save_net_with_metadata(scripted, str(temporary), False, False, dict(metadata), more_extra_files=extra)
        written = torch.jit.load(str(temporary))
        most = _difference("ts", network, written, channels, check_sizes(spatial_shape))
        temporary.replace(path)
    return most


def write_onnx(
    path: Path, network: nn.Module, channels: int, spatial_shape: Sequence[Any], note: Mapping[str, Any]
) -> float:
    """
    Write a network as ONNX: input ``image`` (B, C, ...), output ``pred`` (B, 1 + W, ...), both of any batch and of any
    size that ``spatial_shape`` allows.

    Args:
        path: the file.
        network, channels, spatial_shape: see :func:`write_torchscript`.
        note: plain values, JSON text under the key ``monai_fss`` in the file's metadata.

    Returns:
        the largest difference between the logits that onnxruntime gives and the network's own.

    Raises:
        UsageError: a package is missing; a few-shot network has not been shown a labelled scan; it cannot be exported,
            or gives other logits; nothing is written.
    """
    _check_conditioned("onnx", network)
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise UsageError(
            f"--format onnx: needs onnx, onnxscript and onnxruntime ({error}). pip install 'monai-fss[onnx]'."
        ) from error
    sizes, any_size = check_sizes(spatial_shape), torch.export.Dim.DYNAMIC
    moving = {axis + 2: any_size for axis, side in enumerate(spatial_shape) if str(side).endswith("n")}
    example = torch.rand(BATCH, channels, *sizes[0])
    with without_libraries(), torch.no_grad():
        try:
            program = torch.onnx.export(
                _ImageAlone(network),
                (example,),
                dynamo=True,
                dynamic_shapes={"image": {0: any_size, **moving}},
                input_names=["image"],
                output_names=["pred"],
                verbose=False,
            )
        except Exception as error:
            raise UsageError(f"--format onnx: this network cannot be exported ({cause_of(error)}).") from error
    assert program is not None
    program.model.metadata_props["monai_fss"] = json.dumps(dict(note))
    with atomic_path(path) as temporary:
        program.save(str(temporary))
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])

        def run(image: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(session.run(None, {"image": image.numpy()})[0])

        return _difference("onnx", network, run, channels, sizes)


def _check_conditioned(form: str, network: nn.Module) -> None:
    """A network that knows no organ finds background alone, without a word."""
    if isinstance(network, FewShotNet) and not network.is_conditioned:
        raise UsageError(
            f"--format {form}: this {type(network).__name__} has not been shown a labelled scan, and knows no organ. "
            "Call its condition(image, label) first, or give --support-image and --support-label."
        )


class _ImageAlone(nn.Module):
    """A few-shot network without the arguments that its training has."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of the images."""
        result: torch.Tensor = self.network(image)
        return result


@torch.no_grad()
def _difference(
    form: str,
    network: nn.Module,
    exported: Callable[[torch.Tensor], torch.Tensor],
    channels: int,
    sizes: Sequence[Sequence[int]],
) -> float:
    generator, most = torch.Generator().manual_seed(0), 0.0
    for size in sizes:
        image = torch.rand(BATCH, channels, *size, generator=generator)
        wanted, found = network(image), exported(image)
        if found.shape != wanted.shape:
            raise UsageError(
                f"--format {form}: gives {tuple(found.shape)} of {tuple(image.shape)}, and the network "
                f"{tuple(wanted.shape)}. It was not written."
            )
        most = max(most, float((found - wanted).abs().max()))
    if not most <= TOLERANCE:
        raise UsageError(
            f"--format {form}: gives logits that differ by up to {most:.2g} from the network's; {TOLERANCE} is "
            "allowed. It was not written."
        )
    return most
