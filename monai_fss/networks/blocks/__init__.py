# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Building blocks that the few-shot networks share."""

from __future__ import annotations

from .prototype import cosine_similarity, masked_average_pooling, support_prototypes

__all__ = ["cosine_similarity", "masked_average_pooling", "support_prototypes"]
