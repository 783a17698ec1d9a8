# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The reader of the checks as MONAI transforms: a pipeline computes on what was judged."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import ensure_tuple_rep

from monai_fss.data.problems import Findings, ScanError
from monai_fss.data.reading.labels import Grid, read_label
from monai_fss.data.reading.volume import read_scan

__all__ = ["LoadScan", "LoadScand"]


class LoadScan(Transform):
    """
    Read a scan or a label as :func:`monai_fss.data.check_scan` reads it.

    MONAI's ``LoadImage`` takes the qform for the sform where ``pixdim`` disagrees with it, replaces ``~`` in names, and
    goes on with another reader where one has failed: a scan could be checked at one place and segmented at another.

    Args:
        as_label: read whole numbers, as int16 or what they need; else float32.
    """

    def __init__(self, as_label: bool = False) -> None:
        self.as_label = as_label

    def __call__(self, path: str | PathLike[str], like: MetaTensor | str | PathLike[str] | None = None) -> MetaTensor:
        """
        Read one file, or a folder with one DICOM series.

        Args:
            path: see :func:`monai_fss.data.check_scan` for the formats.
            like: of a label, its image: a file, or what a loader made of it, whose meta data tell its own voxels
                whatever has been done to it. The label is then brought to the image's voxel order, as
                :func:`monai_fss.data.check_label` judges it. Default None: it stays as it is stored.

        Returns:
            (1, H, W, D), its affine in mm and RAS+. ``meta`` has ``filename_or_obj``, ``original_affine``,
            ``spatial_shape`` and ``space`` as MONAI's reader gives them.

        Raises:
            ScanError: it cannot be read, is no label, or not that of ``like``.
        """
        stored, affine = _label(Path(path), _grid(like)) if self.as_label else read_scan(Path(path))
        array = np.array(stored, dtype=_label_type(stored) if self.as_label else np.float32, order="C")
        meta = {
            "filename_or_obj": str(path),
            "original_affine": affine.copy(),
            "spatial_shape": np.asarray(array.shape),
            "original_channel_dim": float("nan"),  # MONAI's way to say that the file has none
            "space": "RAS",
        }
        return MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(affine), meta=meta)


class LoadScand(MapTransform):
    """
    Dictionary version of :class:`LoadScan`; what is no path any more stays as it is, but for a volume without a
    channel, as MONAI Deploy hands it on, which gets one.

    Labels are brought to the voxel order of ``image``, where an item has one, read or not.

    Args:
        keys: files.
        as_label: whether each of them is a label. Default: all but ``image``.
        allow_missing_keys: whether an item may be without one of ``keys``.
        own_grid: labels that need not be on the voxels of ``image``. Default: the pseudo-masks of PRNet, which are
            written on a grid of theirs.

    Example::

        LoadScand(["image", "label"])({"image": "case_01.nii.gz", "label": "case_01_seg.nii.gz"})
    """

    def __init__(
        self,
        keys: KeysCollection,
        as_label: bool | Sequence[bool] | None = None,
        allow_missing_keys: bool = False,
        own_grid: Collection[Hashable] = ("pseudo",),
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        labels = [key != "image" for key in self.keys] if as_label is None else as_label
        self.own_grid = own_grid
        self.loaders = [LoadScan(bool(flag)) for flag in ensure_tuple_rep(labels, len(self.keys))]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict:
        """Read the files."""
        result = dict(data)
        chosen = list(self.key_iterator(result, self.loaders))
        for key, load in sorted(chosen, key=lambda pair: pair[1].as_label):  # images first: labels follow them
            if isinstance(result[key], (str, PathLike)):
                follows = load.as_label and key not in self.own_grid
                result[key] = load(result[key], result.get("image") if follows else None)
            elif isinstance(result[key], MetaTensor) and result[key].ndim == 3:
                result[key] = _with_channel(result[key])
        return result


def _with_channel(volume: MetaTensor) -> MetaTensor:
    """(H, W, D) -> (1, H, W, D), float32, with the meta data that :class:`LoadScan` gives."""
    own: dict[str, Any] = {
        "original_affine": volume.affine.cpu().numpy().copy(),
        "spatial_shape": np.asarray(volume.shape),
    }
    own |= {"original_channel_dim": float("nan"), "space": "RAS"}
    return MetaTensor(volume.as_tensor().float()[None], affine=volume.affine.cpu(), meta={**volume.meta, **own})


def _label(path: Path, like: Grid | None) -> tuple[np.ndarray, np.ndarray]:
    found = Findings(path)
    volume = read_label(path, like, found)
    if found.problems or volume is None or volume.array is None or volume.affine is None:
        raise ScanError(found.problems)
    return volume.array, volume.affine


def _grid(like: MetaTensor | str | PathLike[str] | None) -> Grid | None:
    """The voxels of an image's file."""
    if like is None:
        return None
    if isinstance(like, (str, PathLike)):
        array, affine = read_scan(Path(like))
        return Grid(Path(like), affine, _three(array.shape))
    meta = getattr(like, "meta", {})
    if not {"filename_or_obj", "original_affine", "spatial_shape"} <= set(meta):
        return None
    affine = np.asarray(meta["original_affine"], dtype=np.float64)
    return Grid(Path(str(meta["filename_or_obj"])), affine, _three(meta["spatial_shape"]))


def _three(shape: Any) -> tuple[int, int, int]:
    return int(shape[0]), int(shape[1]), int(shape[2])


def _label_type(array: np.ndarray) -> np.dtype:
    """The smallest signed type, of 16 bits or more, that holds all values."""
    most = int(array.max(initial=0))
    return np.dtype(next(kind for kind in (np.int16, np.int32, np.int64) if most <= np.iinfo(kind).max))
