# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""What a student of the round before says to the atlas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from known_atlas import SHAPE, Known
from known_atlas import shifted_scan as scan
from monai.data import MetaTensor

from monai_fss.data import InputWarning
from monai_fss.engines import StudentOdds
from monai_fss.inferers import WindowInferer
from monai_fss.registration import DisplacementField
from monai_fss.registration.body import RegistrationError


class Places(torch.nn.Module):
    """Sees the organ within 12.5 mm of its middle in the labelled scan."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Of an image and three coordinates."""
        organ = 100 * (0.127 - image[:, 1:].abs().amax(1, keepdim=True))
        return torch.cat([torch.zeros_like(organ), organ], 1)


def odds(atlas: Known) -> StudentOdds:
    return StudentOdds(
        Places(), WindowInferer(SHAPE, [4]), lambda item: dict(item), scan(), atlas, "cpu", position=True
    )


def known(kind: type[Known] = Known) -> Known:
    return kind([scan()], spacing=[5, 5, 5], sides=False)


def test_it_sees_where_in_the_labelled_scan_a_voxel_lies() -> None:
    query = scan(2)
    found = odds(known())(query, query["image"])
    assert found is not None
    assert torch.equal(found.as_tensor() > 0, query["label"].as_tensor() == 4)


def test_of_a_scan_that_cannot_be_registered_it_says_nothing() -> None:
    class Failing(Known):
        """Registers nothing."""

        def field(self, fixed: MetaTensor, moving: MetaTensor, settings: Any = None) -> DisplacementField:
            """Fails."""
            raise RegistrationError("nothing in common")

    with pytest.warns(InputWarning, match="nothing in common"):
        assert odds(known(Failing))(scan(2), scan(2)["image"]) is None
