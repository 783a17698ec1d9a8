# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Networks whose file of weights holds more than weights: what their inferer knows of the labelled scans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .model_note import pass_over_note

__all__ = ["Remembering"]


class Remembering(nn.Module):
    """A network that keeps tensors beside its weights, of any name and shape; to be derived from.

    A state dict that is loaded brings its own: what was there before is forgotten.

    Attributes:
        free_prefix: of the buffers that :meth:`remember` makes, by which :func:`monai_fss.data.load_model` knows that
            names and shapes are those of the file.
    """

    free_prefix = "known_"

    def remember(self, tensors: Mapping[str, torch.Tensor]) -> Any:
        """Keep tensors, by name, in place of what was kept before; returns itself."""
        for name in list(self.remembered()):
            del self._buffers[self.free_prefix + name]
        device = next(self.parameters()).device
        for name, value in tensors.items():
            self.register_buffer(self.free_prefix + name, value.detach().clone().to(device))
        return self

    def remembered(self) -> dict[str, torch.Tensor]:
        """What :meth:`remember` kept; empty before."""
        return {
            name.removeprefix(self.free_prefix): value
            for name, value in self._buffers.items()
            if name.startswith(self.free_prefix) and value is not None
        }

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        pass_over_note(state_dict, prefix)
        own = prefix + self.free_prefix
        self.remember({key.removeprefix(own): value for key, value in state_dict.items() if key.startswith(own)})
        super()._load_from_state_dict(state_dict, prefix, *args)
