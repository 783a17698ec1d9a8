# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""One study, segmented: the code of `monai-fss segment`, and what a client is told of the result.

Labels are read anew for each request, so that none is out of date; what takes long, the registrations, is kept under
the hash of the scans (:class:`monai_fss.data.ContentCache`) and does not depend on labels.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.mask_file import write_mask
from monai_fss.apps.label_app.organs import common_values, numbered_alike, organs_of
from monai_fss.apps.label_app.studies import Study
from monai_fss.apps.label_app.support import choose_support, most_alike
from monai_fss.apps.label_app.wanted import Wanted, organ_values
from monai_fss.apps.messages import quiet
from monai_fss.apps.methods.ct_window import ct_window
from monai_fss.apps.segment.pipeline import segment
from monai_fss.data import ContentCache, InputWarning, ScanError
from monai_fss.data.files.cache import make_room
from monai_fss.data.reading.volume import read_scan
from monai_fss.handlers.segment_report import read_quality

__all__ = ["Answer", "Workplace", "answer", "drop_labels", "keep_room"]

_ONE_AT_A_TIME = Lock()
"""What is read and counted in a run is the process's own: requests wait for one another."""


@dataclass(frozen=True)
class Workplace:
    """
    Where an app keeps what it computes, and what it knows beforehand.

    Args:
        folder: for registrations and renumbered labels.
        declared: organs that the server was started with, name to value.
        modality: "CT" or another; empty: each scan is looked at.
        room: bytes that kept registrations may take; the oldest go first. Default 2 GB, some hundred pairs of scans.
    """

    folder: Path
    declared: Mapping[str, int] = field(default_factory=dict)
    modality: str = ""
    room: float = 2e9

    @property
    def registrations(self) -> Path:
        """Folder of the registrations."""
        return self.folder / "registrations"

    @property
    def labels(self) -> Path:
        """Folder of the renumbered labels."""
        return self.folder / "labels"


@dataclass(frozen=True)
class Answer:
    """
    A segmented study.

    Args:
        mask: file in the system's folder for temporary files; whoever asked removes it.
        params: what is told beside it, as JSON values.
    """

    mask: Path
    params: dict[str, Any]


def answer(wish: Wanted, studies: Sequence[Study], query: Path, place: Workplace) -> Answer:
    """
    Segment a scan.

    Args:
        wish: what is asked for.
        studies: of the datastore.
        query: the scan: a study's image, or a file that was sent along.
        place: where things are kept.

    Returns:
        the mask on the scan's own grid, with the labels' common values (see :func:`.organs.organs_of`) or those that
        ``wish`` asks for; and ``label_names`` (name to value), ``organs`` (a list of name, label, volume_ml, quality,
        note), ``left_out`` (name to the reason), ``quality`` (mean) and ``worst_quality`` (None where it was not asked
        for), ``support`` (names of studies), ``method``, ``warnings``, ``seconds``.

    Raises:
        ScanError, UsageError: the request is refused.
    """
    start = time.time()
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught, quiet(keep_output=True):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", InputWarning)
        support, organs, values = _chosen(wish, studies, query, place)
        with tempfile.TemporaryDirectory(prefix="monai_fss_") as folder:
            _segment(wish, support, organs, values, query, place, Path(folder))
            rows = read_quality(Path(folder) / "quality.csv")
            mask, names = _mask(wish, rows, query, next(Path(folder).glob("*.nii.gz")))
        keep_room(place.registrations, place.room)
    doubts = [str(one.message) for one in caught if issubclass(one.category, InputWarning)]
    params = _told(wish, support, rows, names)
    return Answer(mask, params | {"warnings": list(dict.fromkeys(doubts)), "seconds": round(time.time() - start, 2)})


def keep_room(folder: Path, room: float) -> list[Path]:
    """Remove the files of a folder that were used longest ago until the others take no more than ``room`` bytes;
    returns those removed."""
    return make_room(folder, room, in_use=0)


def drop_labels(place: Workplace) -> None:
    """Forget renumbered labels: a label has changed. Those that are still needed are made again."""
    with _ONE_AT_A_TIME:
        for file in place.labels.glob("*.nii.gz"):
            file.unlink(missing_ok=True)


