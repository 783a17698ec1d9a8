# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Whole scans in windows, and how sure a network is of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from monai_fss.inferers import WindowConfidence, WindowInferer, against_the_others, class_confidence, found_in
from monai_fss.transforms import WayProbabilitiesd, WaysToLabeld


class Brightness(nn.Module):
    """Three classes by the brightness of a voxel: logits 0, x, 2 - x."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(image.shape))
        return torch.cat([torch.zeros_like(image), image, 2 - image], 1)


def scan(size: tuple[int, int, int] = (9, 7, 5)) -> MetaTensor:
    values = torch.rand(1, *size, generator=torch.Generator().manual_seed(0)) * 6 - 2
    return MetaTensor(values, affine=torch.eye(4))


def test_one_class_of_several_is_true() -> None:
    logits = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    against = against_the_others(logits)
    assert (against[0] == 0).all()
    above, winner = against[1:] > 0, logits.argmax(0)
    assert torch.equal(above.sum(0), (winner > 0).long()), "never two at a place"
    assert torch.equal(above.float().argmax(0)[winner > 0] + 1, winner[winner > 0])
    assert against[2, 0] == logits[2, 0] - max(logits[way, 0] for way in (0, 1, 3))


def test_confidence_by_hand() -> None:
    """Way 1 wins at two voxels of three, with 0.5 and 0.8; way 2 nowhere."""
    probability = torch.tensor([[0.4, 0.1, 0.9], [0.5, 0.8, 0.05], [0.1, 0.1, 0.05]])
    found = class_confidence(probability.log(), [4, 7])
    assert found == {4: pytest.approx(0.65), 7: 0.0}


@pytest.mark.parametrize("size", [(9, 7, 5), (3, 7, 5)])
def test_windows_give_what_the_whole_would(size: tuple[int, int, int]) -> None:
    """A network without neighbours: windows do not matter, and padding of a small scan is taken away again."""
    image, network = scan(size), Brightness()
    result = WindowInferer([4, 4, 4], [3, 8])(image[None], network)
    assert {shape[2:] for shape in network.shapes} == {(4, 4, 4)} and result.shape == (1, 3, *size)
    plain = torch.cat([torch.zeros_like(image), image, 2 - image]).as_tensor()
    torch.testing.assert_close(result.as_tensor()[0], against_the_others(plain), rtol=0, atol=1e-5)
    item: dict[Any, Any] = WayProbabilitiesd("pred")({"pred": result.as_tensor()[0]})
    expected = torch.tensor([0, 3, 8])[plain.argmax(0)]
    assert torch.equal(WaysToLabeld("pred", [3, 8])(item)["pred"][0].long(), expected)
    expected_confidence = class_confidence(plain, [3, 8])
    assert found_in(result)["confidence"] == {str(key): pytest.approx(v) for key, v in expected_confidence.items()}


def test_quality_is_the_confidence_of_what_has_a_mask() -> None:
    image = scan()
    result = WindowInferer([4, 4, 4], [3, 8])(image[None], Brightness())
    label = torch.zeros(1, 9, 7, 5)
    label[0, 0, 0, 0] = 8
    working = MetaTensor(label, meta=result.meta)
    confidence = found_in(result)["confidence"]
    assert WindowConfidence([3, 8])({"working": working}) == {3: 0.0, 8: confidence["8"]} and confidence["3"] > 0


def test_a_plain_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="give a MetaTensor"):
        WindowInferer([4, 4, 4], [1])(torch.zeros(1, 1, 4, 4, 4), Brightness())
