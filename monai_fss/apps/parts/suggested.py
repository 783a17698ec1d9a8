# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The distances of `monai-fss suggest` in parts: what a scan looks like is kept in a folder that all parts share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from monai_fss.apps.parts.part import Part
from monai_fss.data import Case, write_text_atomic
from monai_fss.digests import file_states

if TYPE_CHECKING:
    import torch
    from monai.data import MetaTensor

    from monai_fss.data import ContentCache

__all__ = ["shared_signatures"]

DONE = "done.txt"


def shared_signatures(
    cases: Sequence[Case],
    part: Part,
    cache: ContentCache,
    small: Callable[[Path], MetaTensor],
    signature: Callable[[MetaTensor, MetaTensor | None, Case, Case], torch.Tensor],
    kind: str,
) -> list[torch.Tensor] | None:
    """
    Signatures of scans in the frame of the one of median size, by several processes.

    Which is that one is known when all scans have been read: a part reads its own ones first, and then those that no
    other part has read yet. So parts that run at the same time share the work, and one after another does it too.

    Args:
        cases: all scans, in order.
        part: which of them are registered.
        cache: of all parts; the small copies of scans are kept in it by the size and times of their files.
        small: from a file to its copy of some mm.
        signature: of the reference, a copy (None: the reference itself), its case and the reference's; it keeps what
            it finds.
        kind: how scans are treated, for the names of copies.

    Returns:
        the signatures of all; None where other parts have not done theirs.
    """
    import torch
    from monai.data import MetaTensor

    from monai_fss.registration.scan_distances import body_volume, middle_of

    def copy(index: int) -> dict[str, torch.Tensor]:
        file = cases[index].image

        def made() -> dict[str, torch.Tensor]:
            image = small(file)
            volume = torch.tensor(body_volume(image), dtype=torch.float64)
            return {"image": image.as_tensor(), "affine": torch.as_tensor(image.affine), "volume": volume}

        return cache("copy", made, [], {"file": str(file.resolve()), "state": _state(file), "kind": kind})

    own = part.of(range(len(cases)))
    volumes = [0.0] * len(cases)
    for index in tqdm(
        [*own, *(n for n in range(len(cases)) if n not in set(own))], "reading", unit="scan", disable=None
    ):
        volumes[index] = float(copy(index)["volume"])
    centre = middle_of(volumes)

    def image(index: int) -> MetaTensor:
        known = copy(index)
        return MetaTensor(known["image"], affine=known["affine"])

    def found(index: int) -> torch.Tensor:
        return signature(image(centre), None if index == centre else image(index), cases[index], cases[centre])

    for index in tqdm(own, "registering", unit="scan", disable=None):
        found(index)
    names = "\n".join(f"{case.name} {_state(case.image)}" for case in cases)
    told = hashlib.sha256(f"{kind}\n{names}".encode()).hexdigest()
    write_text_atomic(cache.folder / part.file(DONE), told)
    notes = [cache.folder / other.file(DONE) for other in part.all()]
    if not all(note.exists() and note.read_text(encoding="utf-8") == told for note in notes):
        return None
    return [found(index) for index in range(len(cases))]


def _state(file: Path) -> str:
    return hashlib.sha256(repr(file_states(file)).encode()).hexdigest()
