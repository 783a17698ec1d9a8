# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What an inferer found out about a scan beside its answer: it travels with the answer.

It lies as JSON text in the meta data of the inferer's result, one text for each scan of a batch: MONAI's collation and
decollation carry texts, other kinds of object they refuse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.utils import convert_to_dst_type

__all__ = ["FOUND", "found_in", "with_found"]

FOUND = "found"
"""Key in the meta data."""


def with_found(answer: torch.Tensor, inputs: MetaTensor, found: Sequence[Mapping[str, Any]]) -> MetaTensor:
    """An answer with the meta data of the scans that it is for, and what was found out about each of them.

    Args:
        answer: (B, C, H, W, D), on the grid of the scans, or a MetaTensor with a grid of its own for each.
        inputs: the scans (B, C, H, W, D).
        found: for each scan values that JSON knows; keys become texts.

    Returns:
        MetaTensor on the device of the scans; its ``meta["found"]`` is a text for each scan of a batch that a loader
        has made, and of one scan alone that of it.
    """
    texts = [json.dumps(one) for one in found]
    if isinstance(answer, MetaTensor):
        made = answer
    else:
        made = convert_to_dst_type(answer, inputs)[0]
        made.is_batch = inputs.is_batch
    batched = inputs.affine.ndim == 3
    made.meta = {**inputs.meta, "affine": made.affine, FOUND: texts if batched else texts[0]}
    return made


def found_in(result: torch.Tensor) -> dict[str, Any]:
    """What was found out about one scan, from its answer or what became of it; empty where nothing was noted."""
    text = getattr(result, "meta", {}).get(FOUND)
    return json.loads(text) if text else {}
