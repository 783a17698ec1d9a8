# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which label value is which organ, over the studies of a datastore.

A viewer numbers the segments of each study by itself: 1 may be the liver in one label and the spleen in the next.
Organs are told by their names, which the viewer sends along; a label that numbers them otherwise is read from a
renumbered copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.studies import Study, labelled
from monai_fss.data import LoadScan, ScanError, check_label, label_names, sha256_of
from monai_fss.data.files.nifti_output import save_nifti
from monai_fss.digests import file_states

__all__ = ["common_values", "declared_organs", "listed_names", "numbered_alike", "organs_of", "own_names", "values_in"]

NO_ORGANS = ("background", "foreground_scribbles", "background_scribbles")
"""Names of segments that are none."""


def declared_organs(text: str) -> dict[str, int]:
    """Organs that the server was started with: ``"liver,spleen"`` are 1 and 2, ``"liver=1,spleen=4"`` as they say.

    Raises:
        UsageError: a name is empty or there twice, or a value is no positive number or there twice.
    """
    organs: dict[str, int] = {}
    for number, word in enumerate(filter(None, (word.strip() for word in text.split(","))), 1):
        name, _, value = (part.strip() for part in word.partition("="))
        known = int(value) if value.isdecimal() else 0 if value else number
        if not name or known < 1 or name in organs or known in organs.values():
            raise UsageError(f"labels {text!r}: {word!r} is not understood. Write them as liver=1,spleen=4.")
        organs[name] = known
    return organs


def listed_names(info: Mapping[str, Any], values: Sequence[int]) -> dict[int, str]:
    """Names of a label's values by its ``label_info``.

    Args:
        info: what was sent with the label; ``label_info`` is a list of ``{"name": ..., "idx": ...}`` (``id`` with
            scribbles).
        values: that the label has. Where one of them is no ``idx``, and the list is long enough for all of them, it
            counts by its order instead: 3D Slicer writes values by the order of the segments, and an ``idx`` that
            counts those it left out too. A list that is shorter names a part of the values.
    """
    listed = [entry for entry in info.get("label_info") or () if isinstance(entry, dict) and entry.get("name")]
    by_order = {place: str(entry["name"]) for place, entry in enumerate(listed, 1)}
    numbers = [str(entry.get("idx", entry.get("id", place))) for place, entry in enumerate(listed, 1)]
    named = {int(n): str(entry["name"]) for n, entry in zip(numbers, listed, strict=True) if n.isdecimal()}
    shown = set(values)
    return named if shown <= named.keys() or not shown <= by_order.keys() else by_order


def own_names(study: Study) -> dict[int, str | None]:
    """Values of a study's label, rising, with their names; None for one that has none.

    Raises:
        ScanError: the label cannot be read.
    """
    if study.label is None:
        return {}
    values = values_in(study.label)
    names = listed_names(study.info, values) or label_names([study.label])
    return {value: names.get(value) for value in values}


def organs_of(studies: Iterable[Study], declared: Mapping[str, int] | None = None) -> dict[str, int]:
    """
    Organs of all labels, name to value.

    A name keeps the value of the first label, in the order of the studies' names, that has it, unless that is taken:
    then it gets the next free one. A value without a name is the organ of this value, or ``label_<value>``.

    Args:
        studies: of a datastore; a label that cannot be read names none.
        declared: organs that are known beforehand, before all others.
    """
    organs = dict(declared or {})
    known = [_readable_names(study) for study in labelled(studies)]
    for names in known:
        for value, name in names.items():
            if name is not None and name not in organs and name.lower() not in NO_ORGANS:
                organs[name] = value if value not in organs.values() else max(organs.values()) + 1
    for names in known:
        for value, name in names.items():
            if name is None and value not in organs.values():
                organs[f"label_{value}"] = value
    return dict(sorted(organs.items(), key=lambda item: item[1]))


def numbered_alike(study: Study, organs: Mapping[str, int], folder: Path) -> Path:
    """
    The label of a study in which each organ has its common value.

    Args:
        study: with a label.
        organs: see :func:`organs_of`.
        folder: where a renumbered copy goes, under the hash of what it is made from; used again when it is there.

    Returns:
        the label itself where it has these values already, else the copy.

    Raises:
        ScanError: the label cannot be read.
    """
    assert study.label is not None
    common = _common(study, organs)
    if all(value == new for value, new in common.items()):
        return study.label
    copy = folder / f"{sha256_of(study.label)[:20]}-{'-'.join(f'{v}.{n}' for v, n in common.items())}.nii.gz"
    if not copy.is_file():
        label = LoadScan(as_label=True)(study.label, like=study.image)
        voxels = np.asarray(label[0])
        made = np.zeros(voxels.shape, np.int32)
        for value, new in common.items():
            made[voxels == value] = new
        save_nifti(copy, made, np.asarray(label.affine), study.image)
    return copy


def common_values(study: Study, organs: Mapping[str, int]) -> list[int]:
    """The organs that a study's label shows, by their common values; none where it cannot be read."""
    try:
        return sorted(set(_common(study, organs).values()) - {0})
    except ScanError:  # said where the label is used
        return []


def values_in(label: Path) -> tuple[int, ...]:
    """Values of a label, rising, without 0. A file that has not changed is read once.

    Raises:
        ScanError: it cannot be read.
    """
    return _values(label.absolute(), file_states(label))


@lru_cache(maxsize=4096)
def _values(label: Path, state: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(check_label(label, None).counts)


def _common(study: Study, organs: Mapping[str, int]) -> dict[int, int]:
    """Value of a label to the common one; 0 for a segment that is no organ."""
    return {value: value if name is None else organs.get(name, 0) for value, name in own_names(study).items()}


def _readable_names(study: Study) -> dict[int, str | None]:
    try:
        return own_names(study)
    except ScanError:  # said where the label is used
        return {}
