# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Where half precision is fast, and products that stay in single precision under it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["at_least_single", "autocast_bfloat16", "fast_bfloat16", "full_bmm"]


def at_least_single(x: torch.Tensor) -> torch.Tensor:
    """Half precision brought to single; single and double as they are."""
    return x if x.dtype == torch.float64 else x.float()


@contextmanager
def autocast_bfloat16(device_type: str) -> Iterator[None]:
    """``torch.autocast`` to bfloat16, with 3-D convolutions that come out wrong on a processor in single precision.

    With AMX, a strided convolution in bfloat16 that leaves one voxel along the last axis reads memory that it does not
    own: its values, or its weight's gradient, are wrong or not a number (https://github.com/pytorch/pytorch/issues/169688).
    Such are the deepest levels of a network on a window of few slices.

    Args:
        device_type: as of ``torch.autocast``; on a CUDA device it is just that.
    """
    with torch.autocast(device_type, torch.bfloat16):
        if device_type != "cpu":
            yield
            return
        with _RightConvolutions():
            yield


class _RightConvolutions(TorchFunctionMode):
    """Strided 3-D convolutions that leave one voxel along the last axis, in single precision."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is not torch.conv3d or result.shape[-1] > 1:
            return result
        stride = args[3] if len(args) > 3 else kwargs.get("stride", 1)
        if (stride if isinstance(stride, int) else stride[-1]) == 1:
            return result
        with torch.autocast("cpu", enabled=False):
            named = {key: _single(x) for key, x in kwargs.items()}
            return func(*(_single(x) for x in args), **named).to(result.dtype)


def _single(x: Any) -> Any:
    return x.float() if isinstance(x, torch.Tensor) else x


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
