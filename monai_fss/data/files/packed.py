# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Settings of PRNet in model files of earlier versions, whose numbers had no names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["named"]

LEVELS = ("coarse", "fine")
GROWTH = ("limit", "intensity_weight", "iterations")


def named(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model file with a name for every number.

    Earlier versions wrote what a network of PRNet is like as ``[mm of a voxel, H, W, slices, x, y, z]``
    and the arguments of :func:`monai_fss.transforms.grow_scribbles` as ``[limit, intensity_weight, iterations]``.

    Args:
        settings: key to plain value.

    Returns:
        a copy; ``coarse`` and ``fine`` are ``{"pixdim", "patch_size", "reach"}``, ``growth`` is a mapping too. What
        is one already, and all other settings, stay as they are.
    """
    result = dict(settings)
    for key in LEVELS:
        if isinstance(value := result.get(key), (list, tuple)) and len(value) == 7:
            size = [int(number) for number in value[1:4]]
            result[key] = {"pixdim": value[0], "patch_size": size, "reach": list(value[4:])}
    if isinstance(value := result.get("growth"), (list, tuple)) and len(value) == len(GROWTH):
        result["growth"] = dict(zip(GROWTH, value, strict=True))
    return result
