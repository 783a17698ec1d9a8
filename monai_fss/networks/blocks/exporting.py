# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whether a network is being traced for ONNX, where a graph has to hold for every batch and size."""

from __future__ import annotations

import torch

__all__ = ["exporting"]


def exporting() -> bool:
    """
    Whether ``torch.export``, and so ``torch.onnx.export``, is at work.

    A graph has neither loops over a batch whose size it does not know, nor choices by what tensors hold: blocks that
    have such, to spare time or memory, take a plain way then, with the same result. TorchScript keeps loops and choices
    as they are: False there.
    """
    if torch.jit.is_scripting():
        return False
    else:  # noqa: RET505  (what TorchScript must not compile)
        return bool(torch.compiler.is_exporting())
