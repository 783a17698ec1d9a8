# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What MONAI's engines lack."""

from __future__ import annotations

from .patches import PrepareBatchPatches

__all__ = ["PrepareBatchPatches"]
