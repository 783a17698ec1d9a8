# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The studies of a MONAI Label datastore, as the package sees them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from monai_fss.apps.errors import UsageError
from monai_fss.data import ScanError, check_support, natural_key, sha256_of

__all__ = [
    "FINAL",
    "Store",
    "Study",
    "asked_study",
    "label_problems",
    "labelled",
    "named_study",
    "same_scan",
    "studies_of",
]

FINAL = "final"
"""MONAI Label's tag of a label that a person has submitted."""


class Store(Protocol):
    """What is asked of a datastore of MONAI Label."""

    def list_images(self) -> list[str]:
        """Names of all studies."""
        ...

    def get_image_uri(self, image_id: str) -> str:
        """Path of a study's image."""
        ...

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Path of a study's label with this tag, empty where there is none."""
        ...

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What was sent with it."""
        ...

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is known of the study."""
        ...


@dataclass(frozen=True)
class Study:
    """
    One study.

    Args:
        name: its id in the datastore.
        place: the scan: a file, or the folder of a DICOM series; or what fetches it from a server of DICOM.
        label: its label with the tag ``final``; None where it has none.
        info: what the viewer sent with that label (``label_info``: a list of ``name`` and ``idx``).
        known: what the datastore knows of the study.
    """

    name: str
    place: Path | Callable[[], Path]
    label: Path | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def image(self) -> Path:
        """The scan; it is fetched when it is first asked for."""
        return self.place if isinstance(self.place, Path) else self.place()


def studies_of(store: Store, tag: str = FINAL, local: type[Store] | None = None) -> list[Study]:
    """
    The studies of a datastore in natural order of their names, with their labels of one tag; no file is read.

    Args:
        store: the datastore.
        tag: of the labels.
        local: class of a store of files that ``store`` derives from, as MONAI Label's store of a DICOM server does,
            which keeps here what was submitted here. Labels and what is known of studies are asked of it, so that a
            server is asked for the list of studies alone. Default: the store's own class.
    """
    kind: Any = local if local is not None and isinstance(store, local) else type(store)
    found = []
    for name in sorted(store.list_images(), key=natural_key):
        label = kind.get_label_uri(store, name, tag)
        there = bool(label) and Path(label).is_file()
        info = dict(kind.get_label_info(store, name, tag)) if there else {}
        known = dict(kind.get_image_info(store, name))
        found.append(Study(name, _fetch(store, name), Path(label) if there else None, info, known))
    return found


def labelled(studies: Iterable[Study]) -> list[Study]:
    """Those with a label."""
    return [study for study in studies if study.label is not None]


def named_study(studies: Iterable[Study], name: str) -> Study:
    """The study of a name.

    Raises:
        UsageError: there is none.
    """
    known = {study.name: study for study in studies}
    if name not in known:
        raise UsageError(
            f"study {name!r}: is not in the datastore, which holds {_some(list(known))}. Name one of them."
        )
    return known[name]


def asked_study(studies: Sequence[Study], image: str) -> Study | None:
    """
    The study that a request is about.

    Args:
        studies: of the datastore.
        image: name of one of them, whatever else is called like it where the server was started; or a file or folder.

    Returns:
        the study; None where the image is a file or folder that is no study.

    Raises:
        UsageError: there is neither.
    """
    if os.path.exists(image) and image not in {study.name for study in studies}:
        return None
    return named_study(studies, image)


def same_scan(study: Study, image: Path) -> bool:
    """Whether a file is a study's scan, under its own or another name."""
    if study.image.resolve() == image.resolve():
        return True
    both = (study.image, image)
    if not all(path.is_file() for path in both) or study.image.stat().st_size != image.stat().st_size:
        return False
    return sha256_of(study.image) == sha256_of(image)


def label_problems(study: Study) -> list[str]:
    """Why a study's label cannot serve as an example, if so."""
    if study.label is None:
        return []
    try:
        check_support(study.image, study.label)
    except ScanError as error:
        return error.problems
    return []


def _fetch(store: Store, name: str) -> Callable[[], Path]:
    return lambda: Path(store.get_image_uri(name))


def _some(names: list[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "no study") + more
