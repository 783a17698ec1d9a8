# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where half precision is fast, and products that stay in single precision under it."""

from __future__ import annotations

import torch

__all__ = ["at_least_single", "fast_bfloat16", "full_bmm"]


def at_least_single(x: torch.Tensor) -> torch.Tensor:
    """Half precision brought to single; single and double as they are."""
    return x if x.dtype == torch.float64 else x.float()


def fast_bfloat16() -> bool:
    """Whether the CPU has native bfloat16 (Intel's AMX); others are slower with it.

    MONAI's ``amp`` has no effect on a processor, and does the same on a CUDA device.
    """
    return bool(torch.cpu._is_amx_tile_supported())


def full_bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``torch.bmm`` in single precision, under autocast too; inputs in half are brought to single first.

    Half precision tells cosines near 1 apart by 5e-4 only: too coarse to say which of two neighbours is more alike, and
    0.01 of a similarity that is scaled by 20. A scripted network computes in the precision it is called in.

    Args:
        a: (B, N, K).
        b: (B, K, M).

    Returns:
        (B, N, M).
    """
    if not torch.jit.is_scripting():
        with torch.autocast(a.device.type, enabled=False):
            return torch.bmm(at_least_single(a), at_least_single(b))
    return torch.bmm(a, b)
