# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""A bundle's inference configuration with the settings that a model was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_fss.apps.errors import UsageError
from monai_fss.apps.methods.method import Method
from monai_fss.data import ScanError, read_model
from monai_fss.engines.workflows import parser_values

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["inference_parser", "trained_settings"]


def inference_parser(
    method: Method,
    trained: Mapping[str, Any],
    settings: Mapping[str, Any],
    source: str | Path = "model",
    evaluates: bool = False,
) -> ConfigParser:
    """Parse ``configs/inference.yaml`` of a method's bundle.

    Args:
        method: whose bundle.
        trained: settings of a model file, see :func:`monai_fss.data.read_model`.
        settings: of the user; they go before the model's.
        source: file that ``trained`` came from, for the message.
        evaluates: whether ``configs/evaluate.yaml`` is merged over it.

    Returns:
        the parser, with all of them set; nothing in their values is evaluated.

    Raises:
        ScanError: the model brings settings that the bundle does not know.
    """
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([str(file) for file in (method.evaluation_files if evaluates else [method.inference_file])])
    # What a model was trained with is taken here, and may be changed on purpose: the bundle need not compare it.
    own = {"bundle_root": method.folder, **({"model": None} if "model" in parser else {})}
    parser.update(parser_values(own))
    strange = sorted(trained.keys() - set(parser.get("settings", ())))  # how scans are treated, nothing else
    if strange:
        raise ScanError(
            f"{source}: brings settings that {method.bundle} does not know ({', '.join(strange)}). Name the bundle "
            "that it is of."
        )
    parser.update(parser_values({**trained, **settings}))
    return parser


def trained_settings(model: str | Path, method: Method) -> dict[str, Any]:
    """The settings that a model was trained with.

    Raises:
        UsageError: it is of another bundle.
        ScanError: the file cannot be read.
    """
    content = read_model(model)
    if content["bundle"] not in (None, method.bundle):
        raise UsageError(f"--model {model}: is of {content['bundle']}, not of {method.bundle}. Leave --bundle out.")
    settings: dict[str, Any] = content["settings"]
    return settings
