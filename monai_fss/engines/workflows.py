# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""How a bundle's workflow is given its values, and kept from talking."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from monai_fss.data import verbatim

__all__ = ["parser_values", "quiet_monai"]


def parser_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    """
    Settings as MONAI's ``ConfigParser`` and ``ConfigWorkflow`` take them for what they are.

    Args:
        settings: key to plain value. What a user or a file name has given is not evaluated, see
            :func:`monai_fss.data.verbatim`; ``device`` becomes a ``torch.device``, as configurations expect it.
    """
    import torch

    return {key: torch.device(value) if key == "device" else verbatim(value) for key, value in settings.items()}


def quiet_monai() -> None:
    """Have MONAI's bundle machinery log errors alone: our commands say in their own words what they do."""
    import monai.bundle  # noqa: F401  (its modules set the level when they are imported)

    for name in ("monai.bundle.workflows", "monai.bundle.scripts"):
        logging.getLogger(name).setLevel(logging.ERROR)
