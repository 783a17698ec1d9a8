# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Network and atlas together, with a registration and a network whose answers are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor, list_data_collate

from monai_fss.inferers import Atlas, PriorInferer, with_weight
from monai_fss.inferers.prior import LARGEST
from monai_fss.registration import AppearanceRefinement

SHAPE, SPACING = (32, 32, 10), (4.0, 4.0, 8.0)
AFFINE = torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64))
BOX = (slice(10, 20), slice(10, 20), slice(2, 8))
pytestmark = pytest.mark.usefixtures("unregistered")


def scan() -> dict[str, Any]:
    """A body of one brightness, of which a box is labelled: only labels and network say anything."""
    image = torch.zeros(1, *SHAPE)
    image[:, 1:31, 1:31] = 0.5
    label = torch.zeros(1, *SHAPE)
    label[(0, *BOX)] = 1
    return {"image": MetaTensor(image, affine=AFFINE), "label": MetaTensor(label, affine=AFFINE)}


def as_evidence(image: MetaTensor, probabilities: torch.Tensor) -> MetaTensor:
    """What the inferer makes of a network's answer."""
    return MetaTensor(torch.logit(probabilities, eps=1e-6).clamp(-LARGEST, LARGEST), affine=image.affine)


def says(*columns: int) -> torch.Tensor:
    """A network that is sure of the box and of further columns of voxels beside it."""
    answer = torch.full((1, *SHAPE), 1e-4)
    answer[(0, *BOX)] = 1 - 1e-4
    for x in columns:
        answer[0, x, BOX[1], BOX[2]] = 1 - 1e-4
    return answer


def atlas(weight: float) -> Atlas:
    return Atlas([scan()], **with_weight({"spacing": SPACING}, weight))


def test_the_network_moves_the_boundary_as_far_as_its_weight_allows() -> None:
    query = scan()["image"]
    # Column 20 lies 4 mm outside the propagated box, 0.8 units of log-odds; the network says up to 4 times its weight.
    found = {w: atlas(w)(query, as_evidence(query, says(20)))[0, 20, 15, 5] > 0.5 for w in (0.0, 0.1, 1.0)}
    assert found == {0.0: False, 0.1: False, 1.0: True}
    inside = atlas(1.0)(query, as_evidence(query, says(20)))[0][BOX]
    assert bool((inside > 0.5).all())


def test_what_the_network_sees_far_away_is_not_the_organ() -> None:
    query = scan()["image"]
    both = atlas(1.0)(query, as_evidence(query, says(28)))
    assert not bool((both[0, 28] > 0.5).any())


def test_the_inferer_adds_what_the_network_says() -> None:
    item = scan()
    expected = atlas(1.0)(item["image"], as_evidence(item["image"], says(20))).as_tensor()

    def network_inferer(inputs: torch.Tensor, network: Any) -> torch.Tensor:
        odds = torch.logit(says(20))
        return torch.cat([torch.zeros_like(odds), odds])[None]

    batch = list_data_collate([{"image": item["image"]}])["image"]
    logits = PriorInferer(network_inferer, atlas(1.0))(batch, None)  # type: ignore[arg-type]
    assert isinstance(logits, MetaTensor)
    torch.testing.assert_close(torch.sigmoid(logits[0, 1:].as_tensor()), expected, atol=1e-4, rtol=0)
    with pytest.raises(TypeError, match="give a MetaTensor"):
        PriorInferer(network_inferer, atlas(1.0))(torch.zeros(1, 1, *SHAPE), None)  # type: ignore[arg-type]


def test_refusals() -> None:
    assert with_weight({}, 0.3)["refinement"] == AppearanceRefinement(evidence_weight=0.3)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        with_weight({}, -1)
    with pytest.raises(ValueError, match="leave refine on"):
        with_weight({"refinement": None}, 1)
