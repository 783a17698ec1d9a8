# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What fine stages learn from, a file for each scan: image, label, and of the small organs maps, priors, regions."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor

from monai_fss.data.files.atomic import atomic_path
from monai_fss.data.problems import ScanError

__all__ = ["organ_items", "read_organ_maps", "save_organ_maps"]

PARTS = {"image": torch.float16, "label": torch.int32, "maps": torch.float16, "priors": torch.float16}


def save_organ_maps(
    path: str | Path, scan: Mapping[str, MetaTensor], boxes: torch.Tensor, organs: Sequence[int], notes: Sequence[str]
) -> None:
    """Write a file, whole or not at all.

    Args:
        path: the file.
        scan: ``image`` and ``label`` (1, H, W, D), and on one grid ``maps`` and ``priors`` (S, h, w, d): of S organs
            coarse probabilities, and those by registered scans, 0 where there are none.
        boxes: whole numbers (S, 2, 3), lower and upper corner of each organ's region in voxels of ``maps``.
        organs: label value of each.
        notes: by what each region was found.
    """
    content: dict[str, Any] = {"boxes": boxes.int(), "organs": list(organs), "notes": list(notes)}
    for key, kind in PARTS.items():
        content[key] = scan[key].as_tensor().cpu().to(kind)
        content[f"{key}_affine"] = torch.as_tensor(scan[key].affine).double()
    with atomic_path(path) as unfinished:
        torch.save(content, unfinished)


def read_organ_maps(path: str | Path) -> dict[str, Any]:
    """Read what :func:`save_organ_maps` wrote: the same keys and ``boxes``, ``organs``, ``notes``.

    Raises:
        ScanError: the file is missing or damaged.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        for key in PARTS:
            values = content[key].float() if content[key].is_floating_point() else content[key]
            content[key] = MetaTensor(values, affine=content.pop(f"{key}_affine"))
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise ScanError(
            f"{path}: is missing or damaged ({error}). Remove it, and train again: it is made anew."
        ) from error
    return dict(content)


def organ_items(folder: str | Path, cases: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Data list of the files of a folder.

    Args:
        folder: of ``<case>.pt``.
        cases: names. Default: all.

    Raises:
        ScanError: there is none, or not the one of a case.
    """
    names = sorted(file.stem for file in Path(folder).glob("*.pt")) if cases is None else list(cases)
    missing = [name for name in names if not (Path(folder) / f"{name}.pt").is_file()]
    if missing or not names:
        raise ScanError(f"{folder}: has no {', '.join(missing) or 'file'}. Train the stages before (train.yaml).")
    return [{"maps": str(Path(folder) / f"{name}.pt"), "case": name} for name in names]
