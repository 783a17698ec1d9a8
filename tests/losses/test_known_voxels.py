# Copyright (c) monai_fss contributors
# Licensed under the Apache License, Version 2.0: see LICENSE.
"""Dice and cross-entropy over the voxels that are known, by hand and beside MONAI's."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceCELoss

from monai_fss.losses import KnownVoxelsLoss


def drawn(batch: int = 2, ways: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, 1 + ways, 4, 5, 6, generator=generator)
    return logits, torch.randint(0, 1 + ways, (batch, 1, 4, 5, 6), generator=generator).float()


def test_where_all_is_known_it_is_monais_loss() -> None:
    logits, label = drawn()
    expected = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True)(logits, label)
    torch.testing.assert_close(KnownVoxelsLoss()(logits, label), expected)


def test_by_hand() -> None:
    """Two voxels are known: 1 with probability 3/4 of being it, 0 with 1/4 of being 1."""
    odds = math.log(3)
    logits = torch.tensor([[0.0, 0.0, 9.0], [odds, -odds, -9.0]])[None]
    label = torch.tensor([[[1.0, 0.0, -1.0]]])
    dice = 1 - (2 * 0.75) / (1 + 0.75 + 0.25)
    assert float(KnownVoxelsLoss()(logits, label)) == pytest.approx(-math.log(0.75) + dice, abs=1e-4)
    assert float(KnownVoxelsLoss(dice=0)(logits, label)) == pytest.approx(-math.log(0.75))


def test_voxels_in_doubt_count_in_neither_part_nor_in_the_gradient() -> None:
    logits, label = drawn(batch=1)
    doubt = torch.rand(label.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    label[doubt] = 7
    logits.requires_grad_()
    loss = KnownVoxelsLoss(ignore=7)(logits, label)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[doubt.expand_as(logits)] == 0).all() and (gradient[~doubt.expand_as(logits)] != 0).all()
    known = ~doubt[0, 0]
    alone = KnownVoxelsLoss()(logits[:, :, known], label[:, :, known])
    torch.testing.assert_close(loss, alone)


def test_a_batch_is_the_mean_of_its_samples_whatever_is_known_of_each() -> None:
    logits, label = drawn(batch=3)
    label[0, ..., :5] = -1
    label[2] = -1
    loss = KnownVoxelsLoss()
    single = [loss(logits[i : i + 1], label[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss(logits, label), torch.stack(single).mean())
    assert float(single[2]) == 0, "nothing is known of it"


def test_half_precision_is_summed_in_single() -> None:
    logits, label = drawn()
    half = KnownVoxelsLoss()(logits.bfloat16(), label)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, KnownVoxelsLoss()(logits.bfloat16().float(), label))


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        KnownVoxelsLoss(dice=-1)


def test_weights_of_classes_are_those_of_torch_for_one_sample() -> None:
    logits, label = drawn(batch=1)
    label[0, 0, 0] = -1
    weights = [0.1, 1.0, 2.0, 5.0]
    own = torch.nn.functional.cross_entropy(logits, label[:, 0].long(), torch.tensor(weights), ignore_index=-1)
    torch.testing.assert_close(KnownVoxelsLoss(dice=0, weights=weights)(logits, label), own)
    unknown = torch.full_like(label, -1)
    assert float(KnownVoxelsLoss(dice=0, weights=weights)(logits, unknown)) == 0
