# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Which labelled studies a query is segmented by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monai_fss.apps.distances import known_signature, scaled_scan
from monai_fss.apps.errors import UsageError
from monai_fss.apps.label_app.studies import FINAL, Study, labelled, named_study, same_scan

if TYPE_CHECKING:
    import torch

    from monai_fss.data import ContentCache

__all__ = ["choose_support", "most_alike"]


def choose_support(studies: Sequence[Study], query: Path, names: Sequence[str] = ()) -> list[Study]:
    """
    The studies with a final label that a query can be segmented by.

    Args:
        studies: of the datastore.
        query: the scan; a study that is this very scan is left out.
        names: of those wanted. Default: all.

    Returns:
        them, in the order of the datastore, or in the order of ``names``.

    Raises:
        UsageError: a name is not known, has no final label, or is the query; or no study is left.
    """
    problems, chosen = [], []
    for name in dict.fromkeys(names):
        try:
            study = named_study(studies, name)
        except UsageError as error:
            problems += error.problems
            continue
        if study.label is None:
            problems.append(f"support {name}: has no label with the tag {FINAL!r}. Submit one, or name another study.")
        elif same_scan(study, query):
            problems.append(f"support {name}: is the study that is to be segmented. Name another one.")
        chosen.append(study)
    if problems:
        raise UsageError(problems)
    if names:
        return chosen
    others = [study for study in labelled(studies) if not same_scan(study, query)]
    if not others:
        besides = " besides this one" if labelled(studies) else ""
        raise UsageError(
            f"no study of the datastore{besides} has a label with the tag {FINAL!r}: there is nothing to segment by. "
            "Label one study and submit its label."
        )
    return others


def most_alike(
    studies: Sequence[Study], query: Path, count: int, cache: ContentCache | None = None, modality: str = ""
) -> list[Study]:
    """
    Those of some studies that look most like a query, in the order given.

    Each is registered affinely to the query and compared with it there, see
    :mod:`monai_fss.registration.scan_distances`; one that cannot be registered is the least alike.

    Args:
        studies: to choose from.
        query: the scan.
        count: how many; 0, or as many as there are: all.
        cache: keeps what was registered. Default: nothing is kept.
        modality: "CT" clips intensities to soft tissue. Default: others.
    """
    if count < 1 or count >= len(studies):
        return list(studies)
    import numpy as np

    from monai_fss.registration.body import RegistrationError
    from monai_fss.registration.scan_distances import pairwise_distances, thumbnail

    reference = thumbnail(scaled_scan(query, modality))
    signatures: list[torch.Tensor] = [known_signature(reference, None)]
    places: list[int] = []
    for place, study in enumerate(studies):
        image = thumbnail(scaled_scan(study.image, modality))
        try:
            signatures.append(known_signature(reference, image, cache))
        except RegistrationError:
            continue
        places.append(place)
    distances = np.full(len(studies), np.inf)
    distances[places] = pairwise_distances(signatures)[0, 1:]
    nearest = np.argsort(distances, kind="stable")[:count]
    return [study for place, study in enumerate(studies) if place in nearest]
