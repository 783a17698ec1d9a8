# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Label fusion: from the labels of several atlases on the query's grid to one probability map for each class."""

from __future__ import annotations

from .fuse import fuse
from .pbaf import pbaf
from .staple import staple
from .volume import volume_preserving_vote
from .votes import local_weighted_vote, majority_vote

__all__ = ["fuse", "local_weighted_vote", "majority_vote", "pbaf", "staple", "volume_preserving_vote"]
