# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""PRNet's networks from a file of its training, and scans as these were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.transforms import Compose
from torch import nn

from monai_fss.data import PrepareVolumes, ScanError, load_propagation, read_propagation
from monai_fss.networks.nets import LocatedSegmenter, PRNet

__all__ = ["load_prnet", "prnet_transforms"]

SETTINGS = ("coarse", "fine", "base", "pixdim", "window")


def load_prnet(file: str | Path) -> tuple[LocatedSegmenter, dict[str, Any]]:
    """Both networks, or the only one, and the labelled scan's points, without a network that segments.

    Args:
        file: ``propagation.pt`` of a training of the bundle "prnet", or the ``model.pt`` that it ended with.

    Returns:
        the networks, with the identity for a segmenter; and the settings that tell how scans are treated.

    Raises:
        ScanError: there is no such file, it is of another kind, or its settings are not those of its weights.
    """
    settings = read_propagation(file)["settings"]
    missing = [key for key in SETTINGS if key not in settings]
    if missing:
        raise ScanError(f"{file}: does not say its {', '.join(missing)}. Give a file that a training has written.")
    coarse = PRNet.of_level(settings["coarse"], settings["base"])
    fine = None if settings["fine"] is None else PRNet.of_level(settings["fine"], settings["base"])
    return load_propagation(file, LocatedSegmenter(nn.Identity(), coarse, fine)), settings


def prnet_transforms(settings: Mapping[str, Any], keys: Sequence[str] = ("image",)) -> Compose:
    """Read a scan and treat it as the bundle "prnet" does: orientation, voxel size, intensities of 0..1.

    Args:
        settings: of the file, see :func:`load_prnet`: ``pixdim`` in mm, one number or three; ``window``, (low, high) in
            HU for CT, None for 0 to the 99.5th percentile of each scan.
        keys: items that are read, files before, (1, H, W, D) after: ``image`` and, where wanted, ``label``, which is
            resampled to the nearest voxel, by which small structures may be lost. Default: the image alone.
    """
    return PrepareVolumes(settings["pixdim"], settings["window"], keys)
