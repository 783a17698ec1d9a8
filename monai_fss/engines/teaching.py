# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""The stage of self-training in which an atlas teaches by each scan of a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from tqdm.auto import tqdm

from monai_fss.data import ScanError, read_taught_scan, save_taught_scan
from monai_fss.inferers.atlas import Atlas
from monai_fss.inferers.labelled import seen
from monai_fss.inferers.prior import log_odds
from monai_fss.inferers.students.intermediates import Intermediates, most_alike
from monai_fss.inferers.students.student import student_sees, trusted
from monai_fss.inferers.students.teacher import Teacher, own_frame
from monai_fss.inferers.windows import WindowInferer

__all__ = ["StudentOdds", "Teaching"]


class Teaching:
    """Write what a student is to learn of each scan; those that are written are not done again.

    Args:
        teacher: of the labelled scan.
        items: of the unlabelled scans: ``image``, ``case``.
        support: name of the labelled scan, which is written with its exact label.
        prepare: from an item to ``image`` (1, H, W, D), 0..1, on the scan's own grid.
        output_dir: of ``<case>.pt``, see :func:`monai_fss.data.save_taught_scan`.
        student: gives log-odds of an item and its image for the atlas's refinement, see :class:`StudentOdds`. Default:
            there is none.
        intermediates: by which large organs are taught, once all scans have a mask, see
            :class:`monai_fss.inferers.Intermediates`. Default: there are none.
    """

    def __init__(
        self,
        teacher: Teacher,
        items: Sequence[Mapping[str, Any]],
        support: str,
        prepare: Callable,
        output_dir: str | Path,
        student: Callable[[Mapping[str, Any], MetaTensor], MetaTensor | None] | None = None,
        intermediates: Intermediates | None = None,
    ) -> None:
        self.teacher, self.items, self.support, self.prepare = teacher, list(items), support, prepare
        self.folder, self.student = Path(output_dir), student
        self.intermediates = intermediates if intermediates and any(intermediates.large) else None

    def run(self) -> None:
        """Teach by all scans.

        Raises:
            ScanError: the labelled scan could be registered to none of them.

        Warns:
            InputWarning: it cannot be registered to one, which is left out.
        """
        first = self.folder if self.intermediates is None else self.folder / "direct"
        for item in self._shown("teaching"):
            path = _file(first, item)
            if path.is_file():
                continue
            image = self._image(item)
            evidence = None if self.student is None else self.student(item, image)
            taught = self.teacher(image, evidence)
            if taught is not None:
                save_taught_scan(path, taught)
        found = [item for item in self.items if _file(first, item).is_file()]
        if not found:
            raise ScanError(
                f"{self.support}: could be registered to none of the {len(self.items)} scans, so there is nothing to "
                "learn. Give scans of the same body region."
            )
        if self.intermediates is not None:
            self._again(found, first, self.intermediates)
        save_taught_scan(_file(self.folder, {"case": self.support}), self.teacher.own())

    def _again(self, items: Sequence[Mapping[str, Any]], first: Path, intermediates: Intermediates) -> None:
        """Teach by way of the folder's other scans."""
        if all(_file(self.folder, item).is_file() for item in items):
            return
        named = {str(item["case"]): item for item in items}
        alike = most_alike(
            {case: intermediates.thumbnail(self._image(item)) for case, item in named.items()}, intermediates.count
        )
        for item in self._shown("teaching again", items):
            path, case = _file(self.folder, item), str(item["case"])
            if path.is_file():
                continue
            others = [
                {
                    "image": self._image(named[one]),
                    "label": read_taught_scan(_file(first, named[one]), ["mask"])["mask"],
                }
                for one in alike[case]
            ]
            taught = read_taught_scan(_file(first, item))
            save_taught_scan(path, self.teacher.again(self._image(item), taught, intermediates, others))

    def _image(self, item: Mapping[str, Any]) -> MetaTensor:
        return seen(self.prepare(dict(item))["image"])

    def _shown(self, what: str, items: Sequence[Mapping[str, Any]] | None = None) -> Iterable[Mapping[str, Any]]:
        shown: Iterable[Mapping[str, Any]] = tqdm(
            self.items if items is None else items, desc=what, unit="scan", disable=None
        )
        return shown


def _file(folder: Path, item: Mapping[str, Any]) -> Path:
    return folder / f"{item['case']}.pt"


class StudentOdds:
    """Log-odds of a student for the refinement of the atlas that has taught it, as far as it is believed
    (:func:`monai_fss.inferers.students.student.trusted`).

    Args:
        network: of the student, in use.
        inferer: a :class:`monai_fss.inferers.WindowInferer`.
        prepare: from an item to ``image`` (1, H, W, D) on the student's grid.
        labelled: item of the labelled scan.
        atlas: of that scan.
        device: of the network.
        position, small_ml: see :class:`monai_fss.inferers.StudentInferer`.
    """

    def __init__(
        self,
        network: Any,
        inferer: WindowInferer,
        prepare: Callable,
        labelled: Mapping[str, Any],
        atlas: Atlas,
        device: Any = "cpu",
        position: bool = False,
        small_ml: float = 0.0,
    ) -> None:
        self.network, self.inferer, self.prepare, self.device = network.eval(), inferer, prepare, device
        self.labelled, self.atlas, self.position, self.small_ml = labelled, atlas, position, small_ml

    def __call__(self, item: Mapping[str, Any], image: MetaTensor) -> MetaTensor | None:
        """(W, H, W, D) on the student's grid; None where it would see the position, and none is found.

        Args:
            item: of the scan.
            image: (1, H, W, D), as the atlas registers it.
        """
        frame = None
        if self.position:
            placed, _ = self.atlas.placed(image)
            if not placed:
                return None
            frame = own_frame(placed[0])
        odds = self._odds(item, frame)
        return MetaTensor(odds.as_tensor() * self.trust, affine=odds.affine)

    @cached_property
    def trust(self) -> torch.Tensor:
        """(W, 1, 1, 1), 0 to 1."""
        scan = self.atlas.scans[0]
        return trusted(self._odds(self.labelled, scan.frame()), scan, self.inferer.values, self.small_ml)

    def _odds(self, item: Mapping[str, Any], frame: np.ndarray | None) -> MetaTensor:
        image = self.prepare(dict(item))["image"]
        if self.position:
            image = student_sees(image, frame)
        shown = MetaTensor(image.as_tensor()[None].to(self.device), affine=image.affine)
        logits = torch.as_tensor(self.inferer(shown, self.network))[0]
        return MetaTensor(log_odds(logits[1:] - logits[:1]), affine=image.affine)
