# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The baseline "untrained network": the network before training, with its pre-trained weights if it has any."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_fss.apps.evaluate.evaluation import Evaluation
from monai_fss.engines.workflows import parser_values

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

__all__ = ["starting_network", "starting_weights"]


def starting_network(evaluation: Evaluation) -> Any:
    """A network as the training begins with.

    It is the ``network_def`` of the training's configuration, so that it has the pre-trained weights of the recipe or
    of ``pretrained``; what these do not cover is random, drawn with the seed of the first run (not the very draw of
    that training, which draws other numbers before). ALPNet with the weights of COCO and no training is what CRAPNet's
    paper calls "ALPNet-init" (Table 1).

    Args:
        evaluation: of a method that is trained, and of no given model.

    Raises:
        FileNotFoundError, ConnectionError, ValueError: there is no file of pre-trained weights, or it does not fit, see
            :func:`monai_fss.networks.nets.load_pretrained`; MONAI wraps them in a RuntimeError.
    """
    import torch

    torch.manual_seed(evaluation.seed)
    return _parser(evaluation).get_parsed_content("network_def")


def starting_weights(evaluation: Evaluation) -> str:
    """Which weights the untrained network has, in words for the result files."""
    if evaluation.model is not None:
        return "random; what the training of the given model began with is not in its file"
    source = _parser(evaluation).get_parsed_content("pretrained") if "pretrained" in evaluation.known else None
    return f"{Path(str(source)).name}, the rest random" if source else "random"


def _parser(evaluation: Evaluation) -> ConfigParser:
    """The configuration of the training: the bundle's file, the recipe, and the settings."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([str(file) for file in evaluation.method.files])
    parser.update(parser_values({"bundle_root": evaluation.method.folder, **evaluation.settings}))
    return parser
