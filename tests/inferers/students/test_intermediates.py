# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""By way of other scans: an organ that the direct registration misses by a voxel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from known_atlas import shifted_scan as scan
from monai.data import MetaTensor

from monai_fss.data import DOUBT, InputWarning, read_taught_scan, save_taught_scan
from monai_fss.engines import Teaching
from monai_fss.inferers import Atlas, Intermediates, Teacher
from monai_fss.inferers.students.intermediates import most_alike
from monai_fss.registration import DisplacementField
from monai_fss.registration.body import RegistrationError

ML = 125 * 0.125
"""Of the organ: 5 x 5 x 5 voxels of 5 mm."""


class Late(Atlas):
    """The labelled scan comes to lie a voxel too far, 15 mm instead of 10; scans of the folder as they are."""

    def field(self, fixed: MetaTensor, moving: MetaTensor, settings: Any = None) -> DisplacementField:
        """Along the first axis of the world."""
        if float(moving.max()) > 0.95:
            raise RegistrationError("nothing in common")
        matrix = np.eye(4)
        matrix[0, 3] = -15.0 if settings is None else 0.0
        return DisplacementField.from_affine(matrix, self.grid(fixed))


def atlas() -> Late:
    return Late([scan()], spacing=[5, 5, 5], sides=False, refinement=None, fusion="majority")


def organ(probabilities: np.ndarray) -> tuple[int, float]:
    """Its voxels, and the middle one's number along the first axis."""
    where = np.argwhere(probabilities[0] > 0.5)
    return len(where), float(where[:, 0].mean())


@pytest.mark.parametrize(("least_ml", "by_way"), [(ML - 1, True), (ML + 1, False)])
def test_large_organs_go_by_way_of_others_and_small_ones_do_not(least_ml: float, by_way: bool) -> None:
    known, query = atlas(), scan(2)["image"]
    placed = known.placed(query)[0]
    start = float(np.linalg.solve(known.grid(query).affine, np.array([9 * 5.0, 0, 0, 1]))[0])  # of voxel 9 of the scan
    others = [scan(2, 0.9), scan(2, 0.8), scan(2, 0.7)]
    assert organ(Intermediates(known, least_ml=least_ml)(query, placed, [])) == (125, start + 1)
    found = organ(Intermediates(known, least_ml=least_ml)(query, placed, others))
    assert found == (125, start if by_way else start + 1)


def test_one_that_cannot_be_registered_is_left_out() -> None:
    known, query = atlas(), scan(2)["image"]
    others = [scan(2, 1.25), scan(2, 0.9), scan(2, 0.8)]
    with pytest.warns(InputWarning, match="is no intermediate of it: nothing in common"):
        found = organ(Intermediates(known, least_ml=0)(query, known.placed(query)[0], others))
    assert found[0] == 125, "two of three"
    with pytest.raises(ValueError, match="count=0"):
        Intermediates(known, count=0)


def test_the_most_alike_come_first() -> None:
    shown = {name: torch.full((2, 2, 2), level) for name, level in {"a": 0.0, "b": 0.5, "c": 0.2, "d": 0.9}.items()}
    assert most_alike(shown, 2) == {"a": ["c", "b"], "b": ["c", "d"], "c": ["a", "b"], "d": ["b", "c"]}
    assert most_alike({"a": shown["a"]}, 2) == {"a": []}


def test_a_folder_is_taught_again(tmp_path: Any) -> None:
    """Each of four scans by the three others, whose own masks are all a voxel off: so it stays, and doubt goes."""

    class Unsure(Late):
        """A second registration of the labelled scan is a voxel shorter."""

        def field(self, fixed: MetaTensor, moving: MetaTensor, settings: Any = None) -> DisplacementField:
            """Along the first axis of the world."""
            if settings == {"preset": "second"}:
                matrix = np.eye(4)
                matrix[0, 3] = -10.0
                return DisplacementField.from_affine(matrix, self.grid(fixed))
            return super().field(fixed, moving, settings)

    known = Unsure([scan()], spacing=[5, 5, 5], sides=False, refinement=None, fusion="majority")
    shown = {f"case_{number}": scan(2, 1 - number / 20)["image"] for number in range(2, 6)}
    items = [{"case": case, "image": image} for case, image in shown.items()]
    teacher = Teacher(known, {"preset": "second"})

    def teach(least_ml: float, folder: str) -> MetaTensor:
        way = Intermediates(known, least_ml=least_ml)
        Teaching(teacher, items, "case_1", lambda item: item, tmp_path / folder, intermediates=way).run()
        assert {file.stem for file in (tmp_path / folder).glob("*.pt")} == {"case_1", *shown}
        return read_taught_scan(tmp_path / folder / "case_3.pt")["label"]

    large, small = teach(0, "large"), teach(ML + 1, "small")
    assert (large == 4).sum() == 125 and not (large == DOUBT).any()
    assert (small == 4).sum() == 100 and (small == DOUBT).sum() == 50
    assert not (tmp_path / "small" / "direct").exists(), "no organ is large: once is enough"
    # What is there is not done again; masks of the first time are taken.
    moved = read_taught_scan(tmp_path / "large" / "direct" / "case_3.pt")
    for case in ("case_2", "case_4", "case_5"):
        shifted = {**moved, "mask": moved["mask"].roll(-1, 1)}
        save_taught_scan(tmp_path / "large" / "direct" / f"{case}.pt", shifted)
    assert torch.equal(teach(0, "large"), large)
    (tmp_path / "large" / "case_3.pt").unlink()
    assert torch.equal(teach(0, "large") == 4, (large == 4).roll(-1, 1))
