# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a student learns from, a file for each scan: a pseudo-label, and the labelled scan dressed as it."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from monai_fss.data.files.atomic import atomic_path
from monai_fss.data.problems import ScanError

__all__ = [
    "DOUBT",
    "ReadFramed",
    "ReadTaughtScan",
    "fingerprint",
    "fingerprints",
    "read_taught_scan",
    "save_taught_scan",
    "taught_items",
    "with_taught",
]

DOUBT = -1
"""Label value of voxels of which nothing is taught, that of :class:`monai_fss.losses.KnownVoxelsLoss`."""
OWN, SYNTHESISED = "image", "synthesised_image"
OPINIONS = ("mask", "second")
FRAME = "to_labelled"
_LABEL = {OWN: "label", SYNTHESISED: "synthesised_label"}


def save_taught_scan(path: str | Path, scan: Mapping[str, Any]) -> None:
    """Write a file, whole or not at all.

    Args:
        path: the file.
        scan: ``image`` and ``label``, and where there are, ``synthesised_image`` and ``synthesised_label``; each
            (1, h, w, d) on one grid, images 0..1, labels with :data:`DOUBT`; ``mask`` and
            ``second``, the label by each of two registrations; ``to_labelled``, (4, 4), see
            :func:`monai_fss.transforms.labelled_position`.
    """
    content: dict[str, Any] = {"affine": torch.as_tensor(scan[OWN].affine).double()}
    for image, label in _LABEL.items():
        if image in scan:
            content[image] = scan[image].as_tensor().cpu().half()
            content[label] = scan[label].as_tensor().cpu().to(torch.int32)
    for key in OPINIONS:
        if key in scan:
            content[key] = scan[key].as_tensor().cpu().to(torch.int32)
    if FRAME in scan:
        content[FRAME] = torch.as_tensor(scan[FRAME]).cpu().double()
    with atomic_path(path) as unfinished:
        torch.save(content, unfinished)


def taught_items(
    folder: str | Path, cases: Sequence[str], support: str, pseudo: bool = True, synthesised: bool = True
) -> list[dict[str, str]]:
    """Data list of a training: scans with pseudo-labels, the labelled scan dressed as each of them, and itself.

    Args:
        folder: of ``<case>.pt``; a scan that has none could not be registered, and is not learnt from.
        cases: names of the unlabelled scans.
        support: name of the labelled scan.
        pseudo, synthesised: which of both kinds are learnt from. Default: both. The labelled scan always is.

    Returns:
        ``taught`` (file) and ``image`` (which of the images in it), see :class:`ReadTaughtScan`.

    Raises:
        ScanError: the labelled scan's file is missing.
    """
    files = {name: Path(folder) / f"{name}.pt" for name in [support, *cases]}
    if not files[support].is_file():
        raise ScanError(f"{folder}: has no {support}.pt, the labelled scan. Remove the folder, and train again.")
    kinds = [kind for kind, wanted in ((OWN, pseudo), (SYNTHESISED, synthesised)) if wanted]
    there = [name for name in cases if name != support and files[name].is_file()]
    return [
        {"taught": str(files[support]), "image": OWN},
        *({"taught": str(files[name]), "image": kind} for name in there for kind in kinds),
    ]


def with_taught(items: Sequence[Mapping[str, Any]], folder: str | Path) -> list[dict[str, Any]]:
    """Items with ``taught``, the file of each; scans that could not be registered, and have none, are left out.

    Args:
        items: with ``case``.
        folder: of ``<case>.pt``.
    """
    files = [Path(folder) / f"{item['case']}.pt" for item in items]
    return [{**item, "taught": str(file)} for item, file in zip(items, files, strict=True) if file.is_file()]


def fingerprint(image: torch.Tensor) -> torch.Tensor:
    """SHA-256 of a scan as a student is taught by it, uint8 (32,); nothing else of the scan can be told from it.

    Args:
        image: (1, h, w, d) on the grid of the taught file, of which half precision counts, as it is kept there.
    """
    plain = (image.as_tensor() if isinstance(image, MetaTensor) else image).cpu().half().contiguous().numpy()
    return torch.tensor(list(hashlib.sha256(repr(plain.shape).encode() + plain.tobytes()).digest()), dtype=torch.uint8)


def fingerprints(folder: str | Path, cases: Sequence[str]) -> torch.Tensor:
    """:func:`fingerprint` of each scan that has a file, uint8 (N, 32).

    Args:
        folder: of ``<case>.pt``.
        cases: names of the scans.

    Raises:
        ScanError: a file is damaged.
    """
    files = [Path(folder) / f"{case}.pt" for case in cases]
    found = [fingerprint(read_taught_scan(file, [OWN])[OWN]) for file in files if file.is_file()]
    return torch.stack(found) if found else torch.zeros(0, 32, dtype=torch.uint8)


class ReadTaughtScan(Transform):
    """``taught`` and ``image`` of an item of :func:`taught_items` -> ``image`` (1, h, w, d), 0..1, ``label``, and
    ``to_labelled``, (4, 4)."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read.

        Raises:
            ScanError: the file is missing or damaged.
        """
        kind = data["image"]
        content = read_taught_scan(data["taught"], [kind, _LABEL[kind], FRAME])
        return {"image": content[kind], "label": content[_LABEL[kind]], FRAME: content[FRAME]}


class ReadFramed(Transform):
    """``taught`` of an item -> ``to_labelled``, (4, 4), beside all that the item has."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read.

        Raises:
            ScanError: the file is missing or damaged.
        """
        return {**data, FRAME: read_taught_scan(data["taught"], [FRAME])[FRAME]}


def read_taught_scan(path: str | Path, keys: Sequence[str] | None = None) -> dict[str, Any]:
    """What :func:`save_taught_scan` has written, images as float32; ``to_labelled`` as a plain tensor.

    Args:
        path: the file.
        keys: what is wanted of it. Default: all.

    Raises:
        ScanError: the file is missing or damaged.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        affine = content.pop("affine")
        wanted = {key: content[key] for key in (content if keys is None else keys)}
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ScanError(
            f"{path}: is missing or damaged ({error}). Remove it, and train again: it is made anew."
        ) from error
    return {
        key: value if key == FRAME else MetaTensor(value.float() if value.is_floating_point() else value, affine=affine)
        for key, value in wanted.items()
    }
