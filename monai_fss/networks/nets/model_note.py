# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a released model file says of itself beside its weights."""

from __future__ import annotations

from typing import Any

__all__ = ["NOTE", "pass_over_note"]

NOTE = "model_note"


def pass_over_note(state_dict: dict[str, Any], prefix: str) -> None:
    """Take the note out of a state dict that is being loaded: MONAI's ``ckpt_export`` loads strictly."""
    state_dict.pop(prefix + NOTE, None)
