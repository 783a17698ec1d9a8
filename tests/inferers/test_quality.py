# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Tests of the label-free quality."""

from __future__ import annotations

import torch
from torch import nn

from monai_fss.inferers import reverse_accuracy
from monai_fss.networks.nets import ADNet


class Codes(nn.Module):
    """Turns intensity 0, 1, 2, ... into orthogonal features."""

    out_channels = 4

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) -> (B, 4, H, W)."""
        return nn.functional.one_hot(image[:, 0].long(), 4).permute(0, 3, 1, 2).float()


def scan(shift: int = 0) -> dict[str, torch.Tensor]:
    """Two organs, of intensities 1 and 2, as tall as half of the three middle slices."""
    image = torch.zeros(1, 8, 8, 5)
    image[0, 1 + shift : 5 + shift, 1:4, 1:4] = 1
    image[0, 1 + shift : 5 + shift, 5:7, 1:4] = 2
    return {"image": image, "label": image.clone()}


def test_a_right_result_leads_back_and_a_wrong_one_does_not() -> None:
    network = ADNet(Codes()).eval()
    right = reverse_accuracy(network, scan(2), [scan()], [1, 2])
    assert right == {1: 1.0, 2: 1.0}
    swapped = scan(2)
    swapped["label"] = torch.where(swapped["label"] > 0, 3 - swapped["label"], 0)
    assert reverse_accuracy(network, swapped, [scan()], [1, 2]) == {1: 0.0, 2: 0.0}


def test_what_was_not_found_has_quality_zero_and_others_go_on() -> None:
    network = ADNet(Codes()).eval()
    query = scan(2)
    query["label"][query["label"] == 2] = 0
    assert reverse_accuracy(network, query, [scan()], [1, 2]) == {1: 1.0, 2: 0.0}
    query["label"][:] = 0
    assert reverse_accuracy(network, query, [scan()], [1, 2]) == {1: 0.0, 2: 0.0}


def test_a_half_right_result_scores_the_dice_of_the_way_back() -> None:
    network = ADNet(Codes()).eval()
    query = scan(2)
    query["label"] = (query["image"] > 0).float()  # one label over both organs: the prototype is their mean
    quality = reverse_accuracy(network, query, [scan()], [1])
    # 12 pixels of organ 1 and 8 of organ 2 in a slice: cos 12/norm and 8/norm exceed 0.5 both, so both come back.
    assert quality[1] == 2 * 12 / (12 + 20)


def test_several_supports_are_averaged_and_the_condition_is_left_alone() -> None:
    network = ADNet(Codes()).eval()
    network.condition(torch.ones(1, 1, 1, 8, 8), torch.ones(1, 1, 1, 8, 8))
    before = network.prototypes.clone()
    other = scan()
    other["label"] = torch.where(other["label"] == 1, 2.0, other["label"])  # organ 2 is 12 + 8 pixels, 8 are found
    quality = reverse_accuracy(network, scan(2), [scan(), other], [2])
    assert quality[2] == (1.0 + 2 * 8 / (8 + 20)) / 2
    assert torch.equal(network.prototypes, before)