def _chosen(
    wish: Wanted, studies: Sequence[Study], query: Path, place: Workplace
) -> tuple[list[Study], dict[str, int], list[int] | None]:
    """The labelled studies, the organs that are known, and the label values that are asked for."""
    if not wish.segmenter.method.needs_support:
        organs = wish.segmenter.learnt
        return [], organs, organ_values(wish.organs, organs)
    support = choose_support(studies, query, wish.support)
    organs = organs_of(studies, place.declared)
    values = organ_values(wish.organs, organs)
    if values is not None and not wish.support:
        support = _showing(support, organs, values)
    cache = ContentCache(place.registrations)
    return most_alike(support, query, wish.most_alike, cache, place.modality), organs, values


def _showing(support: Sequence[Study], organs: Mapping[str, int], values: Sequence[int]) -> list[Study]:
    """Those that show every organ that is wanted; `monai-fss segment` refuses others."""
    names = [name for name, value in organs.items() if value in values]
    shown = [study for study in support if set(values) <= set(common_values(study, organs))]
    if not shown:
        raise UsageError(
            f"organs {', '.join(names)}: no labelled study besides the one to segment shows "
            f"{'all of them' if len(names) > 1 else 'it'}. Label one that does, or leave the parameter organs out."
        )
    return shown


def _segment(
    wish: Wanted,
    support: Sequence[Study],
    organs: Mapping[str, int],
    values: list[int] | None,
    query: Path,
    place: Workplace,
    output: Path,
) -> None:
    """As `monai-fss segment` does it; what refuses the only scan is raised."""
    method = wish.segmenter.method
    settings = {**wish.settings, "overlays": False}
    if method.needs_support:
        settings |= {"cache_dir": str(place.registrations), "names": {value: name for name, value in organs.items()}}
    if place.modality and not method.is_trained:
        settings = ct_window(place.modality) | settings
    labels = [numbered_alike(study, organs, place.labels) for study in support]
    done = segment(
        method,
        wish.segmenter.model,
        [study.image for study in support],
        labels,
        query,
        output,
        labels=values,
        settings=settings,
    )
    if done.errors:
        raise next(iter(done.errors.values()))
    if done.failed:
        raise ScanError(list(done.failed.values()))


def _mask(wish: Wanted, rows: Sequence[Mapping[str, str]], query: Path, made: Path) -> tuple[Path, dict[str, int]]:
    """The mask as it was asked for, and which value is which organ in it."""
    names = {row["name"]: int(row["label"]) for row in rows}
    handle, name = tempfile.mkstemp(suffix=wish.extension)
    os.close(handle)
    if wish.extension == ".nii.gz" and not wish.in_order and not wish.dtype:
        shutil.copyfile(made, name)
        return Path(name), names
    voxels, affine = read_scan(made)
    if wish.in_order:
        order = {name: place for place, name in enumerate(sorted(names, key=lambda one: names[one]), 1)}
        counted = np.zeros(voxels.shape, np.uint8 if len(order) < 256 else np.uint16)
        for organ, value in names.items():
            counted[voxels == value] = order[organ]
        voxels, names = counted, order
    if wish.dtype:
        voxels = _as_type(voxels, wish.dtype, names)
    write_mask(Path(name), voxels, affine, query)
    return Path(name), names


def _as_type(voxels: np.ndarray, dtype: str, names: Mapping[str, int]) -> np.ndarray:
    """OHIF takes what comes for bytes, whatever the file's header says."""
    most = int(np.iinfo(dtype).max)
    beyond = [f"{name} ({value})" for name, value in names.items() if value > most]
    if beyond:
        raise UsageError(
            f"result_dtype {dtype}: holds values up to {most}, and {', '.join(beyond)} has a higher one. Number it "
            "anew, or ask for other organs."
        )
    return voxels.astype(dtype)


def _told(
    wish: Wanted, support: Sequence[Study], rows: Sequence[Mapping[str, str]], names: Mapping[str, int]
) -> dict[str, Any]:
    organs: list[dict[str, Any]] = [
        {
            "name": row["name"],
            "label": names[row["name"]],
            "volume_ml": float(row["volume_ml"]),
            "quality": float(row["quality"]) if row["quality"] else None,
            "note": row["note"],
        }
        for row in rows
    ]
    qualities = [organ["quality"] for organ in organs if organ["quality"] is not None]
    return {
        "label_names": dict(names),
        "organs": organs,
        "left_out": {organ["name"]: organ["note"] for organ in organs if organ["volume_ml"] == 0},
        "quality": round(float(np.mean(qualities)), 4) if qualities else None,
        "worst_quality": min(qualities, default=None),
        "support": [study.name for study in support],
        "method": wish.segmenter.method.bundle,
    }
