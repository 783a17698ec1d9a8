# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Support sets, protocols over slices and volumes, label-free quality."""

from __future__ import annotations

from .few_shot import FewShotInferer, conditioned
from .protocols import EP1, EP2, Protocol, chunks
from .quality import reverse_accuracy
from .support import SupportSet, select_slices

__all__ = [
    "EP1",
    "EP2",
    "FewShotInferer",
    "Protocol",
    "SupportSet",
    "chunks",
    "conditioned",
    "reverse_accuracy",
    "select_slices",
]
