# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Tests of the floor that looks at no image."""

from __future__ import annotations

import torch

from monai_fss.networks.nets import MaskPaste


def test_the_answer_is_the_union_of_the_shots_whatever_the_image() -> None:
    label = torch.zeros(2, 2, 1, 6, 8)
    label[0, 0, 0, 1:3, 1:3] = 1
    label[0, 1, 0, 3:5, 1:3] = 1
    label[1, 0, 0, :, 6:] = 1
    network = MaskPaste().condition(torch.rand(2, 2, 3, 6, 8), label)
    found = network(torch.rand(3, 3, 6, 8))
    assert found.shape == (3, 3, 6, 8)
    assert (found[:, 0] == 0).all()
    assert torch.equal(found[:, 1:] > 0, label.amax(dim=(1, 2))[None].expand(3, -1, -1, -1) > 0)


def test_masks_are_resized_to_the_query() -> None:
    label = torch.zeros(1, 1, 1, 4, 4)
    label[..., :2, :2] = 1
    network = MaskPaste().condition(torch.rand(1, 1, 1, 4, 4), label)
    mask = network(torch.rand(1, 1, 8, 12))[0, 1] > 0
    expected = torch.zeros(8, 12, dtype=torch.bool)
    expected[:4, :6] = True
    assert torch.equal(mask, expected)
