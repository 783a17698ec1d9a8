# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The network of self-training: a supervised one that keeps the labelled scan it has learnt from."""

from __future__ import annotations

from .remembering import Remembering
from .supervised_unet import SupervisedUNet

__all__ = ["StudentUNet"]


class StudentUNet(SupervisedUNet, Remembering):
    """:class:`SupervisedUNet` that remembers labelled scans, by which an atlas stands beside it in use.

    See :func:`monai_fss.inferers.two_stage.priors.packed_atlases` for what is remembered.
    """
