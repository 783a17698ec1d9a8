# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""``configs/infer.json``, from which ``monai.bundle.load`` builds the network of a bundle.

It looks for ``<workflow_type>.json`` alone, runs what such a file has under ``initialize``, and takes ``network_def``.
MONAI Label would take ``train.json`` and ``inference.json`` in place of the YAML files; this name is nobody else's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_fss.data import write_text_atomic

__all__ = ["network_ids", "write_network_file"]

NAME = "infer.json"
_REFERENCE = re.compile(r"@(\w+)")


def network_ids(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a configuration what its network is made of: ``imports``, ``network_def``, and all ids that it refers to."""
    wanted, found = ["imports", "network_def"], {}
    while wanted:
        name = wanted.pop(0)
        if name in config and name not in found:
            found[name] = config[name]
            wanted += _REFERENCE.findall(json.dumps(config[name]))
    return found


def write_network_file(folder: Path, config: Mapping[str, Any], shown: bool = False) -> None:
    """
    Write the file.

    Args:
        folder: of the bundle.
        config: the content of its ``inference.yaml``.
        shown: whether the model is of a few-shot network that has been shown its labelled scans. In training mode it
            has no place for what it was shown, and MONAI would leave that out without a word; so it is built in
            evaluation mode.
    """
    content = network_ids(config)
    if shown:
        content |= {"shown_network": content["network_def"], "network_def": "$@shown_network.eval()"}
    text = json.dumps(content, indent=4, ensure_ascii=False)
    write_text_atomic(folder / "configs" / NAME, text + "\n")
