# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whether a bundle's network is what its metadata say, takes its weights, compiles, and is used as it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai_fss.apps.errors import cause_of
from monai_fss.apps.messages import without_libraries
from monai_fss.apps.verify.files import config_file
from monai_fss.apps.verify.lines import place
from monai_fss.data import ScanError, check_support

__all__ = ["network_problems"]

FORMATS = "network_data_format"


def network_problems(folder: Path) -> list[str]:
    """
    What is wrong with the network, its weights, and the labelled scan where the bundle holds one.

    Args:
        folder: of the bundle, whose files, metadata and configurations are in order.

    Returns:
        a sentence for each, with the line to mend.
    """
    from monai.bundle import ConfigParser

    inference = config_file(folder, "inference")
    assert inference is not None
    parser = ConfigParser()
    parser.read_config(str(inference))
    parser["bundle_root"] = str(folder)
    with without_libraries():
        try:
            network = parser.get_parsed_content("network_def")
        except Exception as error:  # whatever a constructor raises, MONAI wraps it
            return [f"{place(inference, 'network_def')}: cannot be built ({cause_of(error)}). Correct it."]
        problems = _shape(folder, inference) + _compiled(inference, network)
        problems += _weights(folder, inference, network, parser)
        return problems + _support(inference, parser)


def _shape(folder: Path, inference: Path) -> list[str]:
    from monai.bundle import verify_net_in_out

    metadata = folder / "configs" / "metadata.json"
    try:
        verify_net_in_out("network_def", str(metadata), str(inference), "cpu", p=1, n=1, any=1, bundle_root=str(folder))
    except ValueError as error:
        if "output channel number" in str(error) or "dtype of output" in str(error):
            key = "num_channels" if "channel" in str(error) else "dtype"
            where = place(metadata, FORMATS, "outputs", "pred", key)
            return [f"{where}: the network's {cause_of(error)} Correct it."]
        return [f"{place(metadata, FORMATS)}: {cause_of(error)} Correct it."]
    except Exception as error:
        where = place(metadata, FORMATS, "inputs", "image", "num_channels")
        return [f"{where}: the network does not take such an image ({cause_of(error)}). Correct channels or shape."]
    return []


def _compiled(inference: Path, network: Any) -> list[str]:
    import torch

    try:
        torch.jit.script(network)
    except Exception as error:
        return [
            f"{place(inference, 'network_def')}: TorchScript cannot compile {type(network).__name__} "
            f"({cause_of(error)}). The zoo exports every network: mark with torch.jit.ignore what it does not need."
        ]
    return []


def _weights(folder: Path, inference: Path, network: Any, parser: Any) -> list[str]:
    import torch

    from monai_fss.data.files.plain import is_plain, unpacked

    file = folder / "models" / "model.pt"
    if not file.is_file():
        return [f"{file}: is not here, and cannot be looked at. Download what large_files.yml names first."]
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        return [f"{file}: cannot be read as tensors ({cause_of(error)}). Write it by monai-fss release."]
    if not is_plain(content):
        return [f"{file}: is no plain state dict, as the zoo's export loads it. Write it by monai-fss release."]
    try:
        network.load_state_dict(content)
    except RuntimeError as error:
        where = place(inference, "network_def")
        return [f"{where}: the weights of {file} are of another network ({cause_of(error)}). Give those of this one."]
    trained = unpacked(content).get("settings") if "model" in unpacked(content) else None
    problems = []
    for key, value in (trained if isinstance(trained, dict) else {}).items():
        own = parser.get_parsed_content(key) if key in parser else None
        if own != value:
            problems.append(f"{place(inference, key)}: {key} is {own}, and {file} was trained with {value}. Give that.")
    return problems


def _support(inference: Path, parser: Any) -> list[str]:
    if "support_image" not in parser:
        return []
    keys = ("support_image", "support_label")
    files = [parser.get_parsed_content(key) for key in keys]
    images, labels = ([own] if isinstance(own, str) else list(own) for own in files)
    problems = []
    for image, label in zip(filter(None, images), filter(None, labels), strict=False):
        try:
            check_support(image, label)
        except ScanError as error:
            where = place(inference, *(("displayable_configs",) if "displayable_configs" in parser else keys[:1]))
            problems += [f"{where}: {problem}" for problem in error.problems]
    if len(list(filter(None, images))) != len(list(filter(None, labels))):
        problems.append(f"{place(inference, keys[1])}: there are {len(images)} images and {len(labels)} labels.")
    return problems
